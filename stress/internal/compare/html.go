package compare

import (
	_ "embed"
	"fmt"
	"html/template"
	"io"

	"verdictd/internal/report"
)

//go:embed page.html
var pageSource string

var page = template.Must(template.New("page").Funcs(template.FuncMap{
	"style": func() template.CSS { return report.Style },
}).Parse(pageSource))

// WriteHTML writes one self-contained page: no script, no request to anywhere.
func (c *Comparison) WriteHTML(w io.Writer) error {
	if err := page.Execute(w, c); err != nil {
		return fmt.Errorf("write the page of a comparison: %w", err)
	}
	return nil
}

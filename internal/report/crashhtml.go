package report

import (
	_ "embed"
	"fmt"
	"html/template"
	"io"
)

//go:embed crash.html
var crashPageSource string

var crashPage = template.Must(template.New("crash").Funcs(template.FuncMap{
	"style": func() template.CSS { return Style },
	"shell": shell,
}).Parse(crashPageSource + glossarySource))

// crashView is what the page shows.
type crashView struct {
	*CrashReport
	HostLine, SettingsLine string
	Head                   []pageCell
	Table                  [][]pageCell
	Quoted                 *CrashRow
	Glossary               []glossary
}

// A pageCell is a cell with its classes.
type pageCell struct{ Text, Class string }

func pageCells(line []cell) []pageCell {
	out := make([]pageCell, len(line))
	for i, c := range line {
		out[i].Text = c.text
		if c.right {
			out[i].Class = "n"
		}
	}
	return out
}

// WriteCrashHTML writes one self-contained page.
func WriteCrashHTML(w io.Writer, rep *CrashReport) error {
	v := crashView{
		CrashReport: rep, HostLine: rep.hostLine(), SettingsLine: rep.settingsLine(), Head: pageCells(crashHead),
		Quoted:   rep.quoted(),
		Glossary: []glossary{{"Kernels", rep.terms()}, {"Columns", crashColumns}},
	}
	for i := range rep.Summary {
		v.Table = append(v.Table, pageCells(rep.Summary[i].cells()))
	}
	if err := crashPage.Execute(w, v); err != nil {
		return fmt.Errorf("write the page: %w", err)
	}
	return nil
}

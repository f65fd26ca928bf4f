package compare

import (
	"slices"
	"strings"
)

// Origin is where results come from, as far as their documents say.
type Origin struct {
	Date    string `json:"date"` // the day on which the run began
	Kernel  string `json:"kernel"`
	Version string `json:"version"` // of the program
	Command string `json:"command"`
}

// originate notes where a document comes from, once for each such place.
func (s *Side) originate(document map[string]any) {
	text := func(m map[string]any, key string) string {
		v, _ := m[key].(string)
		return v
	}
	host, _ := document["host"].(map[string]any)
	o := Origin{Kernel: text(host, "kernel"), Version: text(document, "version")}
	if o.Kernel == "" {
		o.Kernel = text(host, "release")
	}
	o.Date, _, _ = strings.Cut(text(document, "started"), "T")
	var words []string
	command, _ := document["command"].([]any)
	for _, word := range command {
		if w, ok := word.(string); ok {
			words = append(words, w)
		}
	}
	o.Command = strings.Join(withoutFiles(words), " ")
	if o != (Origin{}) && !slices.Contains(s.Origins, o) {
		s.Origins = append(s.Origins, o)
	}
}

// String lists what is known.
func (o Origin) String() string {
	parts := []string{}
	for _, p := range []struct{ name, value string }{{"", o.Date}, {"Linux ", o.Kernel}, {"version ", o.Version}, {"", o.Command}} {
		if p.value != "" {
			parts = append(parts, p.name+p.value)
		}
	}
	return strings.Join(parts, ", ")
}

// withoutFiles leaves out where the results went: each run has a file of its own.
func withoutFiles(words []string) (rest []string) {
	for i := 0; i < len(words); i++ {
		name, _, joined := strings.Cut(words[i], "=")
		if name != "--json" && name != "--html" {
			rest = append(rest, words[i])
		} else if !joined {
			i++ // its value
		}
	}
	return rest
}

package compare

import (
	"fmt"
	"maps"
	"math"
	"slices"
	"strings"
)

// Comparison is what changed from one side to the other.
type Comparison struct {
	Schema int     `json:"schema"`
	Before *Side   `json:"before"`
	After  *Side   `json:"after"`
	Alpha  float64 `json:"alpha"`

	// Differences are between hosts, kernels and configurations.
	Differences []Difference `json:"differences"`
	Cases       []Case       `json:"cases"`

	// Tested is how many figures could be tested, ByChance how many of them would differ with nothing changed.
	Tested   int     `json:"tested"`
	ByChance float64 `json:"by_chance"`
	Line     string  `json:"verdict"`
	// Failures are the conditions that the caller set and the results broke.
	Failures []string `json:"failures"`
}

// Difference is a fact that is not the same on both sides; where a side's documents disagree, it has several values.
type Difference struct {
	Fact   string   `json:"fact"`
	Before []string `json:"before"`
	After  []string `json:"after"`
}

// Case is a scenario, or one entry of a list of runs.
type Case struct {
	Name    string   `json:"name"`
	Changes []Change `json:"changes"`
}

// Compare compares two sides. It is an error if they have no case in common.
func Compare(before, after *Side, alpha float64) (*Comparison, error) {
	c := &Comparison{Schema: 1, Before: before, After: after, Alpha: alpha, Differences: differences(before, after),
		Failures: []string{}}
	for _, name := range slices.Sorted(maps.Keys(before.cases)) {
		other, ok := after.cases[name]
		if !ok {
			continue
		}
		c.Cases = append(c.Cases, newCase(name, before.cases[name], other, alpha))
	}
	if len(c.Cases) == 0 {
		return nil, fmt.Errorf("%s has %s, %s has %s: nothing in common to compare", before.Name, before.names(), after.Name,
			after.names())
	}
	for _, k := range c.Cases {
		for _, f := range k.Changes {
			if f.P != nil && !f.constant {
				c.Tested++
			}
		}
	}
	c.ByChance = math.Round(float64(c.Tested)*alpha*10) / 10
	c.Line = c.sentence()
	return c, nil
}

// names are those of a side's cases, for people.
func (s *Side) names() string {
	names := slices.Sorted(maps.Keys(s.cases))
	switch {
	case len(names) == 0:
		return "no results that count"
	case len(names) > 3:
		return fmt.Sprintf("%s and %d more", strings.Join(names[:3], ", "), len(names)-3)
	}
	return strings.Join(names, ", ")
}

func newCase(name string, before, after samples, alpha float64) Case {
	k := Case{Name: name}
	figures := slices.Concat(slices.Collect(maps.Keys(before)), slices.Collect(maps.Keys(after)))
	slices.Sort(figures)
	for _, f := range slices.Compact(figures) {
		k.Changes = append(k.Changes, newChange(f, before[f], after[f], alpha))
	}
	return k
}

func differences(before, after *Side) []Difference {
	out := []Difference{}
	names := slices.Concat(slices.Collect(maps.Keys(before.facts)), slices.Collect(maps.Keys(after.facts)))
	slices.Sort(names)
	for _, name := range slices.Compact(names) {
		b, a := slices.Sorted(slices.Values(before.facts[name])), slices.Sorted(slices.Values(after.facts[name]))
		if !slices.Equal(a, b) {
			out = append(out, Difference{name, b, a})
		}
	}
	return out
}

// sentence is the verdict for people: what is worse and better, by how much, and what else differs.
func (c *Comparison) sentence() string {
	groups := map[Judgement][]string{}
	unknown := 0
	for _, k := range c.Cases {
		for _, f := range k.Changes {
			name := f.Figure
			if len(c.Cases) > 1 {
				name += " (" + k.Name + ")"
			}
			switch {
			case k.said(f.Figure):
			case f.Judgement == Unknown:
				unknown++
			case f.Judgement == Same:
			default:
				groups[f.Judgement] = append(groups[f.Judgement], name+" "+f.Delta())
			}
		}
	}
	var parts []string
	for _, j := range []Judgement{Worse, Better, Changed} {
		if list := groups[j]; len(list) > 0 {
			parts = append(parts, fmt.Sprintf("%d %s: %s", len(list), j, shorten(list)))
		}
	}
	line := "No figure changed that can be told from chance"
	if len(parts) > 0 {
		line = strings.Join(parts, "; ")
	}
	line += fmt.Sprintf(" (of %d tested at p < %g, of which %g would differ by chance).", c.Tested, c.Alpha, c.ByChance)
	if unknown > 0 {
		line += fmt.Sprintf(" %d figures have too few samples to tell.", unknown)
	}
	if c.differ("host.kernel") {
		line += " The kernels differ."
	}
	if slices.ContainsFunc(c.Differences, func(d Difference) bool {
		return strings.HasPrefix(d.Fact, "config.") || strings.HasPrefix(d.Fact, "settings.")
	}) {
		line += " The configurations differ."
	}
	return line
}

func (c *Comparison) differ(fact string) bool {
	return slices.ContainsFunc(c.Differences, func(d Difference) bool { return d.Fact == fact })
}

func shorten(list []string) string {
	const most = 5
	if len(list) <= most {
		return strings.Join(list, ", ")
	}
	return fmt.Sprintf("%s and %d more", strings.Join(list[:most], ", "), len(list)-most)
}

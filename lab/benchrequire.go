package main

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// A ratio is one variant's CPU per packet by another's.
type ratio struct{ over, under string }

func (r ratio) String() string { return r.over + " / " + r.under }

// ratios are those that are always shown.
var ratios = []ratio{
	{"mmsg", "c"},
	{"mmsg+reinject", "c"},
	{"mmsg", "gonfqueue"},
	{"mmsg+reinject", "gonfqueue+reinject"},
	{"mmsg+reinject", "mmsg"},
}

// A requirement bounds a ratio.
type requirement struct {
	ratio
	most float64
}

// parseRequirements reads "A/B<=X,A/B<=X".
func parseRequirements(s string) ([]requirement, error) {
	if s == "" {
		return nil, nil
	}
	var list []requirement
	for term := range strings.SplitSeq(s, ",") {
		names, bound, hasBound := strings.Cut(term, "<=")
		over, under, hasUnder := strings.Cut(names, "/")
		if !hasBound || !hasUnder {
			return nil, fmt.Errorf("--require %s: %q is not VARIANT/VARIANT<=NUMBER", s, term)
		}
		r := requirement{ratio: ratio{strings.TrimSpace(over), strings.TrimSpace(under)}}
		for _, name := range []string{r.over, r.under} {
			if !slices.Contains(variantNames(), name) {
				return nil, fmt.Errorf("--require %s: there is no variant %q; there are %s", s, name, strings.Join(variantNames(), ", "))
			}
		}
		var err error
		if r.most, err = strconv.ParseFloat(strings.TrimSpace(bound), 64); err != nil || !(r.most > 0) {
			return nil, fmt.Errorf("--require %s: %q is not a number above 0", s, bound)
		}
		list = append(list, r)
	}
	return list, nil
}

func variantNames() []string {
	names := make([]string, len(variants))
	for i := range variants {
		names[i] = variants[i].name
	}
	return names
}

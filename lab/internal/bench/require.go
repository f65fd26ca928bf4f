package bench

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// A Ratio is one variant's figure by another's.
type Ratio struct{ Over, Under string }

// RatioOf names the two.
func RatioOf(over, under string) Ratio { return Ratio{over, under} }

func (r Ratio) String() string { return r.Over + " / " + r.Under }

// A Requirement bounds a ratio from above or from below; the other bound is 0.
type Requirement struct {
	Ratio
	Most, Least float64
}

// ParseRequirements reads "A/B<=X,A/B>=X" about the variants that are named.
func ParseRequirements(s string, variants []string) ([]Requirement, error) {
	if s == "" {
		return nil, nil
	}
	var list []Requirement
	for term := range strings.SplitSeq(s, ",") {
		names, bound, hasBound := strings.Cut(term, "<=")
		if !hasBound {
			names, bound, hasBound = strings.Cut(term, ">=")
		}
		over, under, hasUnder := strings.Cut(names, "/")
		if !hasBound || !hasUnder {
			return nil, fmt.Errorf("--require %s: %q is not VARIANT/VARIANT<=NUMBER or >=NUMBER", s, term)
		}
		r := Requirement{Ratio: Ratio{strings.TrimSpace(over), strings.TrimSpace(under)}}
		for _, name := range []string{r.Over, r.Under} {
			if !slices.Contains(variants, name) {
				return nil, fmt.Errorf("--require %s: there is no variant %q; there are %s", s, name,
					strings.Join(variants, ", "))
			}
		}
		x, err := strconv.ParseFloat(strings.TrimSpace(bound), 64)
		if err != nil || !(x > 0) {
			return nil, fmt.Errorf("--require %s: %q is not a number above 0", s, bound)
		}
		if strings.Contains(term, "<=") {
			r.Most = x
		} else {
			r.Least = x
		}
		list = append(list, r)
	}
	return list, nil
}

// A RatioResult is a ratio of medians, with its bound where there is one.
type RatioResult struct {
	Over  string   `json:"over"`
	Under string   `json:"under"`
	Ratio *float64 `json:"ratio"` // nil: one of them was not measured
	Most  *float64 `json:"most"`
	Least *float64 `json:"least,omitempty"`
	Holds *bool    `json:"holds"`
	// UnderSpread is the width of the second one's range by its median, where that is told.
	UnderSpread *float64 `json:"under_spread,omitempty"`
}

// bound is the bound as it was required, - where there is none.
func (r *RatioResult) bound() string {
	switch {
	case r.Most != nil:
		return fmt.Sprintf("<= %g", *r.Most)
	case r.Least != nil:
		return fmt.Sprintf(">= %g", *r.Least)
	}
	return "-"
}

func (r *RatioResult) name() string { return Ratio{r.Over, r.Under}.String() }

// CompareMedians is the usual ratios of medians and those that are required.
func CompareMedians(medians map[string]float64, usual []Ratio, required []Requirement) []RatioResult {
	var results []RatioResult
	add := func(r Requirement) {
		result := RatioResult{Over: r.Over, Under: r.Under}
		if over, under := medians[r.Over], medians[r.Under]; over > 0 && under > 0 {
			x := over / under
			result.Ratio = &x
		}
		var holds bool
		switch {
		case r.Most > 0:
			result.Most, result.Holds = &r.Most, &holds
			holds = result.Ratio != nil && *result.Ratio <= r.Most
		case r.Least > 0:
			result.Least, result.Holds = &r.Least, &holds
			holds = result.Ratio != nil && *result.Ratio >= r.Least
		}
		results = append(results, result)
	}
	for _, r := range usual {
		if !slices.ContainsFunc(required, func(q Requirement) bool { return q.Ratio == r }) {
			add(Requirement{Ratio: r})
		}
	}
	for _, r := range required {
		add(r)
	}
	return results
}

// A Verdict says whether all is as it should be.
type Verdict struct {
	OK       bool     `json:"ok"`
	Line     string   `json:"line"`
	Failures []string `json:"failures"`
}

// JudgeRatios ends with a verdict: on what has failed already, and on the bounds. without is its line where there are
// none.
func JudgeRatios(ratios []RatioResult, measured int, failures []string, without string) Verdict {
	if measured == 0 && len(failures) == 0 {
		failures = append(failures, "nothing was measured")
	}
	var holding []string
	for i := range ratios {
		r := &ratios[i]
		switch {
		case r.Holds == nil:
		case r.Ratio == nil:
			failures = append(failures, fmt.Sprintf("%s %s is required, and was not measured", r.name(), r.bound()))
		case !*r.Holds && r.Most != nil:
			failures = append(failures, fmt.Sprintf("%s is %.3f, more than %g", r.name(), *r.Ratio, *r.Most))
		case !*r.Holds:
			failures = append(failures, fmt.Sprintf("%s is %.3f, less than %g", r.name(), *r.Ratio, *r.Least))
		case r.Most != nil:
			holding = append(holding, fmt.Sprintf("%s is %.3f, at most %g", r.name(), *r.Ratio, *r.Most))
		default:
			holding = append(holding, fmt.Sprintf("%s is %.3f, at least %g", r.name(), *r.Ratio, *r.Least))
		}
	}
	v := Verdict{OK: len(failures) == 0, Failures: failures, Line: without}
	switch {
	case !v.OK:
		v.Line = fmt.Sprintf("Not as it should be, in %d ways.", len(failures))
	case len(holding) > 0:
		v.Line = "All bounds hold: " + strings.Join(holding, "; ") + "."
	}
	return v
}

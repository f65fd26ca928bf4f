package queue

import (
	"slices"
	"strings"
	"testing"

	"verdictd/lab/internal/bench"
)

func TestParseRequirements(t *testing.T) {
	for text, want := range map[string][]bench.Requirement{
		"":            nil,
		"mmsg/c<=0.6": {{Ratio: bench.RatioOf("mmsg", "c"), Most: 0.6}},
		"mmsg/c<=0.6,mmsg/gonfqueue<=0.15": {{Ratio: bench.RatioOf("mmsg", "c"), Most: 0.6},
			{Ratio: bench.RatioOf("mmsg", "gonfqueue"), Most: 0.15}},
		"mmsg/c>=0.9":                           {{Ratio: bench.RatioOf("mmsg", "c"), Least: 0.9}},
		" mmsg+hold / gonfqueue+hold <= 15e-2 ": {{Ratio: bench.RatioOf("mmsg+hold", "gonfqueue+hold"), Most: 0.15}},
		"burst:mmsg+hold@path/burst:mmsg@path<=1.5": {{Ratio: bench.RatioOf("burst:mmsg+hold@path", "burst:mmsg@path"),
			Most: 1.5}},
	} {
		if got, err := bench.ParseRequirements(text, figureNames(variants)); err != nil || !slices.Equal(got, want) {
			t.Errorf("%q: %v, %v, want %v", text, got, err, want)
		}
	}
}

func TestParseRequirementsRefuses(t *testing.T) {
	for text, says := range map[string]string{
		"mmsg/c":            "VARIANT/VARIANT<=NUMBER",
		"mmsg<=0.6":         "VARIANT/VARIANT<=NUMBER",
		"mmsg/c<0.6":        "VARIANT/VARIANT<=NUMBER",
		"mmsg/c<=0.6,":      "VARIANT/VARIANT<=NUMBER",
		"mmsg/rust<=0.6":    `no variant "rust"; there are floor, mmsg, mmsg+hold`,
		"mmsg/c<=much":      "not a number above 0",
		"mmsg/c<=0":         "not a number above 0",
		"mmsg/c<=NaN":       "not a number above 0",
		"mmsg/c<=0.6<=0.7":  "not a number above 0",
		"mmsg/c/mmsg<=0.7":  `no variant "c/mmsg"`,
		"mmsg /c <= -1e300": "not a number above 0",
	} {
		if list, err := bench.ParseRequirements(text, figureNames(variants)); err == nil ||
			!strings.Contains(err.Error(), says) {
			t.Errorf("%q: %v, %v; want it to say %q", text, list, err, says)
		}
	}
}

package testbed

import (
	"testing"
)

func TestAnalysis(t *testing.T) {
	for text, want := range map[string]string{
		"none":          "none",
		"300us":         "fixed 300µs per packet",
		"fixed:2ms":     "fixed 2ms per packet",
		"lognormal:1ms": "lognormal 1ms per packet",
	} {
		var a Analysis
		if err := a.UnmarshalText([]byte(text)); err != nil || a.String() != want {
			t.Errorf("%q is %q, error %v; want %q", text, a, err, want)
		}
	}
	for _, text := range []string{"", "300", "0s", "-1ms", "normal:1ms", "fixed:", "fixed:none"} {
		var a Analysis
		if err := a.UnmarshalText([]byte(text)); err == nil {
			t.Errorf("%q is taken as %v", text, a)
		}
	}
}

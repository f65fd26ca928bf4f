package testbed

import (
	"fmt"
	"strings"
	"time"
)

// Analysis is the time that the daemon takes over each packet, as it is given on the command line: DURATION (fixed),
// DISTRIBUTION:DURATION, or none.
type Analysis struct {
	Distribution string
	Delay        time.Duration
}

// UnmarshalText is called by kong.
func (a *Analysis) UnmarshalText(text []byte) error {
	s := string(text)
	if s == "none" {
		*a = Analysis{Distribution: "none"}
		return nil
	}
	distribution, delay, ok := strings.Cut(s, ":")
	if !ok {
		distribution, delay = "fixed", s
	}
	switch distribution {
	case "fixed", "uniform", "lognormal":
	default:
		return fmt.Errorf("there is no distribution %q; there are fixed, uniform, lognormal, and none without a delay",
			distribution)
	}
	d, err := time.ParseDuration(delay)
	if err != nil {
		return fmt.Errorf("%q is neither none nor [DISTRIBUTION:]DURATION such as 300us: %w", s, err)
	}
	if d <= 0 {
		return fmt.Errorf("the delay %v is not above zero; none is no delay", d)
	}
	*a = Analysis{Distribution: distribution, Delay: d}
	return nil
}

// String is in words, for the report.
func (a Analysis) String() string {
	if a.Distribution == "none" {
		return a.Distribution
	}
	return fmt.Sprintf("%s %v per packet", a.Distribution, a.Delay)
}

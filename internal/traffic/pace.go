package traffic

import (
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"
)

// Pace is a schedule in flows per second. The zero value is full speed.
//
// It is a pure function of elapsed time and count: after a stall the flows that are overdue follow at once, and
// how late they were can be told against Due.
type Pace struct {
	Rate float64
}

// ParsePace reads "full" or "rate:N".
func ParsePace(s string) (Pace, error) {
	if s == "full" {
		return Pace{}, nil
	}
	n, ok := strings.CutPrefix(s, "rate:")
	if !ok {
		return Pace{}, fmt.Errorf("pace %q: want full or rate:N with N in flows per second", s)
	}
	rate, err := strconv.ParseFloat(n, 64)
	if err != nil {
		return Pace{}, fmt.Errorf("pace %q: %w", s, err)
	}
	p := Pace{Rate: rate}
	if rate == 0 {
		return Pace{}, fmt.Errorf("pace %q: a rate of zero sends nothing; full speed is \"full\"", s)
	}
	return p, p.validate()
}

func (p Pace) validate() error {
	if math.IsNaN(p.Rate) || math.IsInf(p.Rate, 0) || p.Rate < 0 {
		return fmt.Errorf("pace of %v flows per second: want a positive finite rate", p.Rate)
	}
	return nil
}

// Full says whether p has no schedule.
func (p Pace) Full() bool { return p.Rate == 0 }

// String is the form that ParsePace reads.
func (p Pace) String() string {
	if p.Full() {
		return "full"
	}
	return "rate:" + strconv.FormatFloat(p.Rate, 'f', -1, 64)
}

// UnmarshalText is ParsePace for flags and configuration files.
func (p *Pace) UnmarshalText(text []byte) (err error) {
	*p, err = ParsePace(string(text))
	return err
}

// MarshalText makes results carry the form that the command line takes.
func (p Pace) MarshalText() ([]byte, error) { return []byte(p.String()), nil }

// Due is when flow n (the first is 0) is to start, counted from the start of the run.
func (p Pace) Due(n uint64) time.Duration {
	if p.Full() {
		return 0
	}
	ns := float64(n) / p.Rate * float64(time.Second)
	if ns >= math.MaxInt64 {
		return math.MaxInt64
	}
	return time.Duration(ns)
}

// Wait is how long flow n has yet to wait at the given elapsed time; zero when it is due or overdue.
func (p Pace) Wait(elapsed time.Duration, n uint64) time.Duration {
	return max(0, p.Due(n)-elapsed)
}

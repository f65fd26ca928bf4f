package ct

import (
	"strconv"
	"time"
)

// Rates are how fast counters rose.
type Rates struct {
	risen   Counters
	seconds float64
}

// PerSecond takes c for what the counters rose by within d.
func (c Counters) PerSecond(d time.Duration) Rates { return Rates{c, d.Seconds()} }

// Of is a counter's rate a second. ok is false where the kernel does not send the counter, and where no time went by.
func (r Rates) Of(c Counter) (perSecond float64, ok bool) {
	if !r.risen[c].Sent || r.seconds <= 0 {
		return 0, false
	}
	return float64(r.risen[c].N) / r.seconds, true
}

// MarshalJSON writes an object with every counter in the kernel's order, null where there is no rate.
func (r Rates) MarshalJSON() ([]byte, error) {
	return append(appendMembers([]byte{'{'}, func(b []byte, c Counter) []byte {
		rate, ok := r.Of(c)
		if !ok {
			return append(b, "null"...)
		}
		return strconv.AppendFloat(b, rate, 'f', 3, 64)
	}), '}'), nil
}

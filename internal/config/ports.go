package config

import (
	"fmt"
	"strconv"
	"strings"

	"verdictd/internal/vocabulary"
)

// Ports is a range of ports as the file has it: "53", or "1000-2000".
type Ports struct{ vocabulary.PortRange }

// MarshalText gives "53", or "1000-2000".
func (r Ports) MarshalText() ([]byte, error) {
	if r.First == r.Last {
		return strconv.AppendUint(nil, uint64(r.First), 10), nil
	}
	return fmt.Appendf(nil, "%d-%d", r.First, r.Last), nil
}

// UnmarshalText reads what MarshalText gives.
func (r *Ports) UnmarshalText(text []byte) error {
	first, last, isRange := strings.Cut(string(text), "-")
	if !isRange {
		last = first
	}
	a, errFirst := strconv.ParseUint(first, 10, 16)
	b, errLast := strconv.ParseUint(last, 10, 16)
	if errFirst != nil || errLast != nil {
		return fmt.Errorf(`%q is no port from 0 to 65535 and no range of them: write it like "53" or "1000-2000"`, text)
	}
	r.First, r.Last = uint16(a), uint16(b)
	return nil
}

// Ranges are those of a list.
func Ranges(list []Ports) (ranges []vocabulary.PortRange) {
	for _, p := range list {
		ranges = append(ranges, p.PortRange)
	}
	return ranges
}

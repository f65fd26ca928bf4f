package policy

import (
	"fmt"
	"strconv"
	"strings"
)

// MarshalText gives "accept" or "drop".
func (a Action) MarshalText() ([]byte, error) {
	if a > Drop {
		return nil, fmt.Errorf("policy: action %d has no name", a)
	}
	return []byte(a.String()), nil
}

// UnmarshalText reads what MarshalText gives.
func (a *Action) UnmarshalText(text []byte) error {
	for _, known := range []Action{Accept, Drop} {
		if string(text) == known.String() {
			*a = known
			return nil
		}
	}
	return fmt.Errorf("%q is no action: use accept or drop", text)
}

// MarshalText gives "53", or "1000-2000".
func (r PortRange) MarshalText() ([]byte, error) {
	if r.First == r.Last {
		return strconv.AppendUint(nil, uint64(r.First), 10), nil
	}
	return fmt.Appendf(nil, "%d-%d", r.First, r.Last), nil
}

// UnmarshalText reads what MarshalText gives.
func (r *PortRange) UnmarshalText(text []byte) error {
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

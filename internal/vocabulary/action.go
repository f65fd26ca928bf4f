package vocabulary

import "fmt"

// Action is what a policy does with a packet.
type Action uint8

// What there is to do.
const (
	Accept Action = iota
	Drop
)

func (a Action) String() string {
	switch a {
	case Accept:
		return "accept"
	case Drop:
		return "drop"
	}
	return "unknown"
}

// MarshalText gives "accept" or "drop".
func (a Action) MarshalText() ([]byte, error) {
	if a > Drop {
		return nil, fmt.Errorf("action %d has no name", a)
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

package vocabulary

import (
	"fmt"
	"slices"
	"strings"
)

// Action is what a policy does with a packet.
type Action uint8

// What there is to do.
const (
	Accept Action = iota
	Drop
	// Reject drops, and the kernel tells the sender.
	Reject
	// Requeue puts the packet into another queue.
	Requeue
	// Repeat sends the packet through the hook once more.
	Repeat
	// Count counts, and the next rule is asked.
	Count
)

var actions = [...]string{Accept: "accept", Drop: "drop", Reject: "reject", Requeue: "requeue", Repeat: "repeat", Count: "count"}

func (a Action) String() string {
	if int(a) < len(actions) {
		return actions[a]
	}
	return "unknown"
}

// MarshalText gives the action's name.
func (a Action) MarshalText() ([]byte, error) {
	if int(a) >= len(actions) {
		return nil, fmt.Errorf("action %d has no name", a)
	}
	return []byte(a.String()), nil
}

// UnmarshalText reads what MarshalText gives.
func (a *Action) UnmarshalText(text []byte) error {
	i := slices.Index(actions[:], string(text))
	if i < 0 {
		return fmt.Errorf("%q is no action: use %s", text, strings.Join(actions[:], ", "))
	}
	*a = Action(i)
	return nil
}

package guard

import (
	"verdictd/internal/ruleset"
	"verdictd/internal/vocabulary"
)

// State is what the guard does now, and why.
type State struct {
	Mode vocabulary.GuardMode
	Why  string
	// Held packets wait in the gate.
	Held int
	// Guarded are the rules whose queues are guarded, Uncovered what cannot be.
	Guarded, Uncovered []string
	// Table is the one with the gate's chains and, unless it is the gate's alone, those
	// that queue for verdicts. Wanted tells whether there is to be one, Present whether
	// it is there.
	Table           string
	Wanted, Present bool
}

// State tells how things are.
func (k *Keeper) State() State {
	s := State{Mode: k.Mode(), Table: k.Table, Wanted: k.Kind() != "" && !k.installed.Config().Empty()}
	if k.gate != nil {
		s.Held = k.gate.Held()
	}
	switch {
	case !k.wanted():
		s.Why = "guard.mode is off"
	case k.now.Plan == nil:
		s.Why = "nothing was found to guard so far"
	default:
		s.Why, s.Uncovered = k.now.why, k.now.Uncovered
		for _, e := range k.now.Exposing {
			s.Guarded = append(s.Guarded, e.String())
		}
	}
	if s.Wanted {
		s.Present, _ = ruleset.Exists(k.Table) // unknown is as good as gone
	}
	return s
}

// Owns reports whether a queue is the gate's.
func (k *Keeper) Owns(queue uint16) bool { return k.gate != nil && k.gate.Owns(queue) }

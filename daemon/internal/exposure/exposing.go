package exposure

import (
	"fmt"
	"slices"
	"strings"

	"verdictd/daemon/internal/holders"
	"verdictd/internal/liverules"
	"verdictd/internal/vocabulary"
)

// Exposing is a rule that lets packets of one flow clash, at one of the hooks from
// which it is reached.
type Exposing struct {
	liverules.Site

	// Own: the rule is in the table of the program that plans.
	Own bool

	// Held says who holds the rule's queues, each program once; empty: not looked
	// for, or nobody.
	Held []string
}

// String is the rule, who holds its queues, and why it exposes.
func (e Exposing) String() string {
	held := ""
	if len(e.Held) > 0 {
		held = fmt.Sprintf(" (held by %s)", strings.Join(e.Held, ", "))
	}
	word := "exposed"
	if e.Reach.Exposure == liverules.ExposureUnknown {
		word = "perhaps exposed"
	}
	return fmt.Sprintf("%s%s, in %s at priority %d: %s: %s", e.Rule, held, e.Reach.Hook, e.Reach.Priority, word, e.Reach.Reason)
}

// Name notes who holds the queues, which holders.Queues finds out.
func (p *Plan) Name(by map[uint16]*holders.Process) {
	for i := range p.Exposing {
		e := &p.Exposing[i]
		e.Held = nil
		for _, queue := range sorted(by) {
			if q := e.Rule.QueueStatement; q.Computed || queue < q.First || queue > q.Last {
				continue
			}
			if name := by[queue].String(); !slices.Contains(e.Held, name) {
				e.Held = append(e.Held, name)
			}
		}
	}
}

func sorted(by map[uint16]*holders.Process) []uint16 {
	var queues []uint16
	for queue := range by {
		queues = append(queues, queue)
	}
	slices.Sort(queues)
	return queues
}

// SwallowsICMPErrors are the rules that queue ICMP errors on their way out, those of
// this project's gates left out. The kernel refuses an error that this machine itself
// sends in answer to an unconfirmed packet, whose entry it shares: it arrives nowhere,
// and no counter tells.
func SwallowsICMPErrors(rules *liverules.Rules) []liverules.Site {
	var sites []liverules.Site
	for _, q := range rules.Queues {
		if IsGate(q) {
			continue
		}
		for _, r := range q.Reaches {
			leaves := r.Hook == vocabulary.HookOutput || r.Hook == vocabulary.HookPostrouting
			tracked := r.Exposure != liverules.NotExposed
			if leaves && tracked && slices.ContainsFunc(r.Packets, func(s liverules.Selection) bool { return s.ICMPErrors }) {
				sites = append(sites, liverules.Site{Rule: q, Reach: r})
			}
		}
	}
	return sites
}

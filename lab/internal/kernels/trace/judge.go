package trace

import (
	"fmt"
	"maps"
	"net/netip"
	"slices"
)

// tracedProbe, tracedClash and tracedSummary are what the check takes over of `conntrackwatch trace --json`.
type tracedProbe struct {
	Function string `json:"function"`
	Method   string `json:"method"`
}

type tracedTuple struct {
	Src      netip.AddrPort `json:"src"`
	Dst      netip.AddrPort `json:"dst"`
	Protocol string         `json:"protocol"`
}

type tracedEntry struct {
	Address  string      `json:"address"`
	Original tracedTuple `json:"original"`
	Reply    tracedTuple `json:"reply"`
}

type tracedClash struct {
	Path    string       `json:"path"`
	Outcome string       `json:"outcome"`
	Loser   tracedEntry  `json:"loser"`
	Winner  *tracedEntry `json:"winner"`
	SKB     string       `json:"skb"`
}

type tracedSummary struct {
	Schema     int           `json:"schema"`
	Probes     []tracedProbe `json:"probes"`
	Clashes    uint64        `json:"clashes"`
	Lost       uint64        `json:"lost"`
	Unfinished uint64        `json:"unfinished"`
	NoRoom     uint64        `json:"no_room"`
	Missed     uint64        `json:"missed"`
	Shown      uint64        `json:"shown"`
}

// judge counts the clashes and says where they are not what the load made, or not what the kernel counted.
func (r *Row) judge(made heldResult, exact bool, clashes []tracedClash, summary tracedSummary) {
	r.Disagreements = []string{}
	seen, droppedAtConfirm := r.count(made, clashes)
	if blind := summary.Lost + summary.Unfinished + summary.NoRoom + summary.Missed; blind > 0 {
		r.disagree("the trace missed %d", blind)
	}
	if uint64(len(clashes)) != summary.Shown {
		r.disagree("%d lines, and the summary says %d", len(clashes), summary.Shown)
	}
	if r.Delivered != r.Packets {
		r.disagree("%d packets of %d arrived", r.Delivered, r.Packets)
	}
	if counted := uint64(r.Confirm - droppedAtConfirm); counted != r.ClashResolve {
		r.disagree("%d clashes resolved at confirm, and the kernel counts %d in clash_resolve", counted, r.ClashResolve)
	}
	if exact {
		r.expect(made, seen, len(clashes))
	} else if most := r.Packets - r.Flows; len(clashes) == 0 || len(clashes) > most {
		r.disagree("%d clashes, not 1 to %d", len(clashes), most)
	}
}

func (r *Row) disagree(format string, args ...any) {
	r.Disagreements = append(r.Disagreements, fmt.Sprintf(format, args...))
}

// count counts the clashes by where they were, and by their flow's source.
func (r *Row) count(made heldResult, clashes []tracedClash) (seen map[netip.AddrPort]int, droppedAtConfirm int) {
	seen = make(map[netip.AddrPort]int)
	strange := 0
	for _, c := range clashes {
		if c.Outcome == "dropped" {
			r.Dropped++
		}
		switch {
		case c.Path != "confirm":
			r.Reinjection++
		case c.Outcome == "dropped":
			droppedAtConfirm++
			fallthrough
		default:
			r.Confirm++
		}
		if !c.right(made.target) {
			if strange++; strange == 1 {
				r.disagree("not a clash of this load: %+v", c)
			}
		}
		seen[c.Loser.Original.Src]++
	}
	if strange > 1 {
		r.disagree("%d more that are not of this load", strange-1)
	}
	return seen, droppedAtConfirm
}

// expect holds each flow's clashes against what the load made.
func (r *Row) expect(made heldResult, seen map[netip.AddrPort]int, clashes int) {
	expected, wrong := 0, 0
	for _, source := range slices.SortedFunc(maps.Keys(made.sources), netip.AddrPort.Compare) {
		n := made.sources[source]
		expected += n
		if seen[source] != n {
			if wrong++; wrong == 1 {
				r.disagree("the flow from %v has %d clashes, not %d", source, seen[source], n)
			}
		}
	}
	if wrong > 1 {
		r.disagree("%d more flows with another number of clashes", wrong-1)
	}
	if clashes != expected {
		r.disagree("%d clashes, not %d", clashes, expected)
	}
	r.Expected = &expected
}

// right says whether a clash is one of two entries of the same flow, without NAT, to the target.
func (c tracedClash) right(target netip.AddrPort) bool {
	o, reply := c.Loser.Original, c.Loser.Reply
	return o.Dst == target && o.Protocol == "udp" && reply.Src == o.Dst && reply.Dst == o.Src &&
		reply.Protocol == o.Protocol &&
		c.Outcome == "adopted" && c.Winner != nil && c.Winner.Address != c.Loser.Address && c.Winner.Original == o &&
		c.Winner.Reply == reply
}

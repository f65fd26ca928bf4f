package ruleset

import (
	"math"

	"github.com/google/nftables"
)

// Placement is where on the packets' way through the kernel they are queued.
type Placement string

// The placements. Conntrack looks a packet up at priority -200 of PREROUTING and
// OUTPUT and confirms its entry last in INPUT and POSTROUTING; a queue between
// the two is exposed to clashes.
const (
	PlacementNone         Placement = "none"          // no rules at all
	PlacementPreConntrack Placement = "pre-conntrack" // OUTPUT and PREROUTING, before the lookup: no clashes, no conntrack state
	PlacementNotrack      Placement = "notrack"       // OUTPUT and INPUT, with the packets exempt from tracking
	PlacementOutput       Placement = "output"
	PlacementPostrouting  Placement = "postrouting"
	PlacementInput        Placement = "input"
	PlacementForward      Placement = "forward"
	PlacementVerdict3     Placement = "verdict3" // first of all in INPUT and in POSTROUTING
)

var placements = []Placement{
	PlacementNone, PlacementPreConntrack, PlacementNotrack, PlacementOutput,
	PlacementPostrouting, PlacementInput, PlacementForward, PlacementVerdict3,
}

// ParsePlacement checks a placement's name.
func ParsePlacement(name string) (Placement, error) {
	return parse("placement", Placement(name), placements)
}

// A hook is one base chain of a placement.
type hook struct {
	name     string // the chain's: the hook's, unless exempt
	hook     *nftables.ChainHook
	priority nftables.ChainPriority

	// exempt: the packets' tracking is switched off here instead of queueing.
	exempt bool

	// skipLoopback lets packets from the loopback interface pass: on their way
	// out they ran through the placement's other queue, where they were
	// judged (and confirmed, behind POSTROUTING). A second queue could only
	// reorder them.
	skipLoopback bool
}

const (
	first  nftables.ChainPriority = math.MinInt32
	raw    nftables.ChainPriority = -300
	mangle nftables.ChainPriority = -150
)

// Site is where packets wait for a verdict.
type Site struct {
	Hook     string // as nft names it: prerouting, input, forward, output, postrouting
	Priority int
}

// Sites are where the packets of a placement wait.
func (p Placement) Sites() []Site {
	var sites []Site
	for _, h := range p.hooks() {
		if !h.exempt {
			sites = append(sites, Site{h.name, int(h.priority)})
		}
	}
	return sites
}

// sendsErrors tells hooks that a host's own messages pass.
func (h *hook) sendsErrors() bool {
	return h.hook == nftables.ChainHookOutput || h.hook == nftables.ChainHookPostrouting
}

// hooks are the base chains of a placement.
func (p Placement) hooks() []hook {
	switch p {
	case PlacementPreConntrack:
		return []hook{
			{name: "output", hook: nftables.ChainHookOutput, priority: raw},
			{name: "prerouting", hook: nftables.ChainHookPrerouting, priority: raw, skipLoopback: true},
		}
	case PlacementNotrack:
		return []hook{
			{name: "exempt-output", hook: nftables.ChainHookOutput, priority: raw, exempt: true},
			{name: "exempt-prerouting", hook: nftables.ChainHookPrerouting, priority: raw, exempt: true},
			{name: "output", hook: nftables.ChainHookOutput, priority: mangle},
			{name: "input", hook: nftables.ChainHookInput, priority: mangle, skipLoopback: true},
		}
	case PlacementOutput:
		return []hook{{name: "output", hook: nftables.ChainHookOutput, priority: mangle}}
	case PlacementPostrouting:
		return []hook{{name: "postrouting", hook: nftables.ChainHookPostrouting, priority: mangle}}
	case PlacementInput:
		return []hook{{name: "input", hook: nftables.ChainHookInput, priority: mangle}}
	case PlacementForward:
		return []hook{{name: "forward", hook: nftables.ChainHookForward, priority: mangle}}
	case PlacementVerdict3:
		return []hook{
			{name: "input", hook: nftables.ChainHookInput, priority: first, skipLoopback: true},
			{name: "postrouting", hook: nftables.ChainHookPostrouting, priority: first},
		}
	}
	return nil
}

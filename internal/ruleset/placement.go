package ruleset

import (
	"math"
	"slices"

	"github.com/google/nftables"

	"verdictd/internal/vocabulary"
)

// A hook is where a base chain is called.
type hook struct {
	at       vocabulary.Hook
	priority nftables.ChainPriority

	// exempt: the packets' tracking is switched off here instead of queueing.
	exempt bool

	// skipLoopback lets packets from the loopback interface pass: on their way
	// out they ran through the placement's other queue, where they were
	// judged (and confirmed, behind POSTROUTING). A second queue could only
	// reorder them.
	skipLoopback bool

	// also: another placement has a chain of that name elsewhere.
	also bool
}

const (
	first  nftables.ChainPriority = math.MinInt32
	raw    nftables.ChainPriority = -300
	mangle nftables.ChainPriority = -150
)

// hooks are those of a placement's base chains.
func hooks(p vocabulary.Placement) []hook {
	switch p {
	case vocabulary.PlacementPreConntrack:
		return []hook{
			{at: vocabulary.HookOutput, priority: raw},
			{at: vocabulary.HookPrerouting, priority: raw, skipLoopback: true},
		}
	case vocabulary.PlacementNotrack:
		return []hook{
			{at: vocabulary.HookOutput, priority: raw, exempt: true},
			{at: vocabulary.HookPrerouting, priority: raw, exempt: true},
			{at: vocabulary.HookOutput, priority: mangle},
			{at: vocabulary.HookInput, priority: mangle, skipLoopback: true},
		}
	case vocabulary.PlacementOutput:
		return []hook{{at: vocabulary.HookOutput, priority: mangle}}
	case vocabulary.PlacementPostrouting:
		return []hook{{at: vocabulary.HookPostrouting, priority: mangle}}
	case vocabulary.PlacementInput:
		return []hook{{at: vocabulary.HookInput, priority: mangle}}
	case vocabulary.PlacementForward:
		return []hook{{at: vocabulary.HookForward, priority: mangle}}
	case vocabulary.PlacementVerdict3:
		return []hook{
			{at: vocabulary.HookInput, priority: first, skipLoopback: true},
			{at: vocabulary.HookPostrouting, priority: first},
		}
	}
	return nil
}

// hooks are those of the placement, and of the one besides it.
func (c *Config) hooks() []hook {
	list := hooks(c.Placement)
	for _, h := range hooks(c.Also) {
		same := func(o hook) bool { return o.at == h.at && o.priority == h.priority && o.exempt == h.exempt }
		if slices.ContainsFunc(list, same) {
			continue
		}
		h.also = slices.ContainsFunc(list, func(o hook) bool { return o.chain() == h.chain() })
		list = append(list, h)
	}
	return list
}

// chain names the base chain of a placement that is called here.
func (h *hook) chain() string {
	name := string(h.at)
	if h.exempt {
		name = "exempt-" + name
	}
	if h.also {
		name += "-before"
	}
	return name
}

// number is the kernel's.
func (h *hook) number() *nftables.ChainHook {
	return new(nftables.ChainHook(h.at.Number()))
}

// sendsErrors tells hooks that a host's own messages pass.
func (h *hook) sendsErrors() bool {
	return h.at == vocabulary.HookOutput || h.at == vocabulary.HookPostrouting
}

package advice

import (
	"fmt"
	"slices"
	"strings"

	"golang.org/x/sys/unix"

	"verdictd/internal/config"
	"verdictd/internal/vocabulary"
)

// hooks are where placements queue packets.
var hooks = map[vocabulary.Placement][]vocabulary.Hook{
	vocabulary.PlacementPreConntrack: {vocabulary.HookOutput, vocabulary.HookPrerouting},
	vocabulary.PlacementOutput:       {vocabulary.HookOutput},
	vocabulary.PlacementPostrouting:  {vocabulary.HookPostrouting},
	vocabulary.PlacementInput:        {vocabulary.HookInput},
	vocabulary.PlacementForward:      {vocabulary.HookForward},
	vocabulary.PlacementVerdict3:     {vocabulary.HookInput, vocabulary.HookPostrouting},
}

// queued holds rules against what the daemon's own rules queue.
func (o *of) queued() {
	if !o.Rules.Install || o.Rules.Placement == vocabulary.PlacementNone {
		return
	}
	keeps := []vocabulary.Fanout{vocabulary.FanoutBalance, vocabulary.FanoutPorts}
	if fanout := o.Rules.Fanout; o.Rules.Placement == vocabulary.PlacementPreConntrack && o.Queues.Count > 1 && !slices.Contains(keeps, fanout) {
		o.say("rules.fanout", "%s spreads a flow's packets over several queues, which let them go to conntrack at once, where they clash: write %s",
			fanout, strings.ReplaceAll(words(keeps), ", ", " or "))
	}
	for i := range o.Policy.Rules {
		key, m := ruleKey(i), &o.Policy.Rules[i].Match
		if at, known := hooks[o.Rules.Placement]; known && len(m.Hooks) > 0 && !overlapping(at, m.Hooks) {
			o.say(key+".hooks", "rules.placement %s queues packets at %s alone, so that this rule sees none", o.Rules.Placement, words(at))
		}
		if field, needs := protocolsOf(m); len(needs) > 0 && !overlapping(o.Rules.Protocols, needs) {
			o.say(key+"."+field, "rules.protocols has none of %s, so that this rule sees no packet: add what is meant there", words(needs))
		}
		if len(m.Family) > 0 && !overlapping(o.Rules.Families, m.Family) {
			o.say(key+".family", "rules.families has none of %s, so that this rule sees no packet: add what is meant there", words(m.Family))
		}
	}
}

// protocolsOf are those that packets of a match have, and the key that says so.
func protocolsOf(m *config.Match) (field string, list []vocabulary.Protocol) {
	switch {
	case len(m.Protocols) > 0:
		return "protocols", m.Protocols
	case m.TLS != nil:
		return "tls", []vocabulary.Protocol{unix.IPPROTO_TCP}
	case m.HTTP != nil:
		return "http", []vocabulary.Protocol{unix.IPPROTO_TCP}
	case m.QUIC != nil:
		return "quic", []vocabulary.Protocol{unix.IPPROTO_UDP}
	case m.DNS != nil:
		return "dns", []vocabulary.Protocol{unix.IPPROTO_UDP, unix.IPPROTO_TCP}
	}
	return "", nil
}

func overlapping[T comparable](a, b []T) bool {
	return slices.ContainsFunc(b, func(v T) bool { return slices.Contains(a, v) })
}

func words[T any](list []T) string {
	var words []string
	for _, v := range list {
		words = append(words, fmt.Sprint(v))
	}
	return strings.Join(words, ", ")
}

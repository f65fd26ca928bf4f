package exposure

import (
	"fmt"
	"slices"
	"strings"

	"golang.org/x/sys/unix"

	"verdictd/internal/liverules"
	"verdictd/internal/ruleset"
	"verdictd/internal/vocabulary"
)

// A report collects sentences, each once.
type report []string

func (r *report) say(format string, args ...any) {
	if text := fmt.Sprintf(format, args...); !slices.Contains(*r, text) {
		*r = append(*r, text)
	}
}

// unknown says what the plan leaves out, as it is not known.
func unknown(rules *liverules.Rules, exposing []Exposing, o Options) []string {
	var r report
	for _, u := range rules.Unread {
		r.say("not readable: %s: rules may be missing here", u)
	}
	if len(exposing) > 0 {
		r.sayUnknown(rules.Conntrack, o)
	}
	return r
}

// beyond says what the gate cannot do.
func beyond(rules *liverules.Rules, exposing []Exposing) []string {
	var r report
	for _, e := range exposing {
		r.saySite(rules, e)
	}
	if len(exposing) > 0 {
		r.sayUnconfirmed(rules)
	}
	return r
}

// sayUnknown is about families without a gate, as it might be the one that makes
// connections be tracked.
func (r *report) sayUnknown(c liverules.Conntrack, o Options) {
	for _, f := range []struct {
		name   string
		answer liverules.Answer
	}{{"IPv4", c.IPv4}, {"IPv6", c.IPv6}} {
		if f.answer == liverules.Unknown && !o.Insist {
			r.say("%s has no gate, as it is unknown whether conntrack is active (%s): guard.mode hold insists", f.name, c.Reason)
		}
	}
}

// saySite is about one rule.
func (r *report) saySite(rules *liverules.Rules, e Exposing) {
	if slices.Contains(e.Reach.Families, liverules.Bridge) {
		r.say("%s is in a bridge's own hooks, and the gate in those of IP: its packets are not held", e.Rule)
		return
	}
	if others := otherProtocols(e.Reach.Packets); others != "" {
		r.say("%s queues %s, which the gate does not hold", e.Rule, others)
	}
	if nat := rules.SourceNATBefore(e.Site); len(nat) > 0 {
		r.say("%s is behind source NAT (%s): two flows that are given the same address and port while both wait still clash", e.Rule, places(nat))
	}
	rewrites := slices.DeleteFunc(slices.Clone(rules.RewritesBefore(e.Site)), func(w liverules.Rewrite) bool { return w.Kind == "tproxy" })
	if len(rewrites) > 0 {
		r.say("%s is behind DNAT (%s): where both ends of a flow begin at once, the gate takes their packets for two flows, which still clash", e.Rule, places(rewrites))
	}
}

// otherProtocols names those that can clash and pass no gate. TCP cannot: a
// connection has no second packet before the first one's answer.
func otherProtocols(packets []liverules.Selection) string {
	var names []string
	for _, s := range packets {
		if len(s.Protocols) == 0 {
			return "protocols besides TCP, UDP, UDP-Lite, ICMP and GRE"
		}
		for _, p := range s.Protocols {
			if name := p.String(); p != unix.IPPROTO_TCP && !vocabulary.Gateable(uint8(p)) && !slices.Contains(names, name) {
				names = append(names, name)
			}
		}
	}
	return strings.Join(names, ", ")
}

// places names the first rule and how many more there are.
func places(list []liverules.Rewrite) string {
	text := list[0].String()
	if n := len(list) - 1; n > 0 {
		text += fmt.Sprintf(" and %d more", n)
	}
	return text
}

// sayUnconfirmed is about flows whose entries are never confirmed, or cannot be
// asked for: their further packets wait as long as guard.hold says.
func (r *report) sayUnconfirmed(rules *liverules.Rules) {
	for _, n := range rules.Notracks {
		for _, way := range n.Ways {
			if (way.Hook == vocabulary.HookOutput || way.Hook == vocabulary.HookPrerouting) && way.Priority >= ruleset.GatePriority && way.Priority <= liverules.LookupPriority {
				r.say("%s exempts packets from conntrack behind the gate, at priority %d: what the gate holds of their flows waits in vain; put it at -300", n.Place, way.Priority)
			}
		}
	}
	for _, z := range rules.Zones {
		if z.Computed {
			r.say("%s computes the conntrack zone: packets of zones that no rule names pass the gate unheld", z.Place)
		}
	}
	if rules.IPVS == liverules.Yes {
		r.say("IPVS has services, and net.ipv4.vs.conntrack is 0: their flows are never confirmed, so that their further packets wait as long as guard.hold; make their ports exempt (guard.exempt_ports)")
	}
}

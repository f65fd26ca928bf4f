package liverules

import (
	"encoding/json"
	"math"
	"slices"
	"strings"
	"testing"

	"verdictd/internal/vocabulary"
)

func TestExposure(t *testing.T) {
	untrackedNamespace := surroundings{loaded: Yes, bridgeCalls: No}
	bridgeTracks := baseChain(vocabulary.HookForward, 0, rule{tracks: true, conditions: []condition{answered}, outcomes: goesOn})
	tests := []struct {
		name         string
		chains       []*chain
		surroundings surroundings
		want         Exposure
		position     Position
		reason       string
	}{
		{"raw output", model(baseChain(vocabulary.HookOutput, -300, queue(1))), tracked, NotExposed, BeforeLookup, "before"},
		{"raw prerouting", model(baseChain(vocabulary.HookPrerouting, -201, queue(1))), tracked, NotExposed, BeforeLookup, "before"},
		{"at the lookup", model(baseChain(vocabulary.HookPrerouting, -200, queue(1))), tracked, ExposureUnknown, Undecided, "registered last"},
		{"mangle prerouting", model(baseChain(vocabulary.HookPrerouting, -150, queue(1))), tracked, Exposed, BetweenLookupAndConfirm, "between"},
		{"mangle output", model(baseChain(vocabulary.HookOutput, -150, queue(1))), tracked, Exposed, BetweenLookupAndConfirm, "between"},
		{"first in input", model(baseChain(vocabulary.HookInput, math.MinInt32, queue(1))), tracked, Exposed, BetweenLookupAndConfirm, "between"},
		{"forward", model(baseChain(vocabulary.HookForward, -300, queue(1))), tracked, Exposed, BetweenLookupAndConfirm, "between"},
		{"late postrouting", model(baseChain(vocabulary.HookPostrouting, math.MaxInt32-1, queue(1))), tracked, Exposed, BetweenLookupAndConfirm, "between"},
		{"at confirm", model(baseChain(vocabulary.HookPostrouting, math.MaxInt32, queue(1))), tracked, ExposureUnknown, Undecided, "confirm"},
		{"last in output", model(baseChain(vocabulary.HookOutput, math.MaxInt32, queue(1))), tracked, Exposed, BetweenLookupAndConfirm, "between"},
		{"ingress", model(in(NetDev, baseChain(vocabulary.HookIngress, 0, queue(1)))), tracked, NotExposed, BeforeLookup, "ingress"},
		{"inet ingress", model(baseChain(vocabulary.HookIngress, 0, queue(1))), tracked, NotExposed, BeforeLookup, "ingress"},
		{"egress", model(in(NetDev, baseChain(vocabulary.HookEgress, 0, queue(1)))), tracked, NotExposed, AfterConfirm, "egress"},
		{"arp", model(in(ARP, baseChain(vocabulary.HookInput, 0, queue(1)))), tracked, NotExposed, Outside, "ARP"},

		{"not tracked at all", model(baseChain(vocabulary.HookOutput, 0, queue(1))), untrackedNamespace, NotExposed, BetweenLookupAndConfirm, "not active"},
		{"conntrack is not loaded", model(baseChain(vocabulary.HookOutput, 0, queue(1))), surroundings{loaded: No, bridgeCalls: No}, NotExposed, BetweenLookupAndConfirm, "not loaded"},
		{"unknown whether tracked", model(baseChain(vocabulary.HookOutput, 0, queue(1))), surroundings{loaded: Unknown, bridgeCalls: No}, ExposureUnknown, BetweenLookupAndConfirm, "if conntrack is active"},
		{"tracked because of its own match", model(baseChain(vocabulary.HookOutput, 0, rule{
			queue: &QueueStatement{First: 1, Last: 1, Fanout: FanoutNone}, tracks: true, outcomes: absorbed,
		})), untrackedNamespace, Exposed, BetweenLookupAndConfirm, "between"},
		{"tracked in the other family", model(in(IPv6, baseChain(vocabulary.HookOutput, 0, queue(1))), in(IPv4, baseChain(vocabulary.HookPrerouting, -100, dnat()))),
			untrackedNamespace, NotExposed, BetweenLookupAndConfirm, "not active"},
		{"tracked in one of two families", model(baseChain(vocabulary.HookOutput, 0, queue(1)), in(IPv4, baseChain(vocabulary.HookPrerouting, -100, dnat()))),
			untrackedNamespace, Exposed, BetweenLookupAndConfirm, "between"},
		{"tracked in the family that is left out", model(baseChain(vocabulary.HookOutput, 0, accept(onlyIPv4), queue(1)), in(IPv4, baseChain(vocabulary.HookPrerouting, -100, dnat()))),
			untrackedNamespace, NotExposed, BetweenLookupAndConfirm, "not active"},
		{"an old kernel", model(baseChain(vocabulary.HookOutput, 0, queue(1))), surroundings{loaded: Yes, always: true, bridgeCalls: No}, Exposed, BetweenLookupAndConfirm, "between"},

		{"tcp", model(baseChain(vocabulary.HookOutput, 0, queue(1, tcp))), tracked, NotExposed, BetweenLookupAndConfirm, "TCP"},
		{"tcp before a jump", model(baseChain(vocabulary.HookOutput, 0, jump("c", tcp)), userChain("c", queue(1))), tracked, NotExposed, BetweenLookupAndConfirm, "TCP"},
		{"tcp or udp", model(baseChain(vocabulary.HookOutput, 0, jump("c", tcp), jump("c", udp)), userChain("c", queue(1))), tracked, Exposed, BetweenLookupAndConfirm, "between"},
		{"all but tcp", model(baseChain(vocabulary.HookOutput, 0, accept(tcp), queue(1))), tracked, Exposed, BetweenLookupAndConfirm, "between"},
		{"established", model(baseChain(vocabulary.HookInput, 0, queue(1, answered))), tracked, NotExposed, BetweenLookupAndConfirm, "established"},
		{"confirmed", model(baseChain(vocabulary.HookInput, 0, queue(1, settled))), tracked, NotExposed, BetweenLookupAndConfirm, "confirmed"},
		{"all but established", model(baseChain(vocabulary.HookInput, 0, accept(answered), queue(1))), tracked, Exposed, BetweenLookupAndConfirm, "between"},

		{"bridge without conntrack", model(in(Bridge, baseChain(vocabulary.HookForward, 0, queue(1)))), untrackedNamespace, NotExposed, Outside, "bridge"},
		{"bridge with conntrack", model(in(Bridge, baseChain(vocabulary.HookPrerouting, 0, queue(1))), in(Bridge, bridgeTracks)), untrackedNamespace, Exposed, BetweenLookupAndConfirm, "between"},
		{"bridge before conntrack", model(in(Bridge, baseChain(vocabulary.HookPrerouting, -300, queue(1))), in(Bridge, bridgeTracks)), untrackedNamespace, NotExposed, BeforeLookup, "before"},
		{"bridge calling ip", model(in(Bridge, baseChain(vocabulary.HookForward, 0, queue(1)))), surroundings{loaded: Yes, entries: 1, bridgeCalls: Yes}, ExposureUnknown, Undecided, "br_netfilter"},
		{"bridge calling ip, untracked", model(in(Bridge, baseChain(vocabulary.HookForward, 0, queue(1)))), surroundings{loaded: Yes, bridgeCalls: Yes}, NotExposed, Undecided, "not active"},
		{"bridge, unknown", model(in(Bridge, baseChain(vocabulary.HookForward, 0, queue(1)))), surroundings{loaded: Yes, entries: 1, bridgeCalls: No}, ExposureUnknown, Undecided, "unknown"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			q := queueOf(t, analyse(test.chains, test.surroundings, true), 1)
			if q.Exposure != test.want || !strings.Contains(q.Reason, test.reason) {
				t.Errorf("%s (%s), want %s (...%s...)", q.Exposure, q.Reason, test.want, test.reason)
			}
			if len(q.Reaches) != 1 || q.Reaches[0].Position != test.position {
				t.Errorf("reaches %+v, want one at %s", q.Reaches, test.position)
			}
		})
	}
}

func TestExposureIsTheWorst(t *testing.T) {
	r := analyse(model(
		ofTable("t", &chain{name: "early", base: &base{vocabulary.HookOutput, -300}, rules: []rule{jump("c")}}),
		&chain{name: "late", base: &base{vocabulary.HookPostrouting, 0}, rules: []rule{jump("c")}},
		userChain("c", queue(1)),
	), tracked, true)
	q := queueOf(t, r, 1)
	if q.Exposure != Exposed || len(q.Reaches) != 2 || q.Reaches[0].Hook != vocabulary.HookPostrouting || q.Reaches[1].Exposure != NotExposed {
		t.Errorf("%s by %+v, want exposed in postrouting, and not in raw output", q.Exposure, q.Reaches)
	}
}

func TestUntracked(t *testing.T) {
	tests := []struct {
		name   string
		chains []*chain
		want   Answer
	}{
		{"none", model(baseChain(vocabulary.HookOutput, 0, queue(1))), No},
		{"all", model(baseChain(vocabulary.HookOutput, -300, notrack()), ofTable("u", baseChain(vocabulary.HookOutput, 0, queue(1)))), Yes},
		{"the same packets", model(baseChain(vocabulary.HookOutput, -300, notrack(udp, dns)), ofTable("u", baseChain(vocabulary.HookOutput, 0, queue(1, dns, udp)))), Yes},
		{"more packets", model(baseChain(vocabulary.HookOutput, -300, notrack(udp)), ofTable("u", baseChain(vocabulary.HookOutput, 0, queue(1, udp, dns)))), Yes},
		{"fewer packets", model(baseChain(vocabulary.HookOutput, -300, notrack(udp, dns)), ofTable("u", baseChain(vocabulary.HookOutput, 0, queue(1, udp)))), Unknown},
		{"by chance", model(baseChain(vocabulary.HookOutput, -300, notrack(limited)), ofTable("u", baseChain(vocabulary.HookOutput, 0, queue(1, limited)))), Unknown},
		{"behind an exception", model(baseChain(vocabulary.HookOutput, -300, accept(dns), notrack()), ofTable("u", baseChain(vocabulary.HookOutput, 0, queue(1)))), Unknown},
		{"behind the same exception", model(baseChain(vocabulary.HookOutput, -300, accept(dns), notrack()), ofTable("u", baseChain(vocabulary.HookOutput, 0, leave(dns), queue(1)))), Yes},
		{"too late", model(baseChain(vocabulary.HookOutput, -150, notrack()), ofTable("u", baseChain(vocabulary.HookOutput, 0, queue(1)))), No},
		{"at the lookup", model(baseChain(vocabulary.HookOutput, -200, notrack()), ofTable("u", baseChain(vocabulary.HookOutput, 0, queue(1)))), Unknown},
		{"another hook", model(baseChain(vocabulary.HookPrerouting, -300, notrack()), ofTable("u", baseChain(vocabulary.HookOutput, 0, queue(1)))), No},
		{"input's is prerouting", model(baseChain(vocabulary.HookPrerouting, -300, notrack()), ofTable("u", baseChain(vocabulary.HookInput, 0, queue(1)))), Yes},
		{"half of postrouting's", model(baseChain(vocabulary.HookOutput, -300, notrack()), ofTable("u", baseChain(vocabulary.HookPostrouting, 0, queue(1)))), Unknown},
		{"both of postrouting's", model(baseChain(vocabulary.HookOutput, -300, notrack()), baseChain(vocabulary.HookPrerouting, -300, notrack()), ofTable("u", baseChain(vocabulary.HookPostrouting, 0, queue(1)))), Yes},
		{"another family", model(in(IPv6, baseChain(vocabulary.HookOutput, -300, notrack())), in(IPv4, baseChain(vocabulary.HookOutput, 0, queue(1)))), No},
		{"one family of two", model(in(IPv6, baseChain(vocabulary.HookOutput, -300, notrack())), baseChain(vocabulary.HookOutput, 0, queue(1))), Unknown},
		{"unreachable", model(userChain("c", notrack()), baseChain(vocabulary.HookOutput, 0, queue(1))), No},
		{"through a chain", model(baseChain(vocabulary.HookOutput, -300, jump("n", udp)), userChain("n", leave(dns), notrack()),
			ofTable("u", baseChain(vocabulary.HookOutput, 0, accept(dns), queue(1, udp)))), Yes},
		{"through a chain, behind its exception", model(baseChain(vocabulary.HookOutput, -300, jump("n", udp)), userChain("n", leave(dns), notrack()),
			ofTable("u", baseChain(vocabulary.HookOutput, 0, queue(1, udp)))), Unknown},
		{"behind a possible exception", model(baseChain(vocabulary.HookOutput, -300, perhaps(dns), notrack()), ofTable("u", baseChain(vocabulary.HookOutput, 0, perhaps(dns), queue(1)))), Unknown},
		{"behind an exception, which the queue is perhaps", model(baseChain(vocabulary.HookOutput, -300, accept(dns), notrack()), ofTable("u", baseChain(vocabulary.HookOutput, 0, perhaps(dns), queue(1)))), Unknown},
		{"the same set", model(baseChain(vocabulary.HookOutput, -300, notrack(inSet)), userChain("c", queue(1)), &chain{name: "late", base: &base{vocabulary.HookOutput, 0}, rules: []rule{jump("c", inSet)}}), Yes},
		{"another table's set", model(baseChain(vocabulary.HookOutput, -300, notrack(inSet)), ofTable("u", baseChain(vocabulary.HookOutput, 0, queue(1, inSet)))), Unknown},
		{"through the like chain", model(baseChain(vocabulary.HookOutput, -300, jump("n", udp)), userChain("n", leave(dns), notrack()),
			ofTable("u", baseChain(vocabulary.HookOutput, 0, jump("q", udp))), ofTable("u", userChain("q", leave(dns), queue(1)))), Yes},
		{"by one way of two", model(baseChain(vocabulary.HookOutput, -300, jump("n", udp), jump("n", limited)), userChain("n", notrack()),
			ofTable("u", baseChain(vocabulary.HookOutput, 0, queue(1, udp, dns)))), Yes},
		{"one way of the queue's two", model(baseChain(vocabulary.HookOutput, -300, notrack(udp)),
			ofTable("u", baseChain(vocabulary.HookOutput, 0, jump("q", udp), jump("q", dns))), ofTable("u", userChain("q", queue(1)))), Unknown},
		{"both ways of the queue's two", model(baseChain(vocabulary.HookOutput, -300, notrack(udp), notrack(dns)),
			ofTable("u", baseChain(vocabulary.HookOutput, 0, jump("q", udp), jump("q", dns))), ofTable("u", userChain("q", queue(1)))), Yes},
		{"by too many ways", model(baseChain(vocabulary.HookOutput, -300, slices.Repeat([]rule{jump("n", udp)}, maxArrivals+1)...), userChain("n", notrack()),
			ofTable("u", baseChain(vocabulary.HookOutput, 0, queue(1, udp)))), Unknown},
		{"the queue's too many ways", model(baseChain(vocabulary.HookOutput, -300, notrack(udp)),
			ofTable("u", baseChain(vocabulary.HookOutput, 0, slices.Repeat([]rule{jump("q", udp)}, maxArrivals+1)...)), ofTable("u", userChain("q", queue(1)))), Yes},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			q := queueOf(t, analyse(test.chains, tracked, true), 1)
			if got := q.Reaches[0].Untracked; got != test.want {
				t.Errorf("untracked: %s, want %s", got, test.want)
			}
			if exempt := q.Exposure == NotExposed; exempt != (test.want == Yes) {
				t.Errorf("%s (%s)", q.Exposure, q.Reason)
			}
		})
	}
}

func TestJSON(t *testing.T) {
	r := analyse(model(baseChain(vocabulary.HookOutput, 0, accept(marked), queue(1, udp))), tracked, true)
	text, err := json.Marshal(r)
	if err != nil {
		t.Fatal(err)
	}
	var back Rules
	if err := json.Unmarshal(text, &back); err != nil {
		t.Fatal(err)
	}
	if last := back.BehindOurs([]uint16{1}).Last; len(last) != 1 {
		t.Errorf("the analysis of what was read back from JSON says %+v\n%s", last, text)
	}
	for _, key := range []string{`"rewrites":[]`, `"protocols":["udp"]`, `"notracks":[]`, `"exposure":"exposed"`, `"families":["ip","ip6"]`} {
		if !strings.Contains(string(text), key) {
			t.Errorf("no %s in %s", key, text)
		}
	}
}

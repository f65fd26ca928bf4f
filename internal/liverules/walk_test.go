package liverules

import (
	"fmt"
	"slices"
	"testing"

	"verdictd/internal/vocabulary"
)

func TestReach(t *testing.T) {
	tests := []struct {
		name   string
		chains []*chain
		want   []vocabulary.Hook
		match  string
	}{
		{"base chain", model(baseChain(vocabulary.HookOutput, 0, queue(1, udp))), []vocabulary.Hook{vocabulary.HookOutput}, "meta l4proto udp"},
		{"jump", model(baseChain(vocabulary.HookOutput, 0, jump("c", udp)), userChain("c", queue(1, dns))), []vocabulary.Hook{vocabulary.HookOutput}, "meta l4proto udp th dport 53"},
		{"goto", model(baseChain(vocabulary.HookOutput, 0, gotoChain("c")), userChain("c", queue(1))), []vocabulary.Hook{vocabulary.HookOutput}, ""},
		{"two deep", model(baseChain(vocabulary.HookOutput, 0, jump("a")), userChain("a", jump("b")), userChain("b", queue(1))), []vocabulary.Hook{vocabulary.HookOutput}, ""},
		{"several base chains", model(baseChain(vocabulary.HookOutput, 0, jump("c")), baseChain(vocabulary.HookInput, 0, jump("c")), userChain("c", queue(1))), []vocabulary.Hook{vocabulary.HookInput, vocabulary.HookOutput}, ""},
		{"two ways, what is common", model(baseChain(vocabulary.HookOutput, 0, jump("c", udp, dns), jump("c", udp)), userChain("c", queue(1))), []vocabulary.Hook{vocabulary.HookOutput}, "meta l4proto udp"},
		{"verdict map", model(baseChain(vocabulary.HookOutput, 0, rule{calls: []string{"a", "b"}, outcomes: goesOn | handsOver, conditions: []condition{inTurn}}),
			userChain("a", queue(1)), userChain("b", queue(2))), []vocabulary.Hook{vocabulary.HookOutput}, "numgen mod 2 vmap @m"},
		{"nobody calls", model(baseChain(vocabulary.HookOutput, 0), userChain("c", queue(1))), nil, ""},
		{"only nobody's chain calls", model(baseChain(vocabulary.HookOutput, 0), userChain("a", jump("c")), userChain("c", queue(1))), nil, ""},
		{"behind a verdict", model(baseChain(vocabulary.HookOutput, 0, accept(), queue(1))), nil, ""},
		{"behind a goto", model(baseChain(vocabulary.HookOutput, 0, gotoChain("c"), queue(1)), userChain("c")), nil, ""},
		{"behind a conditional verdict", model(baseChain(vocabulary.HookOutput, 0, accept(dns), queue(1))), []vocabulary.Hook{vocabulary.HookOutput}, ""},
		{"called behind a verdict", model(baseChain(vocabulary.HookOutput, 0, leave(), jump("c")), userChain("c", queue(1))), nil, ""},
		{"another table's chain", model(baseChain(vocabulary.HookOutput, 0, jump("c")), ofTable("u", userChain("c", queue(1)))), nil, ""},
		{"behind a jump to a chain that ends", model(baseChain(vocabulary.HookOutput, 0, jump("c"), queue(1)), userChain("c", leave(udp), accept())), []vocabulary.Hook{vocabulary.HookOutput}, ""},
		{"behind a jump that all end by", model(baseChain(vocabulary.HookOutput, 0, jump("c"), queue(1)), userChain("c", accept(udp), jump("d")), userChain("d", accept())), nil, ""},
		{"behind a goto that all end by", model(baseChain(vocabulary.HookOutput, 0, jump("c"), queue(1)), userChain("c", gotoChain("d")), userChain("d", accept())), nil, ""},
		{"behind a goto from which some return", model(baseChain(vocabulary.HookOutput, 0, jump("c"), queue(1)), userChain("c", gotoChain("d", dns), accept()), userChain("d", accept(udp))), []vocabulary.Hook{vocabulary.HookOutput}, ""},
		{"behind a conditional goto to a chain that ends", model(baseChain(vocabulary.HookOutput, 0, jump("c"), queue(1)), userChain("c", gotoChain("d", dns), accept()), userChain("d", accept())), nil, ""},
		{"behind a map that goes on", model(baseChain(vocabulary.HookOutput, 0, jump("c"), queue(1)), userChain("c", rule{calls: []string{"d"}, outcomes: goesOn | handsOver, conditions: []condition{inTurn}}, accept()),
			userChain("d", accept())), nil, ""},
		{"behind a map that returns some", model(baseChain(vocabulary.HookOutput, 0, jump("c"), queue(1)),
			userChain("c", rule{calls: []string{"d"}, outcomes: goesOn | handsOver | comesBack, conditions: []condition{inTurn}}, accept()), userChain("d", accept())), []vocabulary.Hook{vocabulary.HookOutput}, ""},
		{"a loop", model(baseChain(vocabulary.HookOutput, 0, jump("a")), userChain("a", jump("b")), userChain("b", jump("a"), queue(1))), []vocabulary.Hook{vocabulary.HookOutput}, ""},
		{"a chain that is gone", model(baseChain(vocabulary.HookOutput, 0, jump("gone"), queue(1))), []vocabulary.Hook{vocabulary.HookOutput}, ""},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			q := queueOf(t, analyse(test.chains, tracked, true), 1)
			if got := hooks(q); !slices.Equal(got, test.want) {
				t.Errorf("reached from %v, want %v", got, test.want)
			}
			if len(test.want) == 0 {
				if q.Exposure != NotExposed {
					t.Errorf("unreachable, but %s (%s)", q.Exposure, q.Reason)
				}
				return
			}
			if got := q.Reaches[0].Match; got != test.match {
				t.Errorf("match %q, want %q", got, test.match)
			}
		})
	}
}

func TestChainsOnTheWay(t *testing.T) {
	q := queueOf(t, analyse(model(
		baseChain(vocabulary.HookOutput, 0, jump("a")), userChain("a", jump("b")), userChain("b", queue(1)),
	), tracked, true), 1)
	if want := []string{"base-output", "a", "b"}; !slices.Equal(q.Reaches[0].Chains, want) {
		t.Errorf("chains %v, want %v", q.Reaches[0].Chains, want)
	}
}

func TestFanoutByMap(t *testing.T) {
	q := queueOf(t, analyse(model(baseChain(vocabulary.HookOutput, 0, jump("c", inTurn)), userChain("c", queue(1))), tracked, true), 1)
	if q.Fanout != FanoutMap {
		t.Errorf("fan-out %s, want %s: each packet of a flow may come to another queue", q.Fanout, FanoutMap)
	}
}

// BenchmarkLongChain is the worst case: every other rule calls the chain that
// queues, and what is known on all those ways has to be compared.
func BenchmarkLongChain(b *testing.B) {
	for _, n := range []int{1000, 10000} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			var rules []rule
			for i := range n {
				rules = append(rules, jump("c", condition{text: fmt.Sprint("dport ", i)}), accept(condition{text: fmt.Sprint("sport ", i)}))
			}
			chains := model(baseChain(vocabulary.HookOutput, 0, rules...), userChain("c", queue(1)))
			for b.Loop() {
				analyse(chains, tracked, true)
			}
		})
	}
}

// BenchmarkServices is what kube-proxy writes for each service: a rule that calls a
// chain of its own, which calls one for each of its backends, which rewrites.
func BenchmarkServices(b *testing.B) {
	for _, n := range []int{1000, 10000} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			services := userChain("services")
			chains := []*chain{baseChain(vocabulary.HookPrerouting, -100, jump("services")), services, baseChain(vocabulary.HookForward, 0, queue(1, udp))}
			for i := range n {
				service, backend := fmt.Sprint("service-", i), fmt.Sprint("backend-", i)
				services.rules = append(services.rules, jump(service, udp, condition{text: fmt.Sprint("ip daddr ", i)}, dns))
				chains = append(chains, userChain(service, jump(backend, limited), jump(backend)), userChain(backend, dnat()))
			}
			chains = model(chains...)
			for b.Loop() {
				analyse(chains, tracked, true)
			}
		})
	}
}

package liverules

import (
	"fmt"
	"slices"
	"testing"

	"verdictd/internal/vocabulary"
)

// order renders an order: the last, and what is behind.
func orderText(o Order) (last, followed []string) {
	for _, s := range o.Last {
		last = append(last, fmt.Sprintf("%d@%s", s.Rule.First, s.Reach.Hook))
	}
	for _, b := range o.Followed {
		for _, n := range b.Next {
			followed = append(followed, fmt.Sprintf("%d@%s<%d@%s foreign=%s", b.Ours.Rule.First, b.Ours.Reach.Hook, n.Rule.First, n.Reach.Hook, n.Foreign))
		}
	}
	slices.Sort(last)
	slices.Sort(followed)
	return last, followed
}

// Queues 1 and 2 are ours in these tests, 9 is foreign.
func TestBehindOurs(t *testing.T) {
	computed := rule{queue: &QueueStatement{Statement: "queue", First: 0, Computed: true}, outcomes: absorbed}
	partly := rule{queue: &QueueStatement{Statement: "queue", First: 2, Last: 4}, outcomes: absorbed}
	tests := []struct {
		name     string
		chains   []*chain
		last     []string
		followed []string
	}{
		{"one", model(baseChain(vocabulary.HookOutput, 0, queue(1))), []string{"1@output"}, nil},
		{"output and postrouting", model(baseChain(vocabulary.HookOutput, 0, queue(1)), baseChain(vocabulary.HookPostrouting, 0, queue(2))),
			[]string{"2@postrouting"}, []string{"1@output<2@postrouting foreign=no"}},
		{"input and postrouting never meet", model(baseChain(vocabulary.HookInput, 0, queue(1)), baseChain(vocabulary.HookPostrouting, 0, queue(2))),
			[]string{"1@input", "2@postrouting"}, nil},
		{"prerouting is last on the path to input only", model(baseChain(vocabulary.HookPrerouting, 0, queue(1)), baseChain(vocabulary.HookForward, 0, queue(2))),
			[]string{"1@prerouting", "2@forward"}, []string{"1@prerouting<2@forward foreign=no"}},
		{"a foreign one behind", model(baseChain(vocabulary.HookForward, 0, queue(1)), ofTable("u", baseChain(vocabulary.HookPostrouting, 0, queue(9)))),
			[]string{"1@forward"}, []string{"1@forward<9@postrouting foreign=yes"}},
		{"a foreign one before", model(baseChain(vocabulary.HookPostrouting, 0, queue(1)), ofTable("u", baseChain(vocabulary.HookForward, 0, queue(9)))),
			[]string{"1@postrouting"}, nil},
		{"by priority", model(baseChain(vocabulary.HookOutput, 0, queue(1)), ofTable("u", baseChain(vocabulary.HookOutput, 1, queue(9)))),
			[]string{"1@output"}, []string{"1@output<9@output foreign=yes"}},
		{"the same priority", model(baseChain(vocabulary.HookOutput, 0, queue(1)), ofTable("u", baseChain(vocabulary.HookOutput, 0, queue(9)))),
			[]string{"1@output"}, []string{"1@output<9@output foreign=yes"}},
		{"the same base chain", model(baseChain(vocabulary.HookOutput, 0, queue(1, udp), queue(9))), []string{"1@output"}, nil},
		{"other families", model(in(IPv4, baseChain(vocabulary.HookOutput, 0, queue(1))), in(IPv6, baseChain(vocabulary.HookPostrouting, 0, queue(9)))), []string{"1@output"}, nil},
		{"other families by match", model(baseChain(vocabulary.HookOutput, 0, queue(1, onlyIPv4)), in(IPv6, baseChain(vocabulary.HookPostrouting, 0, queue(9)))), []string{"1@output"}, nil},
		{"behind, but before the lookup", model(baseChain(vocabulary.HookOutput, -300, queue(1)), baseChain(vocabulary.HookPostrouting, 0, queue(9))), nil, nil},
		{"a computed number", model(baseChain(vocabulary.HookOutput, 0, queue(1)), baseChain(vocabulary.HookPostrouting, 0, computed)),
			[]string{"0@postrouting"}, []string{"1@output<0@postrouting foreign=unknown"}},
		{"partly ours", model(baseChain(vocabulary.HookOutput, 0, queue(1)), baseChain(vocabulary.HookPostrouting, 0, partly)),
			[]string{"2@postrouting"}, []string{"1@output<2@postrouting foreign=unknown"}},
		{"unreachable", model(baseChain(vocabulary.HookOutput, 0, queue(1)), userChain("c", queue(9))), []string{"1@output"}, nil},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			o := analyse(test.chains, tracked, true).BehindOurs([]uint16{1, 2})
			last, followed := orderText(o)
			if !slices.Equal(last, test.last) || !slices.Equal(followed, test.followed) {
				t.Errorf("last %q, followed %q; want %q and %q", last, followed, test.last, test.followed)
			}
		})
	}
}

func TestRewritesBefore(t *testing.T) {
	tests := []struct {
		name   string
		chains []*chain
		want   bool
	}{
		{"none", model(baseChain(vocabulary.HookOutput, 0, queue(1))), false},
		{"prerouting, then forward", model(baseChain(vocabulary.HookPrerouting, -100, dnat()), baseChain(vocabulary.HookForward, -150, queue(1))), true},
		{"prerouting, then postrouting", model(baseChain(vocabulary.HookPrerouting, -100, dnat()), baseChain(vocabulary.HookPostrouting, -150, queue(1))), true},
		{"prerouting, before NAT", model(baseChain(vocabulary.HookPrerouting, -100, dnat()), ofTable("u", baseChain(vocabulary.HookPrerouting, -150, queue(1)))), false},
		{"prerouting, after NAT", model(baseChain(vocabulary.HookPrerouting, -100, dnat()), ofTable("u", baseChain(vocabulary.HookPrerouting, -50, queue(1)))), true},
		// NAT's hook runs at -100, whatever the priority of the chain with the rule.
		{"a late chain", model(baseChain(vocabulary.HookPrerouting, 50, dnat()), ofTable("u", baseChain(vocabulary.HookPrerouting, -50, queue(1)))), true},
		{"prerouting, output", model(baseChain(vocabulary.HookPrerouting, -100, dnat()), baseChain(vocabulary.HookOutput, 0, queue(1))), false},
		{"output, before NAT", model(baseChain(vocabulary.HookOutput, -100, dnat()), ofTable("u", baseChain(vocabulary.HookOutput, -150, queue(1)))), false},
		{"output, then postrouting", model(baseChain(vocabulary.HookOutput, -100, dnat()), baseChain(vocabulary.HookPostrouting, -150, queue(1))), true},
		{"output, then input", model(baseChain(vocabulary.HookOutput, -100, dnat()), baseChain(vocabulary.HookInput, 0, queue(1))), false},
		{"another family", model(in(IPv6, baseChain(vocabulary.HookPrerouting, -100, dnat())), in(IPv4, baseChain(vocabulary.HookForward, 0, queue(1)))), false},
		{"unreachable", model(userChain("c", dnat()), baseChain(vocabulary.HookForward, 0, queue(1))), false},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			r := analyse(test.chains, tracked, true)
			q := queueOf(t, r, 1)
			if got := r.RewritesBefore(Site{q, q.Reaches[0]}); len(got) > 0 != test.want {
				t.Errorf("rewrites before: %v, want any: %v", got, test.want)
			}
		})
	}
}

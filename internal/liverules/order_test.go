package liverules

import (
	"fmt"
	"slices"
	"testing"
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
	computed := rule{queue: &Queue{Statement: "queue", First: 0, Computed: true}, outcomes: absorbed}
	partly := rule{queue: &Queue{Statement: "queue", First: 2, Last: 4}, outcomes: absorbed}
	tests := []struct {
		name     string
		chains   []*chain
		last     []string
		followed []string
	}{
		{"one", model(baseChain(Output, 0, queue(1))), []string{"1@output"}, nil},
		{"output and postrouting", model(baseChain(Output, 0, queue(1)), baseChain(Postrouting, 0, queue(2))),
			[]string{"2@postrouting"}, []string{"1@output<2@postrouting foreign=no"}},
		{"input and postrouting never meet", model(baseChain(Input, 0, queue(1)), baseChain(Postrouting, 0, queue(2))),
			[]string{"1@input", "2@postrouting"}, nil},
		{"prerouting is last on the path to input only", model(baseChain(Prerouting, 0, queue(1)), baseChain(Forward, 0, queue(2))),
			[]string{"1@prerouting", "2@forward"}, []string{"1@prerouting<2@forward foreign=no"}},
		{"a foreign one behind", model(baseChain(Forward, 0, queue(1)), ofTable("u", baseChain(Postrouting, 0, queue(9)))),
			[]string{"1@forward"}, []string{"1@forward<9@postrouting foreign=yes"}},
		{"a foreign one before", model(baseChain(Postrouting, 0, queue(1)), ofTable("u", baseChain(Forward, 0, queue(9)))),
			[]string{"1@postrouting"}, nil},
		{"by priority", model(baseChain(Output, 0, queue(1)), ofTable("u", baseChain(Output, 1, queue(9)))),
			[]string{"1@output"}, []string{"1@output<9@output foreign=yes"}},
		{"the same priority", model(baseChain(Output, 0, queue(1)), ofTable("u", baseChain(Output, 0, queue(9)))),
			[]string{"1@output"}, []string{"1@output<9@output foreign=yes"}},
		{"the same base chain", model(baseChain(Output, 0, queue(1, udp), queue(9))), []string{"1@output"}, nil},
		{"other families", model(in(IPv4, baseChain(Output, 0, queue(1))), in(IPv6, baseChain(Postrouting, 0, queue(9)))), []string{"1@output"}, nil},
		{"other families by match", model(baseChain(Output, 0, queue(1, onlyIPv4)), in(IPv6, baseChain(Postrouting, 0, queue(9)))), []string{"1@output"}, nil},
		{"behind, but before the lookup", model(baseChain(Output, -300, queue(1)), baseChain(Postrouting, 0, queue(9))), nil, nil},
		{"a computed number", model(baseChain(Output, 0, queue(1)), baseChain(Postrouting, 0, computed)),
			[]string{"0@postrouting"}, []string{"1@output<0@postrouting foreign=unknown"}},
		{"partly ours", model(baseChain(Output, 0, queue(1)), baseChain(Postrouting, 0, partly)),
			[]string{"2@postrouting"}, []string{"1@output<2@postrouting foreign=unknown"}},
		{"unreachable", model(baseChain(Output, 0, queue(1)), userChain("c", queue(9))), []string{"1@output"}, nil},
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
		{"none", model(baseChain(Output, 0, queue(1))), false},
		{"prerouting, then forward", model(baseChain(Prerouting, -100, dnat()), baseChain(Forward, -150, queue(1))), true},
		{"prerouting, then postrouting", model(baseChain(Prerouting, -100, dnat()), baseChain(Postrouting, -150, queue(1))), true},
		{"prerouting, before NAT", model(baseChain(Prerouting, -100, dnat()), ofTable("u", baseChain(Prerouting, -150, queue(1)))), false},
		{"prerouting, after NAT", model(baseChain(Prerouting, -100, dnat()), ofTable("u", baseChain(Prerouting, -50, queue(1)))), true},
		// NAT's hook runs at -100, whatever the priority of the chain with the rule.
		{"a late chain", model(baseChain(Prerouting, 50, dnat()), ofTable("u", baseChain(Prerouting, -50, queue(1)))), true},
		{"prerouting, output", model(baseChain(Prerouting, -100, dnat()), baseChain(Output, 0, queue(1))), false},
		{"output, before NAT", model(baseChain(Output, -100, dnat()), ofTable("u", baseChain(Output, -150, queue(1)))), false},
		{"output, then postrouting", model(baseChain(Output, -100, dnat()), baseChain(Postrouting, -150, queue(1))), true},
		{"output, then input", model(baseChain(Output, -100, dnat()), baseChain(Input, 0, queue(1))), false},
		{"another family", model(in(IPv6, baseChain(Prerouting, -100, dnat())), in(IPv4, baseChain(Forward, 0, queue(1)))), false},
		{"unreachable", model(userChain("c", dnat()), baseChain(Forward, 0, queue(1))), false},
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

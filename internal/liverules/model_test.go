package liverules

import (
	"slices"
	"testing"

	"golang.org/x/sys/unix"

	"verdictd/internal/vocabulary"
)

// A model in a test is chains of one nftables table of family inet, unless they
// say otherwise.
func model(chains ...*chain) []*chain {
	for _, c := range chains {
		if c.source == "" {
			c.source = NFTables
		}
		if c.family == "" {
			c.family = Inet
		}
		if c.table == "" {
			c.table = "t"
		}
		for i := range c.rules {
			c.rules[i].number = i + 1
		}
	}
	return chains
}

func baseChain(h vocabulary.Hook, priority int, rules ...rule) *chain {
	return &chain{name: "base-" + string(h), base: &base{h, priority}, rules: rules}
}

func userChain(name string, rules ...rule) *chain { return &chain{name: name, rules: rules} }

func in(f Family, c *chain) *chain { c.family = f; return c }

func ofTable(table string, c *chain) *chain { c.table = table; return c }

func queue(first uint16, conditions ...condition) rule {
	q := newQueue("queue", first, 1, false, false)
	return rule{queue: &q, conditions: conditions, outcomes: absorbed}
}

func accept(conditions ...condition) rule { return rule{conditions: conditions, outcomes: absorbed} }
func perhaps(conditions ...condition) rule {
	return rule{conditions: conditions, outcomes: absorbed | goesOn}
}
func leave(conditions ...condition) rule { return rule{conditions: conditions, outcomes: comesBack} }
func notrack(conditions ...condition) rule {
	return rule{notrack: true, conditions: conditions, outcomes: goesOn}
}
func jump(to string, conditions ...condition) rule {
	return rule{calls: []string{to}, conditions: conditions, outcomes: goesOn}
}
func gotoChain(to string, conditions ...condition) rule {
	return rule{calls: []string{to}, conditions: conditions, outcomes: handsOver}
}
func dnat() rule { return rule{rewrite: "dnat", outcomes: absorbed, tracks: true} }

// Conditions.
var (
	udp      = condition{text: "meta l4proto udp", stable: true, limits: ofProtocols(byteSetOf(unix.IPPROTO_UDP))}
	tcp      = condition{text: "meta l4proto tcp", stable: true, limits: ofProtocols(byteSetOf(unix.IPPROTO_TCP))}
	dns      = condition{text: "th dport 53", stable: true}
	inSet    = condition{text: "th dport @ports", stable: true, local: true}
	limited  = condition{text: "[limit]"}
	onlyIPv4 = condition{text: "meta nfproto ipv4", stable: true, family: IPv4}
	settled  = condition{text: "ct status confirmed", confirmed: true}
	answered = condition{text: "ct state established", established: true}
	marked   = condition{text: "marked"}
	inTurn   = condition{text: "numgen mod 2 vmap @m", spread: true}
)

// tracked are surroundings in which conntrack is active for everything but
// bridges.
var tracked = surroundings{loaded: Yes, ipvs: true, bridgeCalls: No}

// queueOf finds the rule with a queue.
func queueOf(t *testing.T, r *Rules, first uint16) QueueRule {
	t.Helper()
	i := slices.IndexFunc(r.Queues, func(q QueueRule) bool { return q.First == first })
	if i < 0 {
		t.Fatalf("no rule for queue %d in %v", first, r.Queues)
	}
	return r.Queues[i]
}

// hooks are those of the reaches, in no order.
func hooks(q QueueRule) []vocabulary.Hook {
	var list []vocabulary.Hook
	for _, r := range q.Reaches {
		list = append(list, r.Hook)
	}
	slices.Sort(list)
	return list
}

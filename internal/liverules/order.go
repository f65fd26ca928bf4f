package liverules

import (
	"slices"

	"verdictd/internal/vocabulary"
)

// Site is a queue rule as one kind of packets meets it.
type Site struct {
	Rule  QueueRule `json:"rule"`
	Reach Reach     `json:"reach"`
}

// Behind is what the packets of a queue of ours meet between it and confirm.
// Such a packet is not confirmed when the verdict of ours has returned.
type Behind struct {
	Ours Site `json:"ours"`
	// Path is the hooks that the packets run through.
	Path []vocabulary.Hook `json:"path"`
	// Next are the queue rules behind it, in no order.
	Next []Next `json:"next"`
}

// Next is a queue rule behind another one.
type Next struct {
	Site
	// Foreign: the queue is none of ours; unknown where its number is computed,
	// or where only some of its queues are ours.
	Foreign Answer `json:"foreign"`
}

// Order is how the queue rules of one program lie on the ways of packets.
type Order struct {
	// Last are the rules of ours, between conntrack's lookup and its confirm,
	// behind which there is no other queue rule of ours on some path.
	Last []Site `json:"last"`
	// Followed are those with any queue rule behind them, once for each path.
	Followed []Behind `json:"followed"`
}

// BehindOurs finds the order of queue rules on all paths of packets to confirm,
// for a program that serves these queues. Only rules between conntrack's lookup
// and confirm count. In one hook those of the same priority are taken to be
// behind each other, and those of one base chain never are: a packet that comes
// back from a queue goes on with the next base chain.
func (r *Rules) BehindOurs(queues []uint16) Order {
	order := Order{Last: []Site{}, Followed: []Behind{}}
	sites := r.sites()
	foreign := make([]Answer, len(sites))
	for i, s := range sites {
		foreign[i] = s.Rule.foreign(queues)
	}
	for _, path := range paths {
		for i, ours := range sites {
			if foreign[i] == Yes || !slices.Contains(path, ours.Reach.Hook) {
				continue
			}
			b := Behind{Ours: ours, Path: path}
			last := true
			for j, next := range sites {
				if behind(path, ours, next) {
					last = last && foreign[j] == Yes
					b.Next = append(b.Next, Next{next, foreign[j]})
				}
			}
			if len(b.Next) > 0 {
				order.Followed = append(order.Followed, b)
			}
			if last && !slices.ContainsFunc(order.Last, func(s Site) bool { return same(s, ours) }) {
				order.Last = append(order.Last, ours)
			}
		}
	}
	return order
}

func same(a, b Site) bool {
	return a.Rule.Place == b.Rule.Place && a.Reach.Hook == b.Reach.Hook && a.Reach.Chains[0] == b.Reach.Chains[0]
}

// sites are the reaches at which packets may carry unconfirmed entries.
func (r *Rules) sites() []Site {
	var sites []Site
	for _, q := range r.Queues {
		for _, reach := range q.Reaches {
			if reach.Position == BetweenLookupAndConfirm || reach.Position == Undecided {
				sites = append(sites, Site{q, reach})
			}
		}
	}
	return sites
}

// foreign says whether the rule's queues are others than these.
func (q QueueStatement) foreign(queues []uint16) Answer {
	if q.Computed {
		return Unknown
	}
	ours := map[uint16]bool{}
	for _, n := range queues {
		if q.First <= n && n <= q.Last {
			ours[n] = true
		}
	}
	switch len(ours) {
	case 0:
		return Yes
	case int(q.Last) - int(q.First) + 1:
		return No
	}
	return Unknown
}

// behind reports whether a packet on the path can come from a's queue to b's.
func behind(path []vocabulary.Hook, a, b Site) bool {
	if a.Reach.families()&b.Reach.families() == 0 {
		return false
	}
	from, to := slices.Index(path, a.Reach.Hook), slices.Index(path, b.Reach.Hook)
	switch {
	case from < 0 || to < from:
		return false
	case to > from:
		return true
	}
	return b.Reach.Priority >= a.Reach.Priority && !sameBase(a, b)
}

func sameBase(a, b Site) bool {
	p, q := a.Rule.Place, b.Rule.Place
	return p.Source == q.Source && p.Family == q.Family && p.Table == q.Table && a.Reach.Chains[0] == b.Reach.Chains[0]
}

// RewritesBefore are the rules that may have given packets another destination
// before a queue rule is met: the gate, which is before NAT, sees them with the one
// they were sent to.
func (r *Rules) RewritesBefore(s Site) []Rewrite {
	var found []Rewrite
	for _, w := range r.Rewrites {
		if slices.ContainsFunc(w.Ways, func(way Way) bool { return way.rewritesBefore(s.Reach.Way) }) {
			found = append(found, w)
		}
	}
	return found
}

// SourceNATBefore are the rules that may have given packets another source before a
// queue rule is met.
func (r *Rules) SourceNATBefore(s Site) []Rewrite {
	var found []Rewrite
	for _, w := range r.SourceNAT {
		if slices.ContainsFunc(w.Ways, func(way Way) bool {
			return way.Hook == s.Reach.Hook && way.families()&s.Reach.families() != 0 && min(way.Priority, natSourcePriority) <= s.Reach.Priority
		}) {
			found = append(found, w)
		}
	}
	return found
}

func (w Way) rewritesBefore(q Way) bool {
	if w.families()&q.families() == 0 {
		return false
	}
	for _, path := range paths {
		at, queue := slices.Index(path, w.Hook), slices.Index(path, q.Hook)
		if at < 0 || queue < at {
			continue
		}
		// Since 4.18 NAT takes place at its own priority, whatever that of the
		// chains with its rules (9971a514ed26).
		if queue > at || min(w.Priority, dnatPriority) <= q.Priority {
			return true
		}
	}
	return false
}

package policy

import (
	"slices"

	"verdictd/daemon/internal/policy/bytematch"
)

// condition is one key of a match.
type condition struct {
	key   string // as in the configuration
	holds func(d *Decider) Value
	// has is what the packet has there, for people.
	has func(d *Decider) string
	// entry appends what has matched of lists and sets, for limits.
	entry func(d *Decider, dst []byte) []byte
	// parts are the matches of not, any and all.
	parts []*match

	// enter puts the condition of a rule into a dimension of the index. rest is what is left
	// to be asked then; nil: nothing.
	enter     func(c *chunk, rule int)
	dimension dimension
	rest      *condition
}

// match is compiled from a Match.
type match struct{ conditions []condition }

func (m *match) holds(d *Decider) Value {
	least := Yes
	for i := range m.conditions {
		if least = min(least, m.conditions[i].holds(d)); least == No {
			break
		}
	}
	return least
}

// flat are the conditions with those of the groups that all have to match.
func (m *match) flat() (list []condition) {
	for _, c := range m.conditions {
		if c.key != keyAll {
			list = append(list, c)
			continue
		}
		for _, part := range c.parts {
			list = append(list, part.flat()...)
		}
	}
	return list
}

// entries appends what of lists and sets has matched.
func (m *match) entries(d *Decider, dst []byte) []byte {
	for i := range m.conditions {
		c := &m.conditions[i]
		switch {
		case c.entry != nil:
			dst = c.entry(d, append(dst, byte(i)))
		case c.key == keyAll || c.key == keyAny:
			for j, part := range c.parts {
				if part.holds(d) == Yes {
					dst = part.entries(d, append(dst, byte(i), byte(j)))
				}
			}
		}
	}
	return dst
}

const (
	keyNot = "not"
	keyAny = "any"
	keyAll = "all"
)

// compiler makes matches.
type compiler struct {
	needs       Needs
	sets        []string // names, by number
	numbers     map[any]int
	slots       map[slot]int // of answers that are remembered while a packet is decided on
	patterns    []string     // of interfaces
	clocks      int
	regexpBytes int
	regexps     []*bytematch.Regexp
}

// slot is a question about a packet.
type slot struct {
	set   any
	field string
}

// use is a set in a condition. Its answer is remembered while a packet is decided on, since
// many rules may ask the same.
type use struct {
	set, slot int
	contains  func(d *Decider) bool
}

func (c *compiler) use(set any, name, field string, contains func(d *Decider) bool) use {
	number, ok := c.numbers[set]
	if !ok {
		number = len(c.sets)
		c.numbers[set] = number
		c.sets = append(c.sets, name)
	}
	at, ok := c.slots[slot{set, field}]
	if !ok {
		at = len(c.slots)
		c.slots[slot{set, field}] = at
	}
	return use{number, at, contains}
}

type remembered struct {
	packet uint64
	found  bool
}

func (u *use) holds(d *Decider) bool {
	r := &d.remembered[u.slot]
	if r.packet != d.packet {
		r.packet, r.found = d.packet, u.contains(d)
	}
	if r.found {
		d.found = append(d.found, u.set)
	}
	return r.found
}

// match compiles a match. Conditions that cost less come first.
func (c *compiler) match(m *Match) (*match, error) {
	out := new(match)
	add := func(list ...condition) { out.conditions = append(out.conditions, list...) }
	add(c.header(m)...)
	add(c.about(m)...)
	add(c.places(m)...)
	add(c.clock(m)...)
	named, err := c.named(m)
	if err != nil {
		return nil, err
	}
	add(named...)
	groups, err := c.groups(m)
	if err != nil {
		return nil, err
	}
	add(groups...)
	payload, err := c.payload(m)
	add(payload...)
	return out, err
}

// groups are not, any and all.
func (c *compiler) groups(m *Match) (list []condition, err error) {
	if m.Not != nil {
		part, err := c.match(m.Not)
		if err != nil {
			return nil, err
		}
		list = append(list, condition{key: keyNot, parts: []*match{part}, holds: func(d *Decider) Value { return part.holds(d).not() }})
	}
	parts := func(matches []Match) (parts []*match) {
		for i := range matches {
			part, problem := c.match(&matches[i])
			if problem != nil {
				err = problem
			}
			parts = append(parts, part)
		}
		return parts
	}
	if all := parts(m.All); all != nil {
		list = append(list, condition{key: keyAll, parts: all, holds: func(d *Decider) Value {
			least := Yes
			for i := 0; i < len(all) && least != No; i++ {
				least = min(least, all[i].holds(d))
			}
			return least
		}})
	}
	if one := parts(m.Any); one != nil {
		list = append(list, condition{key: keyAny, parts: one, holds: func(d *Decider) Value {
			most := No
			for i := 0; i < len(one) && most != Yes; i++ {
				most = max(most, one[i].holds(d))
			}
			return most
		}})
	}
	return list, err
}

// pattern is the number of a pattern for interfaces.
func (c *compiler) pattern(text string) int {
	c.needs.Devices = true
	if i := slices.Index(c.patterns, text); i >= 0 {
		return i
	}
	c.patterns = append(c.patterns, text)
	return len(c.patterns) - 1
}

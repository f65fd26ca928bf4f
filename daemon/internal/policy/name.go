package policy

import (
	"fmt"
	"slices"
	"time"

	"verdictd/daemon/internal/names"
	"verdictd/daemon/internal/names/flows"
	"verdictd/daemon/internal/sets"
)

// named are the conditions on names.
func (c *compiler) named(m *Match) (list []condition, err error) {
	add := func(key string, protocol flows.Protocol, n *Names, also func(r *flows.Result) bool) {
		out, problem := c.name(key, protocol, n, also)
		if problem != nil {
			err = problem
		}
		list = append(list, out)
	}
	if len(m.NameStates) > 0 {
		list = append(list, condition{key: "name", has: hasName, holds: func(d *Decider) Value {
			if d.in.Name.State == names.More {
				return Pending
			}
			return valueOf(slices.Contains(m.NameStates, d.in.Name.State))
		}})
	}
	if len(m.Names.List)+len(m.Names.Sets) > 0 {
		add("names", flows.Unknown, &m.Names, nil)
	}
	if m.DNS != nil {
		types := m.DNS.Types
		add("dns", flows.DNS, &m.DNS.Names, func(r *flows.Result) bool {
			return r.State == names.Known && (len(types) == 0 || slices.Contains(types, r.Question.Type))
		})
	}
	for i, h := range []*HelloMatch{m.TLS, m.QUIC, m.HTTP} {
		if h == nil {
			continue
		}
		protocol := []flows.Protocol{flows.TLS, flows.QUIC, flows.HTTP}[i]
		add([]string{"tls", "quic", "http"}[i], protocol, &h.Names, func(r *flows.Result) bool { return offers(r.ALPN, h.ALPN) })
	}
	c.needs.Names = c.needs.Names || len(list) > 0
	return list, err
}

// name is a condition on a name, of a protocol unless that is unknown. also is asked where
// there is a result.
func (c *compiler) name(key string, protocol flows.Protocol, n *Names, also func(r *flows.Result) bool) (condition, error) {
	list, err := c.nameList(n)
	if err != nil {
		return condition{}, fmt.Errorf("%s: %w", key, err)
	}
	beside := func(d *Decider) Value {
		r := &d.in.Name
		switch {
		case protocol != flows.Unknown && r.Protocol != protocol && !mayBecome(r, protocol):
			return No
		case r.State == names.More:
			return Pending
		}
		return valueOf(also == nil || also(r))
	}
	out := condition{key: key, has: hasName, holds: beside}
	if list == nil {
		return out, nil
	}
	out.holds = func(d *Decider) Value {
		v := beside(d)
		if v == Yes {
			return valueOf(isSeen(&d.in.Name) && list.holds(d))
		}
		return v
	}
	out.entry = func(d *Decider, dst []byte) []byte {
		entry := list.entry(d.in.Name.Name)
		return append(append(dst, byte(len(entry))), entry...)
	}
	if len(n.Sets) == 0 {
		out.dimension = byName
		out.enter = func(c *chunk, rule int) { c.names(rule, n.List) }
		out.rest = &condition{key: key, has: hasName, holds: beside}
	}
	return out, nil
}

// isSeen reports whether there is a name to look for: the true one, or the outer one of an
// encrypted hello. Browsers say in each hello that it is encrypted, with bytes that mean
// nothing (GREASE), so that the outer name is the true one as a rule. Who cannot have that
// asks for the state.
func isSeen(r *flows.Result) bool {
	return r.State == names.Known || r.State == names.Hidden && len(r.Name) > 0
}

// mayBecome reports whether what is known of a flow may turn out to be of a protocol. DNS
// is known by its ports and QUIC by its first packet, so that only TLS and HTTP are still
// to come where nothing is known.
func mayBecome(r *flows.Result, protocol flows.Protocol) bool {
	return r.Protocol == flows.Unknown && r.State == names.More && (protocol == flows.TLS || protocol == flows.HTTP)
}

// nameList is a list of names and sets.
type nameList struct {
	inline *sets.Names
	sets   []*Set[sets.Names]
	uses   []use
}

// nameList compiles names; nil: there are none.
func (c *compiler) nameList(n *Names) (*nameList, error) {
	if len(n.List)+len(n.Sets) == 0 {
		return nil, nil
	}
	builder := sets.NewNames()
	for _, entry := range n.List {
		if err := builder.Add([]byte(entry)); err != nil {
			return nil, fmt.Errorf("%q %w", entry, err)
		}
	}
	list := &nameList{inline: builder.Build(time.Time{}), sets: n.Sets}
	for _, set := range n.Sets {
		list.uses = append(list.uses, c.use(set, set.Name, "name", func(d *Decider) bool {
			current := set.Load()
			if current == nil {
				return false
			}
			_, ok := current.Find(d.in.Name.Name)
			return ok
		}))
	}
	return list, nil
}

func (l *nameList) holds(d *Decider) bool {
	_, ok := l.inline.Find(d.in.Name.Name)
	return ok || d.inSets(l.uses)
}

// entry is what has the name.
func (l *nameList) entry(name []byte) []byte {
	entry, ok := l.inline.Find(name)
	for i := 0; i < len(l.sets) && !ok; i++ {
		if current := l.sets[i].Load(); current != nil {
			entry, ok = current.Find(name)
		}
	}
	return entry
}

// offers reports whether a list of protocols as in ALPN has one of those.
func offers(list []byte, wanted []string) bool {
	if len(wanted) == 0 {
		return true
	}
	for len(list) > 0 && len(list) > int(list[0]) {
		n := 1 + int(list[0])
		if slices.ContainsFunc(wanted, func(w string) bool { return string(list[1:n]) == w }) {
			return true
		}
		list = list[n:]
	}
	return false
}

func hasName(d *Decider) string {
	r := &d.in.Name
	text := r.State.String()
	if p := [...]string{flows.DNS: "dns", flows.TLS: "tls", flows.QUIC: "quic", flows.HTTP: "http"}[r.Protocol]; p != "" {
		text = p + " " + text
	}
	if len(r.Name) > 0 {
		text += " " + string(r.Name)
	}
	return text
}

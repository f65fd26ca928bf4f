package policy

import (
	"fmt"
	"io"
	"net/netip"
	"regexp"
	"slices"
	"strings"
	"time"

	"verdictd/daemon/internal/names"
	"verdictd/daemon/internal/names/flows"
	"verdictd/internal/vocabulary"
)

// reference is the definition of what a policy does: rule by rule and entry by entry.
type reference struct {
	cfg     *Config
	devices map[uint32]string
	// What the sets have, by their addresses.
	prefixes map[any][]netip.Prefix
	ports    map[any][]vocabulary.PortRange
	names    map[any][]string
	pairs    map[any][]netip.AddrPort
	// used are the tokens that are missing, in thousandths, by rule and key, and when.
	used map[string]int64
	at   map[string]int64
}

func (r *reference) decide(in *Input) (v Verdict) {
	for i := range r.cfg.Rules {
		rule := &r.cfg.Rules[i]
		value := r.match(&rule.Match, in)
		counts := rule.Action == vocabulary.Count
		if value == No || value == Pending && counts {
			continue
		}
		if value == Pending {
			v.Action, v.Rule, v.Pending, v.Hold = vocabulary.Accept, i, true, rule.Hold
			return v
		}
		if !r.take(i, rule, in) {
			continue
		}
		v.Mark, v.ConnMark = set(v.Mark, rule.Mark), set(v.ConnMark, rule.ConnMark)
		if counts {
			v.Counted = append(v.Counted, int32(i))
			continue
		}
		v.Action, v.Rule, v.Queue, v.Flow = rule.Action, i, rule.Queue, rule.Flow && !r.oneMessage(in, i)
		return v
	}
	v.Action, v.Rule, v.Flow = r.cfg.Default, len(r.cfg.Rules), r.cfg.Flow && !r.oneMessage(in, len(r.cfg.Rules)-1)
	if action, ok := r.cfg.Defaults[in.Hook]; ok {
		v.Action = action
	}
	return v
}

// oneMessage tells that a rule up to the last one looks at names, in a message of DNS.
func (r *reference) oneMessage(in *Input, last int) bool {
	return in.Name.Protocol == flows.DNS && slices.ContainsFunc(r.cfg.Rules[:last+1], func(rule Rule) bool { return looksAtNames(&rule.Match) })
}

func looksAtNames(m *Match) bool {
	part := func(m Match) bool { return looksAtNames(&m) }
	return m.DNS != nil || m.TLS != nil || m.QUIC != nil || m.HTTP != nil || len(m.Names.List)+len(m.Names.Sets)+len(m.NameStates) > 0 ||
		m.Not != nil && looksAtNames(m.Not) || slices.ContainsFunc(m.Any, part) || slices.ContainsFunc(m.All, part)
}

// set is the mark m with later set behind it.
func set(m, later Masked) Masked {
	for bit := range 32 {
		if b := uint32(1) << bit; later.Mask&b != 0 {
			m.Mask |= b
			m.Value = m.Value&^b | later.Value&b
		}
	}
	return m
}

// take knows rates of one packet a second, at whole milliseconds.
func (r *reference) take(i int, rule *Rule, in *Input) bool {
	l := rule.Limit
	if l.Count == 0 {
		return true
	}
	bits := func(a netip.Addr) string {
		n, def := l.IPv6, 64
		if a.Is4() {
			n, def = l.IPv4, 32
		}
		if n == 0 {
			n = def
		}
		return netip.PrefixFrom(a, n).Masked().String()
	}
	key := fmt.Sprint(i, " ")
	switch l.Per {
	case PerSource:
		key += bits(in.View.Src())
	case PerDestination:
		key += bits(in.View.Dst())
	case PerEntry:
		// The rules that have this have a list of names alone.
		key += string(in.Name.Name)
		for _, entry := range rule.Match.Names.List {
			if r.inNames(&Names{List: []string{entry}}, in) {
				key = fmt.Sprint(i, " ", entry)
			}
		}
	}
	now := in.Now / int64(time.Millisecond)
	used := max(r.used[key]-(now-r.at[key]), 0)
	r.at[key], r.used[key] = now, used
	if used+1000 > int64(l.Burst)*1000 {
		return false
	}
	r.used[key] = used + 1000
	return true
}

func (r *reference) match(m *Match, in *Input) Value {
	value := valueOf(r.header(m, in) && r.kernel(m, in) && r.place(m, in) && r.clock(m, in) && r.payload(m, in))
	and := func(v Value) { value = min(value, v) }
	name := &in.Name
	if len(m.NameStates) > 0 {
		and(r.name(in, flows.Unknown, nil, slices.Contains(m.NameStates, name.State)))
	}
	if len(m.Names.List)+len(m.Names.Sets) > 0 {
		and(r.name(in, flows.Unknown, &m.Names, true))
	}
	if m.DNS != nil {
		and(r.name(in, flows.DNS, &m.DNS.Names, name.State == names.Known && (len(m.DNS.Types) == 0 || slices.Contains(m.DNS.Types, name.Question.Type))))
	}
	for protocol, h := range map[flows.Protocol]*HelloMatch{flows.TLS: m.TLS, flows.QUIC: m.QUIC, flows.HTTP: m.HTTP} {
		if h != nil {
			offered := len(h.ALPN) == 0 || slices.ContainsFunc(h.ALPN, func(p string) bool {
				return strings.Contains(string(name.ALPN), string(rune(len(p)))+p) // the test's have no such text inside
			})
			and(r.name(in, protocol, &h.Names, offered))
		}
	}
	if m.Not != nil {
		and([]Value{Yes, Pending, No}[r.match(m.Not, in)])
	}
	for i := range m.All {
		and(r.match(&m.All[i], in))
	}
	most := No
	for i := range m.Any {
		most = max(most, r.match(&m.Any[i], in))
	}
	if len(m.Any) > 0 {
		and(most)
	}
	return value
}

func (r *reference) name(in *Input, protocol flows.Protocol, n *Names, also bool) Value {
	name := &in.Name
	if protocol != flows.Unknown && name.Protocol != protocol {
		// Ports tell DNS, and the first packet QUIC.
		if name.Protocol == flows.Unknown && name.State == names.More && protocol != flows.DNS && protocol != flows.QUIC {
			return Pending
		}
		return No
	}
	if name.State == names.More {
		return Pending
	}
	if n != nil && len(n.List)+len(n.Sets) > 0 {
		also = also && (isSeen(name)) && r.inNames(n, in)
	}
	return valueOf(also)
}

func (r *reference) inNames(n *Names, in *Input) bool {
	list := slices.Clone(n.List)
	for _, s := range n.Sets {
		list = append(list, r.names[s]...)
	}
	text := string(in.Name.Name)
	return slices.ContainsFunc(list, func(entry string) bool {
		if alone, ok := strings.CutPrefix(entry, "="); ok {
			return text == alone
		}
		if below, ok := strings.CutPrefix(entry, "*"); ok {
			return strings.HasSuffix(text, below)
		}
		return text == entry || strings.HasSuffix(text, "."+entry)
	})
}

func (r *reference) header(m *Match, in *Input) bool {
	v := in.View
	family := vocabulary.IPv4
	if v.Version == 6 {
		family = vocabulary.IPv6
	}
	part := FragmentWhole
	if v.Fragment {
		part = FragmentFirst
		if v.FragmentOffset > 0 {
			part = FragmentLater
		}
	}
	return oneOf(m.Families, family) && oneOf(m.Protocols, v.Protocol) && (m.Fragments == 0 || m.Fragments&part != 0) &&
		inRanges(m.Lengths, v.TotalLen, true) && inRanges(m.TTLs, int(v.TTL), true) && oneOf(m.DSCPs, v.TrafficClass/4)
}

func (r *reference) kernel(m *Match, in *Input) bool {
	marked := func(list []Masked, mark uint32) bool {
		return len(list) == 0 || slices.ContainsFunc(list, func(w Masked) bool { return mark&w.Mask == w.Value&w.Mask })
	}
	device := func(patterns []string, i uint32) bool {
		name := r.devices[i]
		return len(patterns) == 0 || name != "" && slices.ContainsFunc(patterns, func(p string) bool {
			return p == name || strings.HasSuffix(p, "*") && strings.HasPrefix(name, p[:len(p)-1])
		})
	}
	return oneOf(m.Hooks, in.Hook) && marked(m.Marks, in.Mark) && marked(m.ConnMarks, in.ConnMark) && inRanges(m.UIDs, int(in.UID), in.HasUID) &&
		inRanges(m.GIDs, int(in.GID), in.HasGID) && (m.Conntrack == 0 || m.Conntrack&in.CT != 0) && device(m.InterfacesIn, in.InDev) && device(m.InterfacesOut, in.OutDev)
}

func (r *reference) place(m *Match, in *Input) bool {
	v := in.View
	addr := func(a Addresses, x netip.Addr) bool {
		list := slices.Clone(a.Prefixes)
		for _, s := range a.Sets {
			list = append(list, r.prefixes[s]...)
		}
		return len(a.Prefixes)+len(a.Sets) == 0 || slices.ContainsFunc(list, func(p netip.Prefix) bool { return p.Contains(x) })
	}
	port := func(p Ports, x uint16) bool {
		list := slices.Clone(p.Ranges)
		for _, s := range p.Sets {
			list = append(list, r.ports[s]...)
		}
		return len(p.Ranges)+len(p.Sets) == 0 || v.HasPorts() && slices.ContainsFunc(list, func(r vocabulary.PortRange) bool { return r.First <= x && x <= r.Last })
	}
	pair := func(p Pairs, a netip.Addr, x uint16) bool {
		list := slices.Clone(p.List)
		for _, s := range p.Sets {
			list = append(list, r.pairs[s]...)
		}
		return len(p.List)+len(p.Sets) == 0 || v.HasPorts() && slices.Contains(list, netip.AddrPortFrom(a, x))
	}
	return addr(m.Source, v.Src()) && addr(m.Destination, v.Dst()) && port(m.SourcePorts, v.SrcPort) && port(m.DestinationPorts, v.DstPort) &&
		pair(m.SourcePairs, v.Src(), v.SrcPort) && pair(m.DestinationPairs, v.Dst(), v.DstPort)
}

// clock goes through the minutes of a week.
func (r *reference) clock(m *Match, in *Input) bool {
	return len(m.Times) == 0 || slices.ContainsFunc(m.Times, func(t TimeOfDay) bool {
		zone := t.Zone
		if zone == nil {
			zone = time.UTC
		}
		now := time.Unix(in.Unix, 0).In(zone)
		for day := range 2 {
			begin := time.Date(now.Year(), now.Month(), now.Day()-day, 0, 0, 0, 0, zone)
			from, to := begin.Add(t.From), begin.Add(t.To)
			if t.To <= t.From {
				to = to.AddDate(0, 0, 1)
			}
			if (t.Days == [7]bool{} || t.Days[begin.Weekday()]) && !now.Before(from) && now.Before(to) {
				return true
			}
		}
		return false
	})
}

func (r *reference) payload(m *Match, in *Input) bool {
	b := in.View.Payload()
	for _, p := range m.Payload {
		for i := range p.Bytes {
			mask := byte(0xff)
			if p.Mask != nil {
				mask = p.Mask[i]
			}
			if p.Offset+i >= len(b) || b[p.Offset+i]&mask != p.Bytes[i]&mask {
				return false
			}
		}
	}
	if m.Regexp == "" {
		return true
	}
	most := r.cfg.RegexpBytes
	if len(b) > most && strings.HasSuffix(m.Regexp, "$") { // what ends there is not the text
		return false
	}
	return b != nil && regexp.MustCompile(m.Regexp).MatchReader(&characters{b[:min(len(b), most)]})
}

// characters are bytes, for the standard library.
type characters struct{ b []byte }

func (c *characters) ReadRune() (r rune, size int, err error) {
	if len(c.b) == 0 {
		return 0, 0, io.EOF
	}
	r, c.b = rune(c.b[0]), c.b[1:]
	return r, 1, nil
}

func oneOf[T comparable](list []T, x T) bool { return len(list) == 0 || slices.Contains(list, x) }

func inRanges(list []Range, n int, has bool) bool {
	return len(list) == 0 || has && slices.ContainsFunc(list, func(r Range) bool { return int(r.First) <= n && n <= int(r.Last) })
}

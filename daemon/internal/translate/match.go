package translate

import (
	"fmt"
	"slices"
	"time"

	"verdictd/daemon/internal/names"
	"verdictd/daemon/internal/policy"
	"verdictd/daemon/internal/sets"
	"verdictd/daemon/internal/sets/live"
	"verdictd/internal/config"
	"verdictd/internal/vocabulary"
)

// match is the value of key.
func (n *named) match(key string, m *config.Match) policy.Match {
	p := policy.Match{
		Families: m.Family, Protocols: vocabulary.Numbers(m.Protocols),
		Source: n.addresses(key+".source", m.Source), Destination: n.addresses(key+".destination", m.Destination),
		SourcePorts: n.ports(key+".source_ports", m.SourcePorts), DestinationPorts: n.ports(key+".destination_ports", m.DestinationPorts),
		SourcePairs: n.pairs(key+".source_pairs", m.SourcePairs), DestinationPairs: n.pairs(key+".destination_pairs", m.DestinationPairs),
		InterfacesIn: texts(m.InterfaceIn), InterfacesOut: texts(m.InterfaceOut),
		Marks: marks(m.Mark), ConnMarks: marks(m.ConnMark),
		Lengths: ranges(m.Length), TTLs: ranges(m.TTL), UIDs: ranges(m.UID), GIDs: ranges(m.GID),
		Names: n.names(key+".names", m.Names), Regexp: m.Regexp,
	}
	for _, h := range m.Hooks {
		p.Hooks = append(p.Hooks, uint8(h.Number()))
	}
	for _, d := range m.DSCP {
		p.DSCPs = append(p.DSCPs, uint8(d))
	}
	for _, f := range m.Fragment {
		p.Fragments |= fragments[f]
	}
	for _, c := range m.Conntrack {
		p.Conntrack |= conntrack[c]
	}
	for _, s := range m.NameState {
		p.NameStates = append(p.NameStates, nameStates[s])
	}
	for _, b := range m.Payload {
		p.Payload = append(p.Payload, policy.PayloadBytes{Offset: b.Offset, Bytes: b.Bytes, Mask: mask(b.Mask)})
	}
	if m.Time != nil {
		p.Times = []policy.TimeOfDay{n.time(key+".time", m.Time)}
	}
	if d := m.DNS; d != nil {
		p.DNS = &policy.DNSMatch{Names: n.names(key+".dns.names", d.Names)}
		for _, t := range d.Types {
			p.DNS.Types = append(p.DNS.Types, uint16(t))
		}
	}
	p.TLS, p.QUIC = n.hello(key+".tls", m.TLS), n.hello(key+".quic", m.QUIC)
	if m.HTTP != nil {
		p.HTTP = &policy.HelloMatch{Names: n.names(key+".http.names", m.HTTP.Names)}
	}
	if m.Not != nil {
		not := n.match(key+".not", m.Not)
		p.Not = &not
	}
	for i := range m.Any {
		p.Any = append(p.Any, n.match(fmt.Sprintf("%s.any[%d]", key, i), &m.Any[i]))
	}
	for i := range m.All {
		p.All = append(p.All, n.match(fmt.Sprintf("%s.all[%d]", key, i), &m.All[i]))
	}
	return p
}

var (
	fragments = map[vocabulary.Fragment]policy.Fragments{
		vocabulary.FragmentWhole: policy.FragmentWhole, vocabulary.FragmentFirst: policy.FragmentFirst, vocabulary.FragmentLater: policy.FragmentLater,
	}
	conntrack = map[vocabulary.Conntrack]policy.CTState{
		vocabulary.ConntrackNew: policy.CTNew, vocabulary.ConntrackEstablished: policy.CTEstablished, vocabulary.ConntrackRelated: policy.CTRelated,
		vocabulary.ConntrackReply: policy.CTReply, vocabulary.ConntrackInvalid: policy.CTInvalid, vocabulary.ConntrackUntracked: policy.CTUntracked,
		vocabulary.ConntrackSNAT: policy.CTSNAT, vocabulary.ConntrackDNAT: policy.CTDNAT,
	}
	nameStates = map[vocabulary.NameState]names.State{
		vocabulary.NameNone: names.None, vocabulary.NameHidden: names.Hidden, vocabulary.NameTooLong: names.TooLong, vocabulary.NameKnown: names.Known,
	}
)

func (n *named) addresses(key string, list []config.Prefix) policy.Addresses {
	prefixes, names := config.Prefixes(list)
	return policy.Addresses{Prefixes: prefixes, Sets: of(n, key, names, func(s *live.Set) *policy.Set[sets.Prefixes] { return &s.Prefixes })}
}

func (n *named) ports(key string, list []config.Ports) policy.Ports {
	ports, names := config.Ranges(list)
	return policy.Ports{Ranges: ports, Sets: of(n, key, names, func(s *live.Set) *policy.Set[sets.Ports] { return &s.Ports })}
}

func (n *named) pairs(key string, list []config.Pair) policy.Pairs {
	pairs, names := config.Pairs(list)
	return policy.Pairs{List: pairs, Sets: of(n, key, names, func(s *live.Set) *policy.Set[sets.Pairs] { return &s.Pairs })}
}

func (n *named) names(key string, list []config.Name) policy.Names {
	texts, names := config.Texts(list)
	return policy.Names{List: texts, Sets: of(n, key, names, func(s *live.Set) *policy.Set[sets.Names] { return &s.Names })}
}

func (n *named) hello(key string, h *config.Hello) *policy.HelloMatch {
	if h == nil {
		return nil
	}
	return &policy.HelloMatch{Names: n.names(key+".names", h.Names), ALPN: h.ALPN}
}

func (n *named) time(key string, t *config.Time) (p policy.TimeOfDay) {
	for _, d := range t.Days {
		p.Days[slices.Index(vocabulary.Days(), d)] = true
	}
	if t.From != nil {
		p.From = time.Duration(*t.From) * time.Minute
	}
	if t.To != nil {
		p.To = time.Duration(*t.To) * time.Minute
	} else if t.From != nil {
		p.To = 24 * time.Hour
	}
	p.Zone = time.Local
	if t.Zone != "" {
		zone, err := time.LoadLocation(t.Zone)
		if err != nil {
			n.problems = append(n.problems, Problem{Key: key + ".zone", Text: fmt.Sprintf("%v: use a name as in Europe/Berlin that the machine has (/usr/share/zoneinfo)", err)})
		}
		p.Zone = zone
	}
	return p
}

func texts[T ~string](list []T) (texts []string) {
	for _, t := range list {
		texts = append(texts, string(t))
	}
	return texts
}

func marks(list []config.Mark) (marks []policy.Masked) {
	for _, m := range list {
		marks = append(marks, policy.Masked{Value: m.Value, Mask: m.Mask})
	}
	return marks
}

func ranges(list []config.Range) (ranges []policy.Range) {
	for _, r := range list {
		ranges = append(ranges, policy.Range{First: r.First, Last: r.Last})
	}
	return ranges
}

// mask is nil where all bits count.
func mask(m config.Hex) []byte {
	if len(m) == 0 {
		return nil
	}
	return m
}

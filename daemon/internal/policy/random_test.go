package policy

import (
	"math/rand/v2"
	"net/netip"
	"testing"
	"time"

	"verdictd/daemon/internal/names"
	"verdictd/daemon/internal/names/dns"
	"verdictd/daemon/internal/names/flows"
	"verdictd/daemon/internal/sets"
	"verdictd/internal/packet"
	"verdictd/internal/vocabulary"
)

// world has random policies and packets, drawn from few values so that they meet.
type world struct {
	*rand.Rand
	t   testing.TB
	ref *reference
	// The sets.
	prefixes []*Set[sets.Prefixes]
	ports    []*Set[sets.Ports]
	names    []*Set[sets.Names]
	pairs    []*Set[sets.Pairs]
}

func newWorld(t testing.TB, seed uint64) *world {
	w := &world{Rand: rand.New(rand.NewPCG(seed, 1)), t: t}
	w.ref = &reference{
		devices: map[uint32]string{1: "lo", 2: "eth0", 3: "wg0", 4: "wg1"}, prefixes: map[any][]netip.Prefix{},
		ports: map[any][]vocabulary.PortRange{}, names: map[any][]string{}, pairs: map[any][]netip.AddrPort{},
		used: map[string]int64{}, at: map[string]int64{},
	}
	for range 3 {
		w.prefixes, w.ports = append(w.prefixes, new(Set[sets.Prefixes])), append(w.ports, new(Set[sets.Ports]))
		w.names, w.pairs = append(w.names, new(Set[sets.Names])), append(w.pairs, new(Set[sets.Pairs]))
	}
	w.fill()
	return w
}

// fill gives each set something else; the last ones have nothing.
func (w *world) fill() {
	w.t.Helper()
	for i := range 2 {
		prefixes, ports, names, pairs := sets.NewPrefixes(), sets.NewPorts(), sets.NewNames(), sets.NewPairs()
		s := w.ref
		s.prefixes[w.prefixes[i]], s.ports[w.ports[i]], s.names[w.names[i]], s.pairs[w.pairs[i]] = some(w, w.prefix), some(w, w.portRange), some(w, w.nameEntry), some(w, w.pair)
		add(w.t, prefixes, s.prefixes[w.prefixes[i]], netip.Prefix.String)
		add(w.t, ports, s.ports[w.ports[i]], vocabulary.PortRange.String)
		add(w.t, names, s.names[w.names[i]], func(s string) string { return s })
		add(w.t, pairs, s.pairs[w.pairs[i]], netip.AddrPort.String)
		now := time.Time{}
		w.prefixes[i].Store(prefixes.Build(now))
		w.ports[i].Store(ports.Build(now))
		w.names[i].Store(names.Build(now))
		w.pairs[i].Store(pairs.Build(now))
	}
}

func add[T any](t testing.TB, b sets.Builder, list []T, text func(T) string) {
	t.Helper()
	for _, entry := range list {
		if err := b.Add([]byte(text(entry))); err != nil {
			t.Fatalf("%v: %v", entry, err)
		}
	}
}

// sometimes is true once in n times.
func (w *world) sometimes(n int) bool { return w.IntN(n) == 0 }

func pick[T any](w *world, list ...T) T { return list[w.IntN(len(list))] }

func some[T any](w *world, one func() T) (list []T) {
	for range 1 + w.IntN(3) {
		list = append(list, one())
	}
	return list
}

func (w *world) addr() netip.Addr {
	switch w.IntN(8) {
	case 0: // on the wire so, and no IPv4 address
		return netip.AddrFrom16([16]byte{10: 0xff, 11: 0xff, 12: 192, 13: 0, 14: 2, 15: byte(w.IntN(8))})
	case 1, 2, 3:
		return netip.AddrFrom16([16]byte{0: 0x20, 1: 0x01, 2: 0x0d, 3: 0xb8, 15: byte(w.IntN(8))})
	}
	return netip.AddrFrom4([4]byte{192, 0, 2, byte(w.IntN(8))})
}

func (w *world) prefix() netip.Prefix {
	a := w.addr()
	for a.Is4In6() { // sets refuse them
		a = w.addr()
	}
	return netip.PrefixFrom(a, max(a.BitLen()-w.IntN(6), w.IntN(a.BitLen()+1))).Masked()
}

func (w *world) port() uint16 { return uint16(w.IntN(12)) }

func (w *world) portRange() vocabulary.PortRange {
	first := w.port()
	return vocabulary.Ports(first, first+uint16(w.IntN(4)))
}

func (w *world) pair() netip.AddrPort {
	a := w.addr()
	for a.Is4In6() {
		a = w.addr()
	}
	return netip.AddrPortFrom(a, w.port())
}

func (w *world) name() string {
	return pick(w, "", "", "a.", "b.", "a.b.", "c.a.b.") + pick(w, "org", "example.org", "example.com", "com", "test")
}

func (w *world) nameEntry() string { return pick(w, "", "", "*.", "=") + w.name() }

func (w *world) small() Range {
	first := uint32(w.IntN(6))
	return Range{first, first + uint32(w.IntN(3))}
}

func (w *world) masked() Masked { return Masked{uint32(w.IntN(4)), uint32(w.IntN(4))} }

func (w *world) times() TimeOfDay {
	t := TimeOfDay{From: time.Duration(w.IntN(24*60)) * time.Minute, To: time.Duration(w.IntN(24*60)) * time.Minute}
	for day := range t.Days {
		t.Days[day] = w.sometimes(2)
	}
	if w.sometimes(2) {
		t.Zone = time.FixedZone("x", 3600*(w.IntN(24)-12))
	}
	if w.sometimes(3) {
		t.To = t.From
	}
	return t
}

func (w *world) nameList() (n Names) {
	switch w.IntN(4) {
	case 0:
		n.Sets = append(n.Sets, pick(w, w.names...))
	case 1:
		n.Sets, n.List = append(n.Sets, pick(w, w.names...)), some(w, w.nameEntry)
	default:
		n.List = some(w, w.nameEntry)
	}
	return n
}

func (w *world) hello() *HelloMatch {
	h := new(HelloMatch)
	if !w.sometimes(4) {
		h.Names = w.nameList()
	}
	if w.sometimes(4) {
		h.ALPN = some(w, func() string { return pick(w, "h2", "h3", "http/1.1") })
	}
	return h
}

// match has few keys, as with many nothing matches.
func (w *world) match(depth int) (m Match) {
	keys := []func(){
		func() { m.Families = []vocabulary.Family{pick(w, vocabulary.IPv4, vocabulary.IPv6)} },
		func() { m.Protocols = some(w, w.protocol) },
		func() { m.Source.Prefixes = some(w, w.prefix) },
		func() { m.Destination.Prefixes = some(w, w.prefix) },
		func() { m.Source.Sets = some(w, func() *Set[sets.Prefixes] { return pick(w, w.prefixes...) }) },
		func() { m.Destination.Sets = some(w, func() *Set[sets.Prefixes] { return pick(w, w.prefixes...) }) },
		func() { m.SourcePorts.Ranges = some(w, w.portRange) },
		func() { m.DestinationPorts.Ranges = some(w, w.portRange) },
		func() { m.DestinationPorts.Sets = some(w, func() *Set[sets.Ports] { return pick(w, w.ports...) }) },
		func() { m.SourcePairs.List = some(w, w.pair) },
		func() { m.DestinationPairs.Sets = some(w, func() *Set[sets.Pairs] { return pick(w, w.pairs...) }) },
		func() { m.InterfacesIn = some(w, w.pattern) },
		func() { m.InterfacesOut = some(w, w.pattern) },
		func() { m.Hooks = some(w, w.hook) },
		func() { m.Marks = some(w, w.masked) },
		func() { m.ConnMarks = some(w, w.masked) },
		func() { m.Lengths = []Range{{uint32(w.IntN(40)), uint32(20 + w.IntN(60))}} },
		func() { m.TTLs = some(w, w.small) },
		func() { m.DSCPs = some(w, func() uint8 { return uint8(w.IntN(3)) }) },
		func() { m.Fragments = Fragments(1 + w.IntN(7)) },
		func() { m.UIDs = some(w, w.small) },
		func() { m.GIDs = some(w, w.small) },
		func() { m.Conntrack = CTState(1 + w.IntN(255)) },
		func() { m.Times = some(w, w.times) },
		func() { m.DNS = &DNSMatch{Types: pick(w, nil, []uint16{1}, []uint16{1, 28})} },
		func() { m.DNS = &DNSMatch{Names: w.nameList(), Types: pick(w, nil, []uint16{1})} },
		func() { m.TLS = w.hello() },
		func() { m.QUIC = w.hello() },
		func() { m.HTTP = &HelloMatch{Names: w.nameList()} },
		func() { m.Names = w.nameList() },
		func() { m.Names = w.nameList() },
		func() { m.NameStates = some(w, func() names.State { return names.State(1 + w.IntN(4)) }) },
		func() { m.Payload = some(w, w.payloadBytes) },
		func() { m.Regexp = pick(w, "^a", "b$", `\x00`, "a.?b", "^$", `(?m)^b`) },
	}
	for range 1 + w.IntN(2) {
		pick(w, keys...)()
	}
	if depth > 0 && w.sometimes(3) {
		switch w.IntN(3) {
		case 0:
			not := w.match(depth - 1)
			m.Not = &not
		case 1:
			m.Any = some(w, func() Match { return w.match(depth - 1) })
		default:
			m.All = some(w, func() Match { return w.match(depth - 1) })
		}
	}
	return m
}

func (w *world) protocol() uint8 { return pick(w, uint8(6), 17, 17, 136, 1, 47) }
func (w *world) hook() uint8     { return uint8(w.IntN(5)) }
func (w *world) pattern() string { return pick(w, "lo", "eth0", "wg*", "wg1", "*", "none", "e*") }

func (w *world) payloadBytes() PayloadBytes {
	b := PayloadBytes{Offset: w.IntN(3), Bytes: []byte(pick(w, "a", "b", "ab", "\x00"))}
	if w.sometimes(2) {
		b.Mask = make([]byte, len(b.Bytes))
		b.Mask[0] = 0xfe
	}
	return b
}

// config has n rules.
func (w *world) config(n int) *Config {
	c := &Config{Default: w.action(), RegexpBytes: pick(w, 4, 1024), Flow: w.sometimes(2)}
	if w.sometimes(2) {
		c.Defaults = map[uint8]vocabulary.Action{w.hook(): w.action()}
	}
	for range n {
		r := Rule{Match: w.match(2), Action: w.action(), Queue: uint16(w.IntN(3)), Flow: w.sometimes(2), Hold: w.sometimes(2)}
		if w.sometimes(3) {
			r.Action, r.Mark, r.ConnMark = vocabulary.Count, w.masked(), w.masked()
		}
		if w.sometimes(5) {
			r.Limit = Limit{Count: 1, Interval: time.Second, Burst: 1 + w.Uint64N(3), Per: Per(w.IntN(3)), IPv4: pick(w, 0, 31), IPv6: pick(w, 0, 127)}
		}
		if w.sometimes(20) {
			r.Match = Match{Names: Names{List: []string{"example.org"}}}
			r.Limit = Limit{Count: 1, Interval: time.Second, Burst: 2, Per: PerEntry}
		}
		c.Rules = append(c.Rules, r)
	}
	w.ref.cfg = c
	return c
}

func (w *world) action() vocabulary.Action {
	return pick(w, vocabulary.Accept, vocabulary.Drop, vocabulary.Reject, vocabulary.Requeue, vocabulary.Repeat)
}

// input is a packet with what is known about it.
func (w *world) input() *Input {
	a, b := w.addr(), w.addr()
	for a.Is4() != b.Is4() {
		b = w.addr()
	}
	payload := []byte(pick(w, "", "a", "ab", "b\nb", "aab\x00", "xx\nbaab"))
	raw := wire(w.protocol(), a, b, w.port(), w.port(), payload)
	if a.Is4() {
		raw[1], raw[8] = byte(w.IntN(12)), byte(w.IntN(8))
		switch w.IntN(6) {
		case 0:
			raw[6] = 0x20
		case 1:
			raw[7] = 1
		}
	} else {
		raw[7] = byte(w.IntN(8))
	}
	v := new(packet.View)
	if err := v.Decode(raw); err != nil {
		w.t.Fatal(err)
	}
	in := &Input{
		View: v, Hook: w.hook(), Mark: uint32(w.IntN(4)), ConnMark: uint32(w.IntN(4)), InDev: uint32(w.IntN(6)), OutDev: uint32(w.IntN(6)),
		UID: uint32(w.IntN(6)), GID: uint32(w.IntN(6)), HasUID: w.sometimes(2), HasGID: w.sometimes(2), CT: CTOf(uint32(w.IntN(6)), w.Uint32(), w.sometimes(2)),
		Unix: w.Int64N(1 << 31),
		Name: flows.Result{State: names.State(w.IntN(5)), Protocol: flows.Protocol(w.IntN(5)), ALPN: []byte(pick(w, "", "\x02h2", "\x02h2\x08http/1.1", "\x02h3"))},
	}
	if in.Name.State == names.Hidden && w.sometimes(2) {
		in.Name.Name = []byte(w.name())
	}
	if in.Name.State == names.Known {
		in.Name.Name = []byte(w.name())
		in.Name.Question = dns.Question{Type: uint16(pick(w, 1, 28, 5))}
	}
	return in
}

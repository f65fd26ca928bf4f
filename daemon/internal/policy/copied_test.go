package policy

import (
	"encoding/binary"
	"slices"
	"testing"

	"verdictd/internal/packet"
	"verdictd/internal/vocabulary"
)

// TestCopyRange: as much is copied as rules look at.
func TestCopyRange(t *testing.T) {
	drop := func(m Match) Rule { return Rule{Action: vocabulary.Drop, Match: m} }
	far := []PayloadBytes{{Offset: 100, Bytes: []byte("abcd")}}
	for name, test := range map[string]struct {
		rules []Rule
		want  uint32
	}{
		"no rules":           {nil, packet.MaxHeaders},
		"headers":            {[]Rule{drop(Match{Lengths: []Range{{0, 9}}, Protocols: []uint8{6}})}, packet.MaxHeaders},
		"payload":            {[]Rule{drop(Match{Payload: far}), drop(Match{})}, packet.MaxHeaders + 104},
		"payload within not": {[]Rule{drop(Match{Not: &Match{Any: []Match{{Payload: far}}}})}, packet.MaxHeaders + 104},
		"expression":         {[]Rule{drop(Match{Regexp: "a"})}, packet.MaxHeaders + defaultRegexpBytes},
		"payload to the end": {[]Rule{drop(Match{Payload: []PayloadBytes{{Offset: 65500, Bytes: []byte("a")}}})}, vocabulary.MaxCopyRange},
		"names":              {[]Rule{drop(Match{DNS: &DNSMatch{}}), drop(Match{Payload: far})}, vocabulary.MaxCopyRange},
		"samples":            {[]Rule{{Action: vocabulary.Accept, Sample: 1}}, vocabulary.SampleBytes},
		"samples, expression": {[]Rule{{Action: vocabulary.Accept, Sample: 1}, drop(Match{Regexp: "a"}),
			drop(Match{Payload: []PayloadBytes{{Offset: 2000, Bytes: []byte("a")}}})}, packet.MaxHeaders + 2001},
		"log": {[]Rule{{Action: vocabulary.Accept, Log: 1}}, packet.MaxHeaders},
	} {
		t.Run(name, func(t *testing.T) {
			p, err := Compile(Config{Rules: test.rules}, nil)
			if err != nil {
				t.Fatal(err)
			}
			needs := p.Needs()
			if got, why := needs.CopyRange(); got != test.want || why == "" {
				t.Errorf("%d bytes (%s), want %d", got, why, test.want)
			}
		})
	}
}

// hostile is a packet that nobody has to send: of any length, with many extension headers, with lengths that are wrong,
// cut, a fragment, or with bytes changed.
func (w *world) hostile() []byte {
	a, b := w.addr(), w.addr()
	for a.Is4() != b.Is4() {
		b = w.addr()
	}
	payload := make([]byte, pick(w, w.IntN(8), w.IntN(100), w.IntN(700), w.IntN(3000)))
	for i := range payload {
		payload[i] = pick[byte](w, 'a', 'b', 0, '\n')
	}
	protocol := w.protocol()
	raw := wire(protocol, a, b, w.port(), w.port(), payload)
	begin := 20
	if !a.Is4() {
		begin = 40
	}
	if protocol == 6 {
		raw[begin+12] = byte(w.IntN(16) << 4)
	}
	if a.Is4() {
		options := 4 * w.IntN(11)
		raw = append(append(append([]byte{}, raw[:20]...), make([]byte, options)...), raw[20:]...)
		raw[0] += byte(options / 4)
		binary.BigEndian.PutUint16(raw[2:], uint16(len(raw)))
		binary.BigEndian.PutUint16(raw[6:], pick[uint16](w, 0, 0, 0, 0x2000, 1, 185))
	} else {
		raw = w.extended(raw)
		binary.BigEndian.PutUint16(raw[4:], uint16(len(raw)-40))
	}
	if w.sometimes(6) { // lengths that are none, or wrong
		at := 2
		if !a.Is4() {
			at = 4
		}
		binary.BigEndian.PutUint16(raw[at:], pick(w, 0, uint16(w.IntN(len(raw)+1)), uint16(w.IntN(1<<16))))
	}
	for range pick(w, 0, 0, 0, 1, 5) {
		raw[w.IntN(min(len(raw), 600))] = byte(w.Uint32())
	}
	if w.sometimes(6) {
		raw = raw[:w.IntN(len(raw)+1)]
	}
	return raw
}

// extended puts extension headers before the upper layer, often about as many as may be.
func (w *world) extended(raw []byte) []byte {
	most := pick(w, 0, w.IntN(100), packet.MaxHeaders-80+w.IntN(80), w.IntN(1000))
	next := raw[6]
	var chain []byte
	last := -1 // where the type of the next header is
	for len(chain) < most {
		kind := pick[byte](w, 0, 43, 60, 60, 44, 51)
		h := make([]byte, 8)
		switch kind {
		case 44:
			binary.BigEndian.PutUint16(h[2:], pick[uint16](w, 0, 1, 8))
		case 51:
			h = make([]byte, 8+8*w.IntN(4))
			h[1] = byte(len(h)/4 - 2)
		default:
			h = make([]byte, 8+8*w.IntN(10))
			h[1] = byte(len(h)/8 - 1)
		}
		if last < 0 {
			raw[6] = kind
		} else {
			chain[last] = kind
		}
		last = len(chain)
		chain = append(chain, h...)
	}
	if last >= 0 {
		chain[last] = next
	}
	return append(append(append([]byte{}, raw[:40]...), chain...), raw[40:]...)
}

// checkCopies: a verdict on a copy, of as many bytes as the policy says that it looks at, is that on the whole packet.
func checkCopies(t *testing.T, seed uint64, rules, packets int) (decoded, cut int) {
	t.Helper()
	w := newWorld(t, seed)
	cfg := w.config(rules)
	for i := range cfg.Rules {
		if m := &cfg.Rules[i].Match; w.sometimes(3) {
			m.Payload = append(m.Payload, PayloadBytes{Offset: pick(w, w.IntN(8), w.IntN(100), w.IntN(700)), Bytes: []byte(pick(w, "a", "b", "\x00"))})
		}
	}
	cfg.RegexpBytes = pick(w, 1, 4, 100, 1024)
	var deciders [2]*Decider // each with limits of its own
	for i := range deciders {
		p, err := Compile(*cfg, nil)
		if err != nil {
			t.Fatal(err)
		}
		p.SetDevices(w.ref.devices)
		deciders[i] = p.NewDecider()
	}
	needs := deciders[0].policy.Needs()
	needs.Names = false // names are found by others, who get all
	bytes, _ := needs.CopyRange()
	for n := range packets {
		raw := w.hostile()
		var whole, part packet.View
		copied := raw[:min(len(raw), int(bytes))]
		err, other := whole.Decode(raw), part.DecodeCopy(slices.Clip(copied), len(raw))
		if (err == nil) != (other == nil) {
			t.Fatalf("%d of %d bytes: %v; all: %v: %x", bytes, len(raw), other, err, raw)
		}
		if err != nil {
			continue
		}
		decoded++
		if len(copied) < len(raw) {
			cut++
		}
		in := w.input()
		in.Now = int64(n) * 1e8
		var a, b Verdict
		in.View = &whole
		deciders[0].Decide(in, &a)
		in.View = &part
		deciders[1].Decide(in, &b)
		if !same(&a, &b) {
			t.Fatalf("by all of %d bytes %+v, by %d: %+v: %x", len(raw), a, bytes, b, raw)
		}
	}
	return decoded, cut
}

// TestCopiesAreJudgedAlike, and many packets are decoded and longer than their copies.
func TestCopiesAreJudgedAlike(t *testing.T) {
	decoded, cut := 0, 0
	for seed := range uint64(400) {
		d, c := checkCopies(t, seed, int(seed%5), 50)
		decoded, cut = decoded+d, cut+c
	}
	if decoded < 10_000 || cut < 2_000 {
		t.Errorf("%d decoded, %d cut", decoded, cut)
	}
}

func FuzzCopies(f *testing.F) {
	for seed := range uint64(20) {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, seed uint64) { checkCopies(t, seed, int(seed%12), 50) })
}

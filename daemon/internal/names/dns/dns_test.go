package dns

import (
	"bytes"
	"encoding/binary"
	"slices"
	"strings"
	"testing"

	"github.com/miekg/dns"

	"verdictd/daemon/internal/names"
	"verdictd/internal/testkit"
)

// pack is the message of a client that asks for name.
func pack(t testing.TB, name string, qtype uint16, edit func(*dns.Msg)) []byte {
	t.Helper()
	m := new(dns.Msg)
	m.SetQuestion(dns.Fqdn(name), qtype)
	if edit != nil {
		edit(m)
	}
	b, err := m.Pack()
	if err != nil {
		t.Fatalf("pack %q: %v", name, err)
	}
	return b
}

// raw is a message whose question begins with these bytes.
func raw(count uint16, question ...byte) []byte {
	b := make([]byte, headerLen)
	binary.BigEndian.PutUint16(b[4:], count)
	return append(b, question...)
}

func seeds(t testing.TB) [][]byte {
	long := strings.Repeat(strings.Repeat("a", 63)+".", 3) + strings.Repeat("b", 61)
	return [][]byte{
		pack(t, "www.Example.org", dns.TypeA, nil),
		pack(t, ".", dns.TypeNS, nil),
		pack(t, long, dns.TypeHTTPS, nil),
		pack(t, `a\.b.\000x.example.org`, dns.TypeTXT, func(m *dns.Msg) { m.SetEdns0(1232, true) }),
		pack(t, "example.org", dns.TypeAAAA, func(m *dns.Msg) {
			m.Response, m.Compress = true, true
			m.Answer = append(m.Answer, &dns.AAAA{Hdr: dns.RR_Header{Name: "example.org.", Rrtype: dns.TypeAAAA, Class: 1}, AAAA: make([]byte, 16)})
		}),
		pack(t, "example.org", dns.TypeSOA, func(m *dns.Msg) { m.Question = append(m.Question, m.Question...); m.Opcode = dns.OpcodeNotify }),
		raw(1, 1, 'a', 0xc0, 18, 0, 0, 1, 0, 1),                 // a pointer forwards
		raw(1, 0xc0, 12),                                        // to itself
		raw(1, 1, 'a', 0xc0, 12, 0, 1, 0, 1),                    // round and round
		raw(1, 0xc0, 4, 0, 1, 0, 1),                             // into the header
		raw(1, 0x40, 1), raw(1, 63), raw(0, 1, 'a', 0, 0, 1, 0), // reserved, cut, without a question
	}
}

// oracle reads the question with miekg/dns. Where that refuses, cut says whether more
// bytes might have helped.
func oracle(b []byte) (name string, qtype uint16, ok, cut bool) {
	if len(b) < headerLen {
		return "", 0, false, true
	}
	if binary.BigEndian.Uint16(b[4:]) == 0 {
		return "", 0, false, false
	}
	name, end, err := dns.UnpackDomainName(b, headerLen)
	if err != nil {
		return "", 0, false, err == dns.ErrBuf //nolint:errorlint // is never wrapped
	}
	if end+4 > len(b) {
		return "", 0, false, true
	}
	return name, binary.BigEndian.Uint16(b[end:]), true, false
}

// canonical brings miekg's presentation into the form of package names: the same
// escapes, but by numbers alone.
func canonical(name string) string {
	var out []byte
	for i := 0; i < len(name); i++ {
		c := name[i]
		if c != '\\' {
			out = append(out, strings.ToLower(string(c))...)
			continue
		}
		i++
		switch c = name[i]; {
		case '0' <= c && c <= '9':
			out = append(append(out, '\\'), name[i:i+3]...)
			i += 2
		case c == '.' || c == ' ' || c == '\\':
			out = append(out, '\\', '0'+c/100, '0'+c/10%10, '0'+c%10)
		default:
			out = append(out, c)
		}
	}
	if len(out) > 1 {
		out = bytes.TrimSuffix(out, []byte("."))
	}
	return string(out)
}

func compare(t *testing.T, b []byte) {
	t.Helper()
	b = slices.Clip(b)
	q, name, s := Message(b, make([]byte, 0, names.MaxText))
	want, qtype, ok, cut := oracle(b)
	switch {
	case ok && (s != names.Known || string(name) != canonical(want) || q.Type != qtype):
		t.Errorf("%x: %q type %d, %v, miekg/dns has %q type %d", b, name, q.Type, s, canonical(want), qtype)
	case !ok && s == names.Known:
		t.Errorf("%x: %q is invented", b, name)
	case !ok && (s == names.More) != cut && len(b) < headerLen+2*names.MaxWire:
		t.Errorf("%x: %v, but more bytes would help: %v", b, s, cut)
	}
	// A stream says the same about the same message, however it comes.
	if len(b) > 200 {
		return
	}
	stream := append(binary.BigEndian.AppendUint16(nil, uint16(len(b))), b...)
	for n := range len(stream) + 1 {
		qs, names2, size, state := Stream(stream[:n], make([]byte, 0, names.MaxText))
		if n >= lengthLen && size != len(stream) {
			t.Fatalf("%x: size %d, want %d", stream[:n], size, len(stream))
		}
		if state == names.Known && (s != names.Known || qs != q || !bytes.Equal(names2, name)) ||
			n == len(stream) && (state == names.More || (state == names.Known) != (s == names.Known)) {
			t.Fatalf("the first %d bytes of %x: %q %v, the whole message %q %v", n, stream, names2, state, name, s)
		}
	}
}

func TestAgainstMiekg(t *testing.T) {
	for _, b := range seeds(t) {
		compare(t, b)
	}
}

func FuzzMessage(f *testing.F) {
	for _, b := range seeds(f) {
		f.Add(b)
	}
	for _, b := range testkit.Recorded(f, "testdata/messages.txt") {
		f.Add(b)
	}
	f.Fuzz(compare)
}

func TestQuestion(t *testing.T) {
	all := seeds(t)
	for i, want := range map[int]Question{
		0: {Type: dns.TypeA, Class: 1, Count: 1},
		4: {Type: dns.TypeAAAA, Class: 1, Count: 1, Response: true},
		5: {Type: dns.TypeSOA, Class: 1, Count: 2, Opcode: dns.OpcodeNotify},
	} {
		if q, _, s := Message(all[i], nil); q != want || s != names.Known {
			t.Errorf("message %d: %+v, %v, want %+v", i, q, s, want)
		}
	}
}

// TestPipeline: of a message no more is needed than its question, and the next begins
// behind the whole.
func TestPipeline(t *testing.T) {
	var stream []byte
	want := []string{"one.example.org", "two.example.org", "."}
	for _, name := range want {
		b := pack(t, name, dns.TypeA, func(m *dns.Msg) { m.SetEdns0(4096, false) })
		stream = append(binary.BigEndian.AppendUint16(stream, uint16(len(b))), b...)
	}
	for _, name := range want {
		_, got, size, s := Stream(stream[:lengthLen+headerLen+len(name)+2+4], nil)
		if string(got) != name || s != names.Known {
			t.Fatalf("%q, %v, want %q", got, s, name)
		}
		stream = stream[size:]
	}
}

func BenchmarkMessage(b *testing.B) {
	message, dst := seeds(b)[0], make([]byte, 0, names.MaxText)
	b.ReportAllocs()
	for b.Loop() {
		Message(message, dst)
	}
}

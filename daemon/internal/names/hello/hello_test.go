package hello

import (
	"bytes"
	"crypto/tls"
	"slices"
	"strings"
	"testing"

	"verdictd/daemon/internal/names"
	"verdictd/internal/testkit"
)

const size = 20 << 10

func alpn(protocols []string) (list []byte) {
	for _, p := range protocols {
		list = append(append(list, byte(len(p))), p...)
	}
	return list
}

// compare: what crypto/tls reads is found. It refuses more, as it looks at every extension.
func compare(t *testing.T, stream []byte) (h Hello, s names.State) {
	t.Helper()
	stream = slices.Clip(stream)
	d := NewDecoder(size)
	h, s = d.Stream(stream, dst())
	if want := oracle(stream); want != nil && s != names.TooLong {
		name := names.None
		if want.ServerName != "" {
			name = names.Known
		}
		if slices.Contains(want.Extensions, extensionECH) {
			name = names.Hidden
		}
		host, tooLong := names.AppendHost(nil, []byte(want.ServerName))
		if tooLong != names.TooLong && (s != name || string(h.Name) != string(host)) || !bytes.Equal(h.ALPN, alpn(want.SupportedProtos)) {
			t.Errorf("%x: %v, name %q, protocols %q; crypto/tls has %q, %q", stream, s, h.Name, h.ALPN, want.ServerName, want.SupportedProtos)
		}
		for _, p := range want.SupportedProtos {
			if !h.Offers(p) {
				t.Errorf("%q is not offered", p)
			}
		}
	}
	if s == names.Known && len(h.Name) == 0 || (s == names.None || s == names.More) && (len(h.Name) > 0 || h.ECH) {
		t.Errorf("%x: %v with the name %q", stream, s, h.Name)
	}
	return h, s
}

// prefixes: more bytes never change what was decided.
func prefixes(t *testing.T, stream []byte, steps int) {
	t.Helper()
	d, e := NewDecoder(size), NewDecoder(size)
	h, s := e.Stream(stream, dst())
	for n := 0; n < len(stream); n += 1 + len(stream)/steps {
		part, state := d.Stream(stream[:n:n], dst())
		if state != names.More && (state != s || !bytes.Equal(part.Name, h.Name) || !bytes.Equal(part.ALPN, h.ALPN) || part.ECH != h.ECH) {
			t.Fatalf("the first %d bytes: %q %v, all %d: %q %v", n, part.Name, state, len(stream), h.Name, s)
		}
	}
}

func TestAgainstCryptoTLS(t *testing.T) {
	want := map[string]struct {
		name  string
		state names.State
	}{
		"post-quantum":       {"pq.example.org", names.Known},
		"X25519":             {"www.example.org", names.Known},
		"TLS 1.2":            {"old.example.org", names.Known},
		"no name":            {"", names.None},
		"address":            {"", names.None},
		"encrypted":          {"public.example.org", names.Hidden},
		"many protocols":     {"example.org", names.Known},
		"punycode, 1.3 only": {"xn--bcher-kva.example", names.Known},
	}
	for name, stream := range hellos(t) {
		t.Run(name, func(t *testing.T) {
			for _, n := range []int{maxRecord, 1000, 100, 7, 3, 1} {
				in := split(stream, n)
				if h, s := compare(t, in); string(h.Name) != want[name].name || s != want[name].state {
					t.Errorf("records of %d bytes: %q, %v, want %q, %v", n, h.Name, s, want[name].name, want[name].state)
				}
				prefixes(t, in, 200)
			}
			// The hello alone, as QUIC has it.
			if h, s := Message(stream[recordHeaderLen:], nil); string(h.Name) != want[name].name || s != want[name].state {
				t.Errorf("the message: %q, %v", h.Name, s)
			}
		})
	}
}

func TestBounds(t *testing.T) {
	stream := clientHello(t, &tls.Config{ServerName: "example.org"})
	for _, test := range []struct {
		what   string
		size   int
		stream []byte
		want   names.State
	}{
		{"longer than the decoder's size", len(stream) - recordHeaderLen - 1, stream[:recordHeaderLen+headerLen], names.TooLong},
		{"as long", len(stream) - recordHeaderLen, stream[:recordHeaderLen+headerLen], names.More},
		{"as long, in many records", len(stream) - recordHeaderLen, split(stream, 9), names.Known},
		{"longer than any", 1 << 20, []byte{recordHandshake, 3, 1, 0, 9, typeClientHello, 1, 0, 1}, names.TooLong},
		{"16 warnings before it", size, append(bytes.Repeat([]byte{recordAlert, 3, 1, 0, 2, 1, 90}, 16), stream...), names.Known},
		{"17 warnings", size, append(bytes.Repeat([]byte{recordAlert, 3, 1, 0, 2, 1, 90}, 17), stream...), names.None},
		{"an error before it", size, append([]byte{recordAlert, 3, 1, 0, 2, 2, 90}, stream...), names.None},
		{"an end before it", size, append([]byte{recordAlert, 3, 1, 0, 2, 1, 0}, stream...), names.None},
		{"an empty record", size, []byte{recordHandshake, 3, 1, 0, 0}, names.None},
		{"a record of 16,385 bytes", size, []byte{recordHandshake, 3, 1, 0x40, 1}, names.None},
		{"SSL 2", size, []byte{0x80, 0x2e, 1, 0, 2}, names.None},
		{"HTTP", size, []byte("G"), names.None},
		{"application data", size, []byte{23}, names.None},
		{"a server's hello", size, []byte{recordHandshake, 3, 3, 0, 90, 2}, names.None},
		{"nothing", size, nil, names.More},
	} {
		if _, s := NewDecoder(test.size).Stream(test.stream, nil); s != test.want {
			t.Errorf("%s: %v, want %v", test.what, s, test.want)
		}
		compare(t, test.stream)
	}
}

// made is a ClientHello with these extensions.
func made(extensions ...[]byte) []byte {
	list := slices.Concat(extensions...)
	body := slices.Concat([]byte{3, 3}, make([]byte, 32), []byte{0, 0, 2, 0x13, 1, 1, 0, byte(len(list) >> 8), byte(len(list))}, list)
	hello := slices.Concat([]byte{typeClientHello, 0, byte(len(body) >> 8), byte(len(body))}, body)
	return slices.Concat([]byte{recordHandshake, 3, 1, byte(len(hello) >> 8), byte(len(hello))}, hello)
}

func extension(kind uint16, data ...byte) []byte {
	return append([]byte{byte(kind >> 8), byte(kind), byte(len(data) >> 8), byte(len(data))}, data...)
}

func serverNames(entries ...string) []byte {
	var list []byte
	for _, e := range entries {
		list = append(append(list, e[0], byte((len(e)-1)>>8), byte(len(e)-1)), e[1:]...)
	}
	return extension(extensionName, append([]byte{byte(len(list) >> 8), byte(len(list))}, list...)...)
}

func TestUnusualHellos(t *testing.T) {
	name := serverNames("\x00example.org")
	for _, test := range []struct {
		what   string
		stream []byte
		want   names.State
		name   string
	}{
		{"a name", made(name), names.Known, "example.org"},
		{"a name of another type before it", made(serverNames("\x01x", "\x00example.org")), names.Known, "example.org"},
		{"another type alone", made(serverNames("\x01x")), names.None, ""},
		{"two names", made(serverNames("\x00one.example", "\x00two.example")), names.None, ""},
		{"the extension twice", made(name, name), names.None, ""},
		{"a dot at the end", made(serverNames("\x00example.org.")), names.Known, "example.org"},
		{"an empty name", made(serverNames("\x00")), names.None, ""},
		{"an empty list", made(extension(extensionName, 0, 0)), names.None, ""},
		{"a zero in the name", made(serverNames("\x00a\x00b")), names.Known, `a\000b`},
		{"UTF-8", made(serverNames("\x00b\xc3\xbccher.example")), names.Known, `b\195\188cher.example`},
		{"254 bytes", made(serverNames("\x00" + strings.Repeat("a", 254))), names.TooLong, ""},
		{"bytes behind the list", made(extension(extensionName, 0, 4, 0, 0, 1, 'a', 0)), names.None, ""},
		{"no extensions", made(), names.None, ""},
		{"an unknown one", made(extension(0x1a1a), name), names.Known, "example.org"},
		{"encrypted, without an outer name", made(extension(extensionECH, 0)), names.Hidden, ""},
		{"encrypted, twice", made(extension(extensionECH, 0), extension(extensionECH, 0)), names.None, ""},
		{"an empty protocol", made(name, extension(extensionALPN, 0, 1, 0)), names.None, ""},
		{"a protocol behind the end", made(name, extension(extensionALPN, 0, 2, 2, 'h')), names.None, ""},
	} {
		d := NewDecoder(size)
		h, s := d.Stream(test.stream, nil)
		if s != test.want || string(h.Name) != test.name {
			t.Errorf("%s: %q, %v, want %q, %v", test.what, h.Name, s, test.name, test.want)
		}
		prefixes(t, test.stream, 1000)
	}
}

func FuzzStream(f *testing.F) {
	for name, stream := range hellos(f) {
		if name != "many protocols" {
			f.Add(stream)
			f.Add(split(stream, 100))
		}
	}
	f.Add(made(serverNames("\x01x", "\x00example.org"), extension(extensionALPN, 0, 3, 2, 'h', '2')))
	f.Add(append([]byte{recordAlert, 3, 1, 0, 2, 1, 90}, made()...))
	for _, b := range testkit.Recorded(f, "testdata/hellos.txt") {
		f.Add(b)
	}
	f.Fuzz(func(t *testing.T, stream []byte) {
		compare(t, stream)
		prefixes(t, stream, 20)
	})
}

package flows

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"math/rand/v2"
	"os"
	"slices"
	"testing"
	"time"

	"verdictd/daemon/internal/names"
	"verdictd/internal/packet"
)

// TestHelloInSegments: in any size and order, with copies, in IPv4 and IPv6.
func TestHelloInSegments(t *testing.T) {
	hello := clientHello(t, "www.example.org")
	random := rand.New(rand.NewPCG(1, 1))
	for _, e := range []ends{web, {"2001:db8::9", "2001:db8::1", 50000, 8443}} {
		for _, size := range []int{1 << 14, 1200, 536, 100} {
			table := newTable(t, nil)
			first := uint32(1<<32 - 700) // the numbers wrap
			want(t, "SYN", pass(t, table, e.tcp(t, "S", first-1, 0, nil), true), names.More, Unknown, "")
			want(t, "its answer", pass(t, table, e.back().tcp(t, "SA", 9, first, nil), false), names.More, Unknown, "")
			var segments []*packet.View
			for at := 0; at < len(hello); at += size {
				segments = append(segments, e.tcp(t, "A", first+uint32(at), 1, hello[at:min(at+size, len(hello))]))
			}
			segments = append(segments, segments[:len(segments)/2]...)
			random.Shuffle(len(segments), func(a, b int) { segments[a], segments[b] = segments[b], segments[a] })
			known := false
			for _, v := range segments {
				switch r := pass(t, table, v, false); {
				case r.State == names.Known:
					want(t, "hello", r, names.Known, TLS, "www.example.org")
					if string(r.ALPN) != "\x02h2" {
						t.Errorf("protocols %q", r.ALPN)
					}
					known = true
				case r.State != names.More || known:
					t.Errorf("segments of %d: %+v, known before: %v", size, r, known)
				}
			}
			want(t, "data behind", pass(t, table, e.tcp(t, "A", first+9999, 1, []byte("data")), false), names.Known, TLS, "www.example.org")
			want(t, "the server", pass(t, table, e.back().tcp(t, "A", 10, 1, []byte("data")), false), names.Known, TLS, "www.example.org")
			if table.pool.Used() != 0 {
				t.Errorf("%d buffers are left", table.pool.Used())
			}
		}
	}
}

func TestOtherStreams(t *testing.T) {
	for i, test := range []struct {
		what, data string
		state      names.State
		protocol   Protocol
		name       string
	}{
		{"a request", "GET / HTTP/1.1\r\nHost: example.org\r\n\r\n", names.Known, HTTP, "example.org"},
		{"SSH", "SSH-2.0-x\r\n", names.None, Unknown, ""},
		{"the beginning of a request", "GET / HTTP/1.1\r\nHost: exam", names.More, HTTP, ""},
		{"a hello beyond the bound", "\x16\x03\x01\x40\x00\x01\x00\xff\xff", names.TooLong, TLS, ""},
	} {
		table, e := newTable(t, nil), web
		e.clientPort += uint16(i)
		want(t, test.what, pass(t, table, e.tcp(t, "S", 99, 0, []byte(test.data)), true), test.state, test.protocol, test.name) // in the SYN
		table = newTable(t, nil)
		pass(t, table, e.tcp(t, "S", 99, 0, nil), true)
		want(t, test.what, pass(t, table, e.tcp(t, "A", 100, 0, []byte(test.data)), false), test.state, test.protocol, test.name)
		want(t, test.what+", without a beginning", pass(t, newTable(t, nil), e.tcp(t, "A", 100, 0, []byte(test.data)), false), names.TooLong, Unknown, "")
	}
}

// TestBeginnings: whose word counts on where a stream begins.
func TestBeginnings(t *testing.T) {
	one, two := []byte("GET / HTTP/1.1\r\nHost: one.example\r\n\r\n"), []byte("GET / HTTP/1.1\r\nHost: two.example\r\n\r\n")
	table := newTable(t, nil)
	pass(t, table, web.tcp(t, "S", 99, 0, nil), true)
	pass(t, table, web.tcp(t, "S", 4999, 0, nil), false) // which conntrack does not take for a new one
	want(t, "as the second SYN has it", pass(t, table, web.tcp(t, "A", 5000, 0, two), false), names.More, Unknown, "")
	want(t, "as the first has it", pass(t, table, web.tcp(t, "A", 100, 0, one), false), names.Known, HTTP, "one.example")
	pass(t, table, web.tcp(t, "S", 4999, 0, nil), false)
	want(t, "a name stays", pass(t, table, web.tcp(t, "A", 5000, 0, two), false), names.Known, HTTP, "one.example")
	pass(t, table, web.tcp(t, "S", 4999, 0, nil), true)
	want(t, "a new connection of the same ports", pass(t, table, web.tcp(t, "A", 5000, 0, two), false), names.Known, HTTP, "two.example")

	table = newTable(t, nil)
	pass(t, table, web.tcp(t, "S", 99, 0, nil), true)
	pass(t, table, web.tcp(t, "S", 4999, 0, nil), true)
	pass(t, table, web.tcp(t, "A", 5000, 0, two[:9]), false)
	pass(t, table, web.back().tcp(t, "SA", 7, 100, nil), false)
	want(t, "the server's word", pass(t, table, web.tcp(t, "A", 100, 8, one), false), names.Known, HTTP, "one.example")

	table = newTable(t, nil)
	pass(t, table, web.back().tcp(t, "SA", 7, 100, nil), false)
	want(t, "the answer alone was seen", pass(t, table, web.tcp(t, "A", 100, 8, one), false), names.Known, HTTP, "one.example")

	table = newTable(t, nil)
	pass(t, table, web.tcp(t, "S", 99, 0, one[:9]), true)
	pass(t, table, web.back().tcp(t, "SA", 7, 109, nil), false)
	want(t, "data in the SYN, confirmed", pass(t, table, web.tcp(t, "A", 109, 8, one[9:]), false), names.Known, HTTP, "one.example")
}

func TestBounds(t *testing.T) {
	table := newTable(t, nil)
	open := func(port uint16, now int64) ends {
		e := web
		e.clientPort = port
		results(table, e.tcp(t, "S", 99, 0, []byte("GET / ")), true, now)
		return e
	}
	state := func(e ends, now int64) names.State {
		return results(table, e.tcp(t, "A", 100, 1, nil), false, now)[0].State
	}
	// Buffers: the fifth flow takes that of the first.
	first := open(1, 0)
	for port := range uint16(4) {
		open(2+port, 1)
	}
	if got := state(first, 1); got != names.TooLong {
		t.Errorf("%v without a buffer", got)
	}
	// Time.
	e := open(7, 5)
	if got := state(e, int64(5*time.Second)+5); got != names.More {
		t.Errorf("%v at the age", got)
	}
	if got := state(e, int64(5*time.Second)+6); got != names.TooLong || table.pool.Used() != 0 {
		t.Errorf("%v behind the age, %d buffers used", got, table.pool.Used())
	}
	// Packets: those out of the window, too.
	e = open(8, int64(time.Minute))
	for range 32 {
		results(table, e.tcp(t, "A", 1<<31, 1, []byte("x")), false, int64(time.Minute))
	}
	want(t, "32 packets", results(table, e.tcp(t, "A", 106, 1, []byte("HTTP/1.1\r\n")), false, int64(time.Minute))[0], names.TooLong, HTTP, "")
	// Flows: more of them than are remembered.
	for port := range uint16(20) {
		open(100+port, int64(time.Minute))
	}
	if got := state(e, int64(time.Minute)); got != names.TooLong || table.Counters().Midstream == 0 || table.Counters().Evicted == 0 {
		t.Errorf("%v after 20 others, %+v", got, table.Counters())
	}
	// A packet is not put together of fragments, and protocols without names have none.
	fragment := web.udp(t, make([]byte, 40))
	fragment.FragmentOffset = 8
	want(t, "a fragment", pass(t, table, fragment, true), names.TooLong, Unknown, "")
	if _, err := New(Config{}); err == nil {
		t.Error("no flows are enough")
	}
}

var resolver = ends{"192.0.2.1", "198.51.100.53", 40000, 53}

func TestDNS(t *testing.T) {
	table := newTable(t, nil)
	q := question("www.Example.org")[2:]
	want(t, "UDP", pass(t, table, resolver.udp(t, q), true), names.Known, DNS, "www.example.org")
	want(t, "from such a port", pass(t, table, resolver.back().udp(t, q), false), names.Known, DNS, "www.example.org")
	answer := slices.Clone(q)
	answer[2] |= 0x80
	want(t, "its answer", pass(t, table, resolver.back().udp(t, answer), false), names.Known, DNS, "www.example.org")
	want(t, "cut", pass(t, table, resolver.udp(t, q[:20]), true), names.None, DNS, "")
	want(t, "another port", pass(t, table, web.udp(t, q), true), names.None, Unknown, "")
	if r := pass(t, table, resolver.udp(t, q), true); r.Question.Type != 1 {
		t.Errorf("%+v", r.Question)
	}
}

// TestDNSOverTCP: each question has a result, however messages and segments lie, and has
// it again when its packet was dropped.
func TestDNSOverTCP(t *testing.T) {
	all := []string{"one.example", "two.example", "three.example", "four.example"}
	var stream []byte
	for _, name := range all {
		stream = append(stream, question(name)...)
	}
	random := rand.New(rand.NewPCG(1, 1))
	for size := 1; size <= len(stream); size++ {
		table := newTable(t, func(c *Config) { c.Pending.Packets = 64 })
		pass(t, table, resolver.tcp(t, "S", 99, 0, nil), true)
		var got []string
		for at := 0; at < len(stream); {
			n := min(size, len(stream)-at)
			list := results(table, resolver.tcp(t, "A", 100+uint32(at), 1, stream[at:at+n]), false, 0)
			if random.IntN(3) == 0 {
				continue // it was dropped, and is sent again
			}
			table.Accept()
			for _, r := range list {
				if r.State == names.Known {
					got = append(got, string(r.Name))
				}
			}
			at += n
		}
		if !slices.Equal(got, all) || table.pool.Used() != 0 {
			t.Fatalf("segments of %d bytes: %q, %d buffers used", size, got, table.pool.Used())
		}
		r := results(table, resolver.tcp(t, "A", 100, 1, stream[:9]), false, 0)
		want(t, "what was accepted, again", r[0], names.Known, DNS, "four.example")
	}
}

// recorded are datagrams of quic-go.
func recorded(t testing.TB, what string) (name string, datagrams [][]byte) {
	t.Helper()
	text, err := os.ReadFile("../quic/testdata/initials.json")
	if err != nil {
		t.Fatal(err)
	}
	var list []struct {
		What       string   `json:"what"`
		ServerName string   `json:"server_name"`
		Datagrams  []string `json:"datagrams"`
	}
	if err := json.Unmarshal(text, &list); err != nil {
		t.Fatal(err)
	}
	for _, a := range list {
		if a.What != what {
			continue
		}
		for _, d := range a.Datagrams {
			b, err := hex.DecodeString(d)
			if err != nil {
				t.Fatal(err)
			}
			datagrams = append(datagrams, b)
		}
		return a.ServerName, datagrams
	}
	t.Fatalf("%s is not recorded", what)
	return "", nil
}

func TestQUIC(t *testing.T) {
	for _, what := range []string{"version 1", "version 2", "one datagram", "many protocols", "handshake", "retry"} {
		table := newTable(t, nil)
		name, datagrams := recorded(t, what)
		known := false
		for _, b := range datagrams {
			switch r := pass(t, table, web.udp(t, b), false); {
			case r.State == names.Known:
				want(t, what, r, names.Known, QUIC, name)
				known = true
			case r.State != names.More || known && what != "retry":
				t.Errorf("%s: %+v, known before: %v", what, r, known)
			}
		}
		want(t, what+", a short header", pass(t, table, web.udp(t, append([]byte{0x40}, make([]byte, 40)...)), false), names.Known, QUIC, name)
		want(t, what+", the server", pass(t, table, web.back().udp(t, datagrams[0]), false), names.Known, QUIC, name)
		if table.pool.Used() != 0 {
			t.Errorf("%s: %d buffers used", what, table.pool.Used())
		}
		// Another connection of the same ports.
		other, datagrams := recorded(t, "version 1")
		for _, b := range datagrams[:2] {
			pass(t, table, web.udp(t, b), false)
		}
		want(t, what+", then another", pass(t, table, web.udp(t, datagrams[2]), false), names.Known, QUIC, other)
	}
}

// TestPortsUsedAgain: a connection that was never complete has long had its time when another one begins at its ports,
// but nothing has come meanwhile, and who counts the time has not looked. The new one has all of its own.
func TestPortsUsedAgain(t *testing.T) {
	hour := int64(time.Hour)
	table := newTable(t, nil)
	_, before := recorded(t, "version 2")
	name, datagrams := recorded(t, "version 1")
	at := func(b []byte, now, expire int64) (r Result) {
		table.Begin(web.udp(t, b), false, now)
		r, _ = table.Next()
		table.Accept()
		table.Expire(expire)
		return r
	}
	at(before[0], 0, 0)
	at(datagrams[0], hour, hour)
	at(datagrams[1], hour+1e6, hour)
	want(t, "the new connection", at(datagrams[2], hour+2e6, hour+1e6), names.Known, QUIC, name)

	// Who begins again and again within that time has no more for it.
	table = newTable(t, nil)
	for i := range int64(10) {
		at([][]byte{before[0], datagrams[0]}[i%2], i*1e9, i*1e9+9e8)
	}
	if n := table.Counters().Pending.Expired; n != 1 {
		t.Errorf("%d have expired, want the one that has begun again", n)
	}
}

func TestQUICBounds(t *testing.T) {
	unknown := append([]byte{0xc0, 0x1a, 0x2a, 0x3a, 0x4a, 1, 1, 1, 1}, make([]byte, 1200)...)
	table := newTable(t, func(c *Config) { c.QUICKeys = 1 })
	want(t, "an unknown version", pass(t, table, web.udp(t, unknown), true), names.Hidden, QUIC, "")
	other := web
	other.serverPort = 9000
	want(t, "at another port", pass(t, table, other.udp(t, unknown), true), names.None, Unknown, "")
	// Without keys nothing is known, neither of a new flow nor of a known one's next connection.
	name, datagrams := recorded(t, "one datagram")
	want(t, "the one set of keys", pass(t, table, other.udp(t, datagrams[0]), true), names.Known, QUIC, name)
	_, datagrams = recorded(t, "version 1")
	want(t, "no keys for another connection", pass(t, table, other.udp(t, datagrams[0]), true), names.TooLong, QUIC, "")
	other.clientPort++
	want(t, "no keys for a new flow", pass(t, table, other.udp(t, datagrams[0]), true), names.More, QUIC, "")
	late := results(table, other.udp(t, make([]byte, 9)), false, int64(5*time.Second)+1)
	want(t, "5 seconds later", late[0], names.TooLong, QUIC, "")
}

// FuzzSegments: whatever is done to a stream, a name that is read is that of the bytes
// that came first, and the table's bounds hold.
func FuzzSegments(f *testing.F) {
	f.Add([]byte("GET / HTTP/1.1\r\nHost: example.org\r\n\r\n"), uint64(1))
	f.Add(clientHello(f, "example.org"), uint64(2))
	f.Fuzz(func(t *testing.T, data []byte, seed uint64) {
		if len(data) == 0 || len(data) > 8000 {
			return
		}
		random := rand.New(rand.NewPCG(seed, 1))
		whole, pieces := newTable(t, nil), newTable(t, func(c *Config) { c.Pending.Packets = 64 })
		truth := pass(t, whole, web.tcp(t, "S", 99, 0, data), true)
		pass(t, pieces, web.tcp(t, "S", 99, 0, nil), true)
		order := random.Perm(8)
		var last Result
		for _, n := range order {
			from, to := n*len(data)/8, (n+1)*len(data)/8
			to = min(len(data), to+random.IntN(50))
			for range 1 + random.IntN(2) {
				last = pass(t, pieces, web.tcp(t, "A", 100+uint32(from), 1, data[from:to]), false)
			}
		}
		if last.State != truth.State || last.Protocol != truth.Protocol || !bytes.Equal(last.Name, truth.Name) {
			t.Errorf("pieces in the order %v: %+v, the whole %+v", order, last, truth)
		}
	})
}

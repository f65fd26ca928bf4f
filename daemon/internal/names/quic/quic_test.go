package quic

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"os"
	"os/exec"
	"slices"
	"testing"

	"verdictd/daemon/internal/names"
	"verdictd/daemon/internal/names/hello"
)

// checkAttempts: the name that was asked for is found, as soon as all of the hello was
// there, in each order and where a datagram comes again.
func checkAttempts(t *testing.T, list []attempt) {
	for _, a := range list {
		t.Run(a.What, func(t *testing.T) {
			want := names.Known
			if a.ServerName == "" {
				want = names.None
			}
			datagrams := a.bytes(t)
			check := func(order string, r *reader, list [][]byte) {
				var h hello.Hello
				s := names.More
				for _, b := range list {
					if h, s = r.datagram(b, nil); s != names.More {
						break
					}
				}
				if s != want || string(h.Name) != a.ServerName {
					t.Errorf("%s: %q, %v, want %q, %v", order, h.Name, s, a.ServerName, want)
				}
				for _, p := range a.ALPN {
					if !h.Offers(p) {
						t.Errorf("%s: %q is not offered", order, p)
					}
				}
				if !r.d.Seen.Opened || r.d.Seen.UnknownVersion {
					t.Errorf("%s: %+v", order, r.d.Seen)
				}
			}
			check("in order", newReader(t), datagrams)
			backwards := slices.Clone(datagrams)
			slices.Reverse(backwards)
			if first, last := cutPacket(datagrams[0]), cutPacket(backwards[0]); bytes.Equal(first.destination, last.destination) {
				check("backwards", newReader(t), backwards)
				check("as one", newReader(t), [][]byte{bytes.Join(datagrams, nil)})
			} else {
				// A Retry changes the keys.
				check("after the retry", newReader(t), datagrams[2:])
			}
			check("twice", newReader(t), slices.Concat(datagrams[:1], datagrams))
			// All of a connection's datagrams: none is of another connection.
			r := newReader(t)
			for _, b := range datagrams {
				if h, s := r.datagram(b, nil); s != names.More && string(h.Name) != a.ServerName {
					t.Errorf("%q, %v", h.Name, s)
				}
			}
		})
	}
}

func TestRecordedInitials(t *testing.T) { checkAttempts(t, recorded(t)) }

// TestSelfQUICGo has quic-go send now what testdata has recorded.
func TestSelfQUICGo(t *testing.T) {
	const variable = "VERDICTD_SELFTESTS"
	if os.Getenv(variable) == "" {
		t.Skipf("%s is not set: see make selftests", variable)
	}
	out, err := exec.CommandContext(t.Context(), "go", "run", "-C", "../../../../tools/selftests", "./initials").Output()
	if err != nil {
		t.Fatalf("run quic-go: %v", err)
	}
	var list []attempt
	if err := json.Unmarshal(out, &list); err != nil {
		t.Fatal(err)
	}
	checkAttempts(t, list)
}

// TestKeys has the keys that RFC 9001, A.1 and RFC 9369, A.1 give.
func TestKeys(t *testing.T) {
	id, _ := hex.DecodeString("8394c8f03e515708")
	for version, want := range map[uint32][3]string{
		Version1: {"1f369613dd76d5467730efcbe3b1a22d", "fa044b2f42a3fd3b46fb255c", "9f50449e04a0e810283a1e9933adedd2"},
		Version2: {"8b1a0bc121284290a29e0971b5cd045d", "91f73e2351d8fa91660e909f", "45b95e15235d6f45a6b19cbcb0294ba9"},
	} {
		s := schemeOf(version)
		initial := mac(s.salt[:], id)
		client := expand(&initial, "tls13 client in", 32)
		for i, label := range []string{s.key, s.iv, s.headerKey} {
			got := expand(&client, label, len(want[i])/2)
			if got := hex.EncodeToString(got[:len(want[i])/2]); got != want[i] {
				t.Errorf("version %#x, %s: %s, want %s", version, label, got, want[i])
			}
		}
	}
}

func TestPacketNumbers(t *testing.T) {
	for _, test := range []struct {
		largest int64
		low     uint32
		bits    int
		want    int64
	}{
		{0xa82f30ea, 0x9b32, 16, 0xa82f9b32}, // RFC 9000, A.3
		{-1, 0, 8, 0},
		{-1, 200, 8, 200},
		{255, 0, 8, 256},
		{0x100, 0xff, 8, 0xff},
	} {
		if got := fullNumber(test.largest, test.low, test.bits); got != test.want {
			t.Errorf("%+v: %#x", test, got)
		}
	}
}

var (
	idA, idB = []byte("identifier A"), []byte("id B")
	source   = []byte("client")
	ack      = []byte{frameACK, 9, 0, 1, 0, 0, 1, frameACKECN, 0x40, 9, 0, 0, 3, 1, 2, 3}
)

// TestFrames: whatever stands between them, CRYPTO frames are found.
func TestFrames(t *testing.T) {
	plain := slices.Concat(make([]byte, 90), []byte{framePing}, crypto(3, []byte("def")), ack, crypto(0, nil), []byte{framePing, 0}, crypto(0, []byte("abc")), make([]byte, 900))
	for _, version := range []uint32{Version1, Version2} {
		r := newReader(t)
		r.datagram(sealed(t, version, idA, idA, source, []byte("a token"), 0, plain), nil)
		if got := r.pool.Bytes(r.buffer); string(got) != "abcdef" || r.frames != 3 {
			t.Errorf("version %#x: %q of %d frames", version, got, r.frames)
		}
	}
	for what, bad := range map[string][]byte{
		"a STREAM frame": {8, 0, 0}, "the end of the connection": {0x1c, 0, 0, 0}, "a frame that is cut": {frameCrypto, 0, 0x7f, 0xff},
		"ranges that are not there": {frameACK, 0, 0, 0x3f, 0}, "billions of ranges": {frameACK, 0, 0, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0},
	} {
		r := newReader(t)
		r.datagram(sealed(t, Version1, idA, idA, source, nil, 0, slices.Concat(crypto(0, []byte("ab")), bad, crypto(2, []byte("cd")))), nil)
		if got := string(r.pool.Bytes(r.buffer)); got != "ab" {
			t.Errorf("behind %s: %q", what, got)
		}
	}
}

// TestWhichKeys follows a connection through changes of its identifier, of its version
// and of its keys.
func TestWhichKeys(t *testing.T) {
	for _, test := range []struct {
		what      string
		datagrams [][]byte
		want      string
		closed    bool
	}{
		{"the server's identifier", [][]byte{
			sealed(t, Version1, idA, idA, source, nil, 0, crypto(0, []byte("ab"))),
			sealed(t, Version1, idA, idB, source, nil, 1, crypto(2, []byte("cd"))),
		}, "abcd", false},
		{"another version", [][]byte{
			sealed(t, Version1, idA, idA, source, nil, 0, crypto(0, []byte("ab"))),
			sealed(t, Version2, idA, idB, source, nil, 1, crypto(2, []byte("cd"))),
		}, "abcd", false},
		{"a retry", [][]byte{
			sealed(t, Version1, idA, idA, source, nil, 0, crypto(0, []byte("ab"))),
			sealed(t, Version1, idB, idB, source, []byte("token"), 1, crypto(0, []byte("AB"))),
			sealed(t, Version1, idB, idB, source, []byte("token"), 2, crypto(2, []byte("CD"))),
		}, "ABCD", false},
		{"another packet of the datagram", [][]byte{slices.Concat(
			sealed(t, Version1, idA, idA, source, nil, 0, crypto(2, []byte("cd"))),
			sealed(t, Version1, idA, idA, source, nil, 1, crypto(0, []byte("ab"))), make([]byte, 20)),
		}, "abcd", false},
		{"0-RTT before it", [][]byte{slices.Concat(
			append([]byte{0xd0, 0, 0, 0, 1, byte(len(idA))}, append(bytes.Clone(idA), 0, 1, 9)...),
			sealed(t, Version1, idA, idA, source, nil, 0, crypto(0, []byte("abcd")))),
		}, "abcd", false},
		{"another identifier in one datagram", [][]byte{slices.Concat(
			sealed(t, Version1, idA, idA, source, nil, 0, crypto(0, []byte("ab"))),
			sealed(t, Version1, idB, idB, source, nil, 1, crypto(0, []byte("XY")))),
		}, "ab", false},
		{"keys that are nobody's", [][]byte{
			sealed(t, Version1, idA, idA, source, nil, 0, crypto(0, []byte("ab"))),
			sealed(t, Version1, []byte("other"), idB, source, nil, 1, crypto(2, []byte("XY"))),
		}, "ab", true},
		{"an empty identifier", [][]byte{sealed(t, Version1, nil, nil, nil, nil, 0, crypto(0, []byte("ab")))}, "ab", false},
	} {
		r := newReader(t)
		for _, b := range test.datagrams {
			r.datagram(b, nil)
		}
		if kind, id := First(test.datagrams[0]); kind != Initial || len(test.datagrams) == 1 && r.conn.ID() != id {
			t.Errorf("%s: %+v, want %+v", test.what, r.conn.ID(), id)
		}
		if got := string(r.pool.Bytes(r.buffer)); got != test.want || r.d.Seen.Closed != test.closed {
			t.Errorf("%s: %q, %+v, want %q", test.what, got, r.d.Seen, test.want)
		}
	}
}

func TestOtherPackets(t *testing.T) {
	long := func(first byte, version uint32, rest ...byte) []byte {
		return append([]byte{first, byte(version >> 24), byte(version >> 16), byte(version >> 8), byte(version), 1, 'd', 1, 's'}, rest...)
	}
	for _, test := range []struct {
		what string
		b    []byte
		want Kind
	}{
		{"nothing", nil, NotQUIC},
		{"a short header", append([]byte{0x40}, make([]byte, 40)...), NotQUIC},
		{"DNS", []byte{0x12, 0x34, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0}, NotQUIC},
		{"a retry", long(0xf0, Version1, 1, 2), Retry},
		{"a retry of version 2", long(0xc0, Version2, 1, 2), Retry},
		{"a version negotiation", long(0x80, 0, 0, 0, 0, 1), Negotiation},
		{"an unknown version", long(0xc0, 0x1a2a3a4a, 1, 2), UnknownVersion},
		{"0-RTT", long(0xd0, Version1, 1, 2), Other},
		{"Handshake of version 2", long(0xf0, Version2, 1, 2), Other},
		{"Initial", long(0xc0, Version1, 0, 1, 2), Initial},
		{"without the fixed bit", long(0x80, Version1, 0, 1, 2), NotQUIC},
		{"a token behind the end", long(0xc0, Version1, 9, 1, 2), NotQUIC},
		{"a length behind the end", long(0xc0, Version1, 0, 2, 2), NotQUIC},
		{"an identifier of 21 bytes", append([]byte{0xc0, 0, 0, 0, 1, 21}, make([]byte, 40)...), NotQUIC},
		{"an identifier behind the end", []byte{0xc0, 0, 0, 0, 1, 2, 1}, NotQUIC},
	} {
		if p := cutPacket(test.b); p.kind != test.want {
			t.Errorf("%s: kind %d, want %d", test.what, p.kind, test.want)
		}
		if kind, id := First(test.b); kind != test.want || (id != ID{}) != (kind == Initial) {
			t.Errorf("%s: %d, %+v", test.what, kind, id)
		}
		var c Conn
		d := NewDecoder(1000)
		d.Datagram(test.b, 0)
		if f, ok := d.Next(&c); ok {
			t.Errorf("%s: a frame %+v", test.what, f)
		}
	}
}

// TestBudget: who puts another identifier into each packet gets no more keys than there
// are for all.
func TestBudget(t *testing.T) {
	d := NewDecoder(100)
	foreign := sealed(t, Version1, idB, idA, source, nil, 0, make([]byte, 30))
	at := func(now int64) {
		var c Conn
		d.Datagram(foreign, now)
		d.Next(&c)
	}
	for i := range 1000 {
		at(second + int64(i)*1000)
	}
	if d.Counters.Derived != 10 || !d.Seen.Spent || d.Counters.Spent != 990 {
		t.Errorf("%+v, want the 10 of a tenth of a second", d.Counters)
	}
	at(second * 3600)
	if d.Counters.Derived != 11 || d.Seen.Spent {
		t.Errorf("%+v after an hour", d.Counters)
	}
}

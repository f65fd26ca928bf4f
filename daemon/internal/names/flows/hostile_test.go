package flows

import (
	"slices"
	"testing"

	"verdictd/daemon/internal/names"
)

// request is one for a host.
func request(host string) []byte {
	return []byte("GET / HTTP/1.1\r\nHost: " + host + "\r\n\r\n")
}

// TestOverlaps: where bytes come twice with other content, servers differ in which they take (Linux has a segment
// that covers earlier ones take their place), and no name is read. Equal copies change nothing.
func TestOverlaps(t *testing.T) {
	shown, meant := request("allowed.example"), request("blocked.example")
	for _, test := range []struct {
		name     string
		segments [][2]int // from and to
		meant    int      // the segment that has the other content
		state    names.State
		host     string
	}{
		{"equal copies", [][2]int{{10, 30}, {0, 20}, {5, 30}, {25, len(shown)}}, -1, names.Known, "allowed.example"},
		{"the same segment again", [][2]int{{20, 40}, {20, 40}, {0, 20}}, 1, names.TooLong, ""},
		{"one that covers it", [][2]int{{22, 40}, {20, len(shown)}, {0, 20}}, 1, names.TooLong, ""},
		{"one that begins before it", [][2]int{{24, 40}, {20, 30}, {0, 20}}, 1, names.TooLong, ""},
		{"one that ends behind it", [][2]int{{20, 30}, {24, 40}, {0, 20}}, 1, names.TooLong, ""},
		{"the last one", [][2]int{{0, 30}, {20, len(shown)}}, 1, names.TooLong, ""},
	} {
		table := newTable(t, nil)
		pass(t, table, web.tcp(t, "S", 99, 0, nil), true)
		var last Result
		for i, s := range test.segments {
			data := shown
			if i == test.meant {
				data = meant
			}
			last = pass(t, table, web.tcp(t, "A", 100+uint32(s[0]), 1, data[s[0]:s[1]]), false)
		}
		want(t, test.name, last, test.state, last.Protocol, test.host)
		if table.pool.Used() != 0 {
			t.Errorf("%s: %d buffers used", test.name, table.pool.Used())
		}
	}
}

// TestUrgentData: most servers read a stream without its urgent byte, so that the name that is read here is none of
// theirs. Any process can send that (MSG_OOB).
func TestUrgentData(t *testing.T) {
	whole := request("blockXed.example")
	at := slices.Index(whole, 'X') + 1
	for _, data := range [][]byte{whole, clientHello(t, "blockXed.example")} {
		table := newTable(t, nil)
		pass(t, table, web.tcp(t, "S", 99, 0, nil), true)
		pass(t, table, web.tcp(t, "A", 100, 1, data[:10]), false)
		want(t, "an urgent byte", pass(t, table, web.tcp(t, "AU", 110, 1, data[10:at]), false), names.TooLong, table.flows[0].protocol, "")
		r := pass(t, table, web.tcp(t, "A", 100+uint32(at), 1, data[at:]), false)
		want(t, "what follows", r, names.TooLong, r.Protocol, "")
	}
}

// TestDataInSYN: servers that do not take it (RFC 7413 asks for a cookie) are sent it again, or something else.
func TestDataInSYN(t *testing.T) {
	shown, meant := request("allowed.example"), request("blocked.example")
	for _, seen := range []bool{true, false} { // whether the server's answers come by
		table := newTable(t, nil)
		want(t, "the SYN", pass(t, table, web.tcp(t, "S", 99, 0, shown), true), names.Known, HTTP, "allowed.example")
		state, host := names.TooLong, ""
		if seen {
			pass(t, table, web.back().tcp(t, "SA", 7, 100, nil), false)
			state, host = names.Known, "blocked.example"
		}
		r := pass(t, table, web.tcp(t, "A", 100, 8, meant), false)
		want(t, "the same bytes with another content", r, state, r.Protocol, host)
	}
	// Behind it, and then in its place, before the server has answered.
	table := newTable(t, nil)
	pass(t, table, web.tcp(t, "S", 99, 0, shown[:30]), true)
	want(t, "behind the SYN", pass(t, table, web.tcp(t, "A", 130, 0, shown[30:]), false), names.Known, HTTP, "allowed.example")
	pass(t, table, web.back().tcp(t, "SA", 7, 100, nil), false)
	want(t, "what the server takes", pass(t, table, web.tcp(t, "A", 100, 8, meant), false), names.Known, HTTP, "blocked.example")

	// A server that takes it, with a SYN that is sent again without data.
	table = newTable(t, nil)
	pass(t, table, web.tcp(t, "S", 99, 0, shown[:30]), true)
	pass(t, table, web.tcp(t, "S", 99, 0, nil), true)
	pass(t, table, web.back().tcp(t, "SA", 7, 130, nil), false)
	want(t, "the rest", pass(t, table, web.tcp(t, "A", 130, 8, shown[30:]), false), names.Known, HTTP, "allowed.example")

	// Questions.
	one, two := question("one.example"), question("two.example")
	table = newTable(t, nil)
	want(t, "a question", pass(t, table, resolver.tcp(t, "S", 99, 0, one), true), names.Known, DNS, "one.example")
	want(t, "sent again", pass(t, table, resolver.tcp(t, "A", 100, 8, one), false), names.Known, DNS, "one.example")
	table = newTable(t, nil)
	pass(t, table, resolver.tcp(t, "S", 99, 0, one), true)
	want(t, "another in its place", pass(t, table, resolver.tcp(t, "A", 100, 8, two), false), names.TooLong, DNS, "")
}

// TestPortOfTheClient: it is the client's to choose, and makes nothing DNS.
func TestPortOfTheClient(t *testing.T) {
	e := web
	e.clientPort = 53
	for _, data := range [][]byte{request("blocked.example"), clientHello(t, "blocked.example")} {
		table := newTable(t, nil)
		pass(t, table, e.tcp(t, "S", 99, 0, nil), true)
		r := pass(t, table, e.tcp(t, "A", 100, 1, data), false)
		want(t, "over TCP", r, names.Known, r.Protocol, "blocked.example")
	}
	name, datagrams := recorded(t, "version 1")
	table := newTable(t, nil)
	var r Result
	for _, b := range datagrams {
		r = pass(t, table, e.udp(t, b), true)
	}
	want(t, "over UDP", r, names.Known, QUIC, name)
}

// TestOneByteSegments: more packets than policy.names lets it take.
func TestOneByteSegments(t *testing.T) {
	hello := clientHello(t, "blocked.example")
	table := newTable(t, nil)
	pass(t, table, web.tcp(t, "S", 99, 0, nil), true)
	var r Result
	for i, b := range hello[:40] {
		r = pass(t, table, web.tcp(t, "A", 100+uint32(i), 1, []byte{b}), false)
	}
	want(t, "a byte each", r, names.TooLong, TLS, "")
}

// TestPipelining: the second request of a connection is not looked at, as docs/policy.md says.
func TestPipelining(t *testing.T) {
	table := newTable(t, nil)
	pass(t, table, web.tcp(t, "S", 99, 0, nil), true)
	both := append(request("allowed.example"), request("blocked.example")...)
	want(t, "both at once", pass(t, table, web.tcp(t, "A", 100, 1, both), false), names.Known, HTTP, "allowed.example")
	later := web.tcp(t, "A", 100+uint32(len(both)), 1, request("blocked.example"))
	want(t, "a later one", pass(t, table, later, false), names.Known, HTTP, "allowed.example")
}

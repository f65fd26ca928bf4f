package attacks

import (
	"fmt"
	"net/netip"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"verdictd/daemon/internal/childtest"
	"verdictd/internal/netlab"
	"verdictd/internal/testkit"
)

// emptyHost is a namespace with conntrack active.
func emptyHost(t testing.TB) *netlab.NetNS {
	t.Helper()
	testkit.Require(t)
	ns, err := netlab.NewNetNS()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := ns.Close(); err != nil {
			t.Error(err)
		}
	})
	if err := ns.ActivateConntrack(); err != nil {
		t.Fatal(err)
	}
	return ns
}

// cable joins two namespaces by a veth pair whose ends have one address each, or
// none ("").
func cable(t testing.TB, a *netlab.NetNS, linkA, addressA string, b *netlab.NetNS, linkB, addressB string) {
	t.Helper()
	end := func(ns *netlab.NetNS, link, address string) netlab.Endpoint {
		e := netlab.Endpoint{NetNS: ns, Link: link}
		if address != "" {
			e.Addresses = []netip.Prefix{netip.MustParsePrefix(address)}
		}
		return e
	}
	if err := netlab.AddVeth(end(a, linkA, addressA), end(b, linkB, addressB)); err != nil {
		t.Fatal(err)
	}
}

// The addresses of twoEnds.
var (
	nearEnd = netip.MustParseAddr("192.0.2.1")
	farEnd  = netip.MustParseAddr("192.0.2.2")
)

// twoEnds is a host with the queue and its peer, joined by near0 and far0.
func twoEnds(t testing.TB) (near, far *netlab.NetNS) {
	t.Helper()
	near, far = emptyHost(t), emptyHost(t)
	cable(t, near, "near0", nearEnd.String()+"/24", far, "far0", farEnd.String()+"/24")
	return near, far
}

// option is a socket option for burst.control.
func option(level, name, value int) func(fd int) error {
	return func(fd int) error { return unix.SetsockoptInt(fd, level, name, value) }
}

// growBuffer makes a socket's receive buffer as large as wanted, or, for an ordinary user, as the system grants.
func growBuffer(fd, bytes int) {
	if unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_RCVBUFFORCE, bytes) != nil {
		_ = unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_RCVBUF, bytes)
	}
}

// listenLarge is listen with a buffer for what a sender at full speed sends while the receiver waits for a processor.
func listenLarge(t testing.TB, ns *netlab.NetNS, at ...netip.AddrPort) *sink {
	t.Helper()
	s := listen(t, ns, at...)
	for _, conn := range s.conns {
		raw, err := conn.SyscallConn()
		if err != nil {
			t.Fatal(err)
		}
		if err := raw.Control(func(fd uintptr) { growBuffer(int(fd), 256<<20) }); err != nil {
			t.Fatal(err)
		}
	}
	return s
}

// iptables adds rules, written as on its command line, one a line.
func iptables(t testing.TB, ns *netlab.NetNS, rules string) {
	t.Helper()
	for rule := range strings.Lines(rules) {
		childtest.Shell(t, ns, "iptables -w "+rule)
	}
}

// foreignQueue is the number of the other program's queue.
const foreignQueue = 77

// queueTo sends the test's UDP packets of a hook to a queue, at mangle's priority.
func queueTo(t testing.TB, ns *netlab.NetNS, hook string, queue int) {
	t.Helper()
	iptables(t, ns, fmt.Sprintf("-t mangle -A %s -p udp --dport %d -j NFQUEUE --queue-num %d", hook, port, queue))
}

var packetsOf = regexp.MustCompile(`packets (\d+)`)

// counted reads a counter of table inet count (see countAt).
func counted(t testing.TB, ns *netlab.NetNS, name string) int {
	t.Helper()
	text := childtest.Shell(t, ns, "nft list counter inet count "+name)
	m := packetsOf.FindStringSubmatch(text)
	if m == nil {
		t.Fatalf("no counter in %q", text)
	}
	n, err := strconv.Atoi(m[1])
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// countAt counts what matches, by names, where packets come in.
func countAt(t testing.TB, ns *netlab.NetNS, matches map[string]string) {
	t.Helper()
	var b strings.Builder
	b.WriteString("table inet count {\n")
	for name := range matches {
		fmt.Fprintf(&b, "counter %s { }\n", name)
	}
	b.WriteString("chain come { type filter hook prerouting priority -400;\n")
	for name, match := range matches {
		fmt.Fprintf(&b, "%s counter name %s\n", match, name)
	}
	childtest.NFT(t, ns, b.String()+"}\n}")
}

// longest notes the longest way of a packet, in milliseconds.
func (o *outcome) longest() time.Duration {
	d := delay(o.arrivals)
	o.figures["longest_ms"] = float64(d.Milliseconds())
	return d
}

// sequenceIs matches packets of a burst by their number (see packet) in a chain of nft.
func sequenceIs(n int) string {
	const offset = (8 + 8) * 8 // from the UDP header
	return fmt.Sprintf("udp dport %d @th,%d,32 %d", port, offset, n)
}

package main

import (
	"errors"
	"net"
	"net/netip"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"verdictd/internal/config"
	"verdictd/internal/kernel"
	"verdictd/internal/kernel/kerneltest"
)

// router is the test's namespace, between a client's and a server's.
type router struct {
	t                *testing.T
	ns               *kernel.NetNS
	client, server   *kernel.NetNS
	address, outside netip.Addr // the server's, the router's beside it
}

// outerLink leads from the router to the server.
const outerLink = "right0"

func newRouter(t *testing.T, ipv6 bool) *router {
	t.Helper()
	prefix := netip.MustParsePrefix
	client, left, right, server := prefix("192.0.2.2/24"), prefix("192.0.2.1/24"), prefix("198.51.100.1/24"), prefix("198.51.100.2/24")
	if ipv6 {
		client, left, right, server = prefix("2001:db8:1::2/64"), prefix("2001:db8:1::1/64"), prefix("2001:db8:2::1/64"), prefix("2001:db8:2::2/64")
	}
	r := &router{t: t, ns: kerneltest.Namespace(t), client: newNamespace(t), server: newNamespace(t), address: server.Addr(), outside: right.Addr()}
	for _, pair := range [][2]kernel.Endpoint{
		{{NetNS: r.client, Link: "client0", Addresses: []netip.Prefix{client}}, {NetNS: r.ns, Link: "left0", Addresses: []netip.Prefix{left}}},
		{{NetNS: r.ns, Link: outerLink, Addresses: []netip.Prefix{right}}, {NetNS: r.server, Link: "server0", Addresses: []netip.Prefix{server}}},
	} {
		if err := kernel.AddVeth(pair[0], pair[1]); err != nil {
			t.Fatal(err)
		}
	}
	if err := errors.Join(
		r.client.AddRoute(right.Masked(), left.Addr()), r.server.AddRoute(left.Masked(), right.Addr()), r.ns.EnableForwarding(),
	); err != nil {
		t.Fatal(err)
	}
	return r
}

// sockets are the server's, and one of the client's that is connected to it.
func (r *router) sockets() (in, out *net.UDPConn) {
	r.t.Helper()
	to := net.UDPAddrFromAddrPort(netip.AddrPortFrom(r.address, port))
	err := errors.Join(
		r.server.Do(func() (err error) { in, err = net.ListenUDP("udp", to); return err }),
		r.client.Do(func() (err error) { out, err = net.DialUDP("udp", nil, to); return err }))
	if err != nil {
		r.t.Fatal(err)
	}
	r.t.Cleanup(func() { _, _ = in.Close(), out.Close() })
	return in, out
}

// forwardConfig has the daemon think a while over each flow's first packet.
func forwardConfig() *config.Config {
	cfg := testConfig()
	cfg.Rules.Placement = config.PlacementForward
	cfg.Analysis = config.Analysis{Distribution: config.DistributionFixed, Delay: 3 * time.Millisecond, Per: config.PerFlow}
	return cfg
}

// TestForwardedHeaders: FORWARD comes after the hop limit was lowered, and the
// copy, which this machine seems to have sent, must not have it lowered again.
func TestForwardedHeaders(t *testing.T) {
	for name, ipv6 := range map[string]bool{"IPv4": false, "IPv6": true} {
		t.Run(name, func(t *testing.T) {
			r := newRouter(t, ipv6)
			cfg := forwardConfig()
			cfg.Guard.EntryQueues = false // so that all further ones are copies
			d := start(t, r.ns, cfg)
			in, out := r.sockets()
			const hops, class = 9, 0x20
			option(t, out, unix.SOL_IP, unix.IP_TTL, hops, !ipv6)
			option(t, out, unix.SOL_IP, unix.IP_TOS, class, !ipv6)
			option(t, out, unix.SOL_IPV6, unix.IPV6_UNICAST_HOPS, hops, ipv6)
			option(t, out, unix.SOL_IPV6, unix.IPV6_TCLASS, class, ipv6)
			option(t, in, unix.SOL_IP, unix.IP_RECVTTL, 1, !ipv6)
			option(t, in, unix.SOL_IP, unix.IP_RECVTOS, 1, !ipv6)
			option(t, in, unix.SOL_IPV6, unix.IPV6_RECVHOPLIMIT, 1, ipv6)
			option(t, in, unix.SOL_IPV6, unix.IPV6_RECVTCLASS, 1, ipv6)
			for range 3 {
				if _, err := out.Write([]byte("hey")); err != nil {
					t.Fatal(err)
				}
			}
			for i := range 3 {
				if gotHops, gotClass := headers(t, in); gotHops != hops-1 || gotClass != class {
					t.Errorf("packet %d: %d hops left, class %#x, want %d and %#x", i+1, gotHops, gotClass, hops-1, class)
				}
			}
			if s := d.stop(); s.Total.Reinjected != 2 {
				t.Errorf("counters: %+v; want two packets to be sent anew", s.Total.Counters)
			}
		})
	}
}

func newNamespace(t *testing.T) *kernel.NetNS {
	t.Helper()
	ns, err := kernel.NewNetNS()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = ns.Close() })
	return ns
}

func option(t *testing.T, c *net.UDPConn, level, name, value int, wanted bool) {
	t.Helper()
	if !wanted {
		return
	}
	raw, err := c.SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	var optErr error
	if err := raw.Control(func(fd uintptr) { optErr = unix.SetsockoptInt(int(fd), level, name, value) }); err != nil || optErr != nil {
		t.Fatal(err, optErr)
	}
}

// headers receives a packet and returns what its control messages tell.
func headers(t *testing.T, c *net.UDPConn) (hops, class int) {
	t.Helper()
	if err := c.SetReadDeadline(time.Now().Add(2 * time.Second)); err != nil {
		t.Fatal(err)
	}
	b, control := make([]byte, 100), make([]byte, 200)
	_, n, _, _, err := c.ReadMsgUDPAddrPort(b, control)
	if err != nil {
		t.Fatal(err)
	}
	messages, err := unix.ParseSocketControlMessage(control[:n])
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range messages {
		switch m.Header.Type {
		case unix.IP_TTL, unix.IPV6_HOPLIMIT:
			hops = int(m.Data[0])
		case unix.IP_TOS, unix.IPV6_TCLASS:
			class = int(m.Data[0])
		}
	}
	return hops, class
}

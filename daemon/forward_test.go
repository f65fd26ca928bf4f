package main

import (
	"net"
	"net/netip"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"verdictd/internal/config"
	"verdictd/internal/kernel"
	"verdictd/internal/kernel/kerneltest"
)

// TestForwardedHeaders: FORWARD comes after the hop limit was lowered, and the
// copy, which this machine seems to have sent, must not have it lowered again.
func TestForwardedHeaders(t *testing.T) {
	for name, ends := range map[string]struct{ client, router1, router2, server string }{
		"IPv4": {"192.0.2.2/24", "192.0.2.1/24", "198.51.100.1/24", "198.51.100.2/24"},
		"IPv6": {"2001:db8:1::2/64", "2001:db8:1::1/64", "2001:db8:2::1/64", "2001:db8:2::2/64"},
	} {
		t.Run(name, func(t *testing.T) {
			router := kerneltest.Namespace(t)
			client, server := newNamespace(t), newNamespace(t)
			prefix := netip.MustParsePrefix
			link := func(a, b *kernel.NetNS, nameA, nameB, addressA, addressB string) {
				t.Helper()
				err := kernel.AddVeth(
					kernel.Endpoint{NetNS: a, Link: nameA, Addresses: []netip.Prefix{prefix(addressA)}},
					kernel.Endpoint{NetNS: b, Link: nameB, Addresses: []netip.Prefix{prefix(addressB)}})
				if err != nil {
					t.Fatal(err)
				}
			}
			link(client, router, "client0", "left0", ends.client, ends.router1)
			link(router, server, "right0", "server0", ends.router2, ends.server)
			for _, route := range []struct {
				ns      *kernel.NetNS
				to, via string
			}{{client, ends.router2, ends.router1}, {server, ends.router1, ends.router2}} {
				if err := route.ns.AddRoute(prefix(route.to).Masked(), prefix(route.via).Addr()); err != nil {
					t.Fatal(err)
				}
			}
			if err := router.EnableForwarding(); err != nil {
				t.Fatal(err)
			}
			cfg := testConfig()
			cfg.Rules.Placement, cfg.Guard.EntryQueues = config.PlacementForward, false // so that all further ones are copies
			cfg.Analysis = config.Analysis{Distribution: config.DistributionFixed, Delay: 3 * time.Millisecond, Per: config.PerFlow}
			d := start(t, router, cfg)

			to := netip.AddrPortFrom(prefix(ends.server).Addr(), port)
			var in, out *net.UDPConn
			err := server.Do(func() (err error) { in, err = net.ListenUDP("udp", net.UDPAddrFromAddrPort(to)); return err })
			if err != nil {
				t.Fatal(err)
			}
			defer func() { _ = in.Close() }()
			err = client.Do(func() (err error) { out, err = net.DialUDP("udp", nil, net.UDPAddrFromAddrPort(to)); return err })
			if err != nil {
				t.Fatal(err)
			}
			defer func() { _ = out.Close() }()
			const hops, class = 9, 0x20
			option(t, out, unix.SOL_IP, unix.IP_TTL, hops, to.Addr().Is4())
			option(t, out, unix.SOL_IP, unix.IP_TOS, class, to.Addr().Is4())
			option(t, out, unix.SOL_IPV6, unix.IPV6_UNICAST_HOPS, hops, to.Addr().Is6())
			option(t, out, unix.SOL_IPV6, unix.IPV6_TCLASS, class, to.Addr().Is6())
			option(t, in, unix.SOL_IP, unix.IP_RECVTTL, 1, to.Addr().Is4())
			option(t, in, unix.SOL_IP, unix.IP_RECVTOS, 1, to.Addr().Is4())
			option(t, in, unix.SOL_IPV6, unix.IPV6_RECVHOPLIMIT, 1, to.Addr().Is6())
			option(t, in, unix.SOL_IPV6, unix.IPV6_RECVTCLASS, 1, to.Addr().Is6())
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

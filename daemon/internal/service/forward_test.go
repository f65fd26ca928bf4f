package service

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"verdictd/internal/config"
	"verdictd/internal/netlab"
	"verdictd/internal/testkit"
	"verdictd/internal/vocabulary"
)

// router is the test's namespace, between a client's and a server's.
type router struct {
	t                *testing.T
	ns               *netlab.NetNS
	client, server   *netlab.NetNS
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
	r := &router{t: t, ns: testkit.Namespace(t), client: newNamespace(t), server: newNamespace(t), address: server.Addr(), outside: right.Addr()}
	for _, pair := range [][2]netlab.Endpoint{
		{{NetNS: r.client, Link: "client0", Addresses: []netip.Prefix{client}}, {NetNS: r.ns, Link: "left0", Addresses: []netip.Prefix{left}}},
		{{NetNS: r.ns, Link: outerLink, Addresses: []netip.Prefix{right}}, {NetNS: r.server, Link: "server0", Addresses: []netip.Prefix{server}}},
	} {
		if err := netlab.AddVeth(pair[0], pair[1]); err != nil {
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
	to := netip.AddrPortFrom(r.address, port)
	return listen(r.t, r.server, to), dial(r.t, r.client, to)
}

// forwardConfig has the daemon think a while over each flow's first packet.
func forwardConfig(mode vocabulary.GuardMode) *config.Config {
	cfg := testConfig()
	cfg.Rules.Placement, cfg.Guard.Mode, cfg.Analysis = vocabulary.PlacementForward, mode, perFlow(10*time.Millisecond)
	return cfg
}

var ipVersions = map[string]bool{"IPv4": false, "IPv6": true}

// TestForwardedHeaders: the hop limit is lowered once, between the gate and FORWARD.
func TestForwardedHeaders(t *testing.T) {
	for name, ipv6 := range ipVersions {
		t.Run(name, func(t *testing.T) {
			bothModes(t, func(t *testing.T, mode vocabulary.GuardMode) {
				r := newRouter(t, ipv6)
				d := start(t, r.ns, forwardConfig(mode))
				in, out := r.sockets()
				const hops, class = 9, 0x20
				if ipv6 {
					option(t, out, unix.SOL_IPV6, unix.IPV6_UNICAST_HOPS, hops)
					option(t, out, unix.SOL_IPV6, unix.IPV6_TCLASS, class)
					option(t, in, unix.SOL_IPV6, unix.IPV6_RECVHOPLIMIT, 1)
					option(t, in, unix.SOL_IPV6, unix.IPV6_RECVTCLASS, 1)
				} else {
					option(t, out, unix.SOL_IP, unix.IP_TTL, hops)
					option(t, out, unix.SOL_IP, unix.IP_TOS, class)
					option(t, in, unix.SOL_IP, unix.IP_RECVTTL, 1)
					option(t, in, unix.SOL_IP, unix.IP_RECVTOS, 1)
				}
				write(t, out, "one", "two", "three")
				for i := range 3 {
					if gotHops, gotClass := headers(t, in); gotHops != hops-1 || gotClass != class {
						t.Errorf("packet %d: %d hops left, class %#x, want %d and %#x", i+1, gotHops, gotClass, hops-1, class)
					}
				}
				s := d.stop()
				checkClashes(t, mode, &s, 1)
			})
		})
	}
}

// TestAnswersBehindNAT: masqueraded flows, and their answers, which meet the gate with
// the router's address and the queue with the client's.
func TestAnswersBehindNAT(t *testing.T) {
	for name, ipv6 := range ipVersions {
		t.Run(name, func(t *testing.T) {
			r := newRouter(t, ipv6)
			if err := r.ns.Masquerade(outerLink); err != nil {
				t.Fatal(err)
			}
			cfg := forwardConfig(vocabulary.GuardHold)
			cfg.Rules.DestinationPorts = nil // answers are to be judged as well
			d := start(t, r.ns, cfg)
			in, out := r.sockets()
			write(t, out, "0", "1", "2")
			from := want(t, in, "0", "1", "2")
			if from.Addr().Unmap() != r.outside {
				t.Errorf("packets from %v, want %v", from, r.outside)
			}
			var answers []string
			for i := range 20 {
				answers = append(answers, fmt.Sprint(i))
				if _, err := in.WriteToUDPAddrPort([]byte(answers[i]), from); err != nil {
					t.Fatal(err)
				}
			}
			want(t, out, answers...)
			s := d.stop()
			if s.Total.Received != 23 {
				t.Errorf("%d packets were judged, want 23", s.Total.Received)
			}
			checkClashes(t, vocabulary.GuardHold, &s, 1)
			if g := s.Gate.Total; g.Confirmed+g.Dark != g.Held {
				t.Errorf("gate: %+v; want all that was held to be confirmed", s.Gate.Total)
			}
		})
	}
}

// headers receives a packet and returns what its control messages tell.
func headers(t *testing.T, c *net.UDPConn) (hops, class int) {
	t.Helper()
	if err := c.SetReadDeadline(time.Now().Add(20 * time.Second)); err != nil {
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

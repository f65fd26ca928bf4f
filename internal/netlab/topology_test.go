package netlab_test

import (
	"net"
	"net/netip"
	"testing"
	"time"

	"verdictd/internal/netlab"
	"verdictd/internal/testkit"
)

// TestDelivers sends one packet from every source in every topology, and has it answered.
func TestDelivers(t *testing.T) {
	testkit.Require(t)
	const port = 9
	for _, f := range netlab.Families() {
		for _, kind := range []netlab.TopologyKind{netlab.Loopback, netlab.TwoHosts, netlab.Routed} {
			t.Run(string(kind)+" "+f, func(t *testing.T) {
				top, err := netlab.NewTopology(kind, f)
				if err != nil {
					t.Fatal(err)
				}
				defer func() {
					if err := top.Close(); err != nil {
						t.Error(err)
					}
				}()
				n := netlab.Networks[f]
				receiver := listen(t, top.Receiver, netip.AddrPortFrom(n.Target, port))
				sources := n.SourceList()
				if len(sources) != netlab.SourceCount {
					t.Fatalf("%d sources, want %d", len(sources), netlab.SourceCount)
				}
				for _, source := range sources {
					sender := listen(t, top.Sender, netip.AddrPortFrom(source, 0))
					if _, err := sender.WriteToUDPAddrPort([]byte("there"), netip.AddrPortFrom(n.Target, port)); err != nil {
						t.Fatal(err)
					}
					from := receive(t, receiver, "there")
					if from.Addr() != source {
						t.Errorf("from %v, sent from %v", from, source)
					}
					if _, err := receiver.WriteToUDPAddrPort([]byte("back"), from); err != nil {
						t.Fatal(err)
					}
					receive(t, sender, "back")
				}
			})
		}
	}
}

// TestRoles checks where the queue is: on the way, and nowhere else.
func TestRoles(t *testing.T) {
	testkit.Require(t)
	for kind, want := range map[netlab.TopologyKind]int{netlab.Loopback: 1, netlab.TwoHosts: 2, netlab.Routed: 3} {
		top, err := netlab.NewTopology(kind, "ipv4")
		if err != nil {
			t.Fatal(err)
		}
		distinct := map[*netlab.NetNS]bool{top.Sender: true, top.Receiver: true, top.Queue: true}
		if len(distinct) != want || top.Owned() != want {
			t.Errorf("%s: %d namespaces, want %d", kind, len(distinct), want)
		}
		if kind == netlab.TwoHosts && top.Queue != top.Receiver {
			t.Errorf("%s: the queue is not the receiver's", kind)
		}
		if err := top.Close(); err != nil {
			t.Error(err)
		}
	}
}

func TestUnknown(t *testing.T) {
	if _, err := netlab.NewTopology(netlab.Loopback, "ipx"); err == nil {
		t.Error("a topology for ipx")
	}
	if _, err := netlab.NewTopology("ring", "ipv4"); err == nil {
		t.Error("a topology in a ring")
	}
}

func listen(t *testing.T, ns *netlab.NetNS, at netip.AddrPort) *net.UDPConn {
	t.Helper()
	var conn *net.UDPConn
	err := ns.Do(func() (err error) {
		conn, err = net.ListenUDP("udp", net.UDPAddrFromAddrPort(at))
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	return conn
}

func receive(t *testing.T, conn *net.UDPConn, want string) netip.AddrPort {
	t.Helper()
	buf := make([]byte, 64)
	if err := conn.SetReadDeadline(time.Now().Add(5 * time.Second)); err != nil {
		t.Fatal(err)
	}
	n, from, err := conn.ReadFromUDPAddrPort(buf)
	if err != nil || string(buf[:n]) != want {
		t.Fatalf("received %q, error %v; want %q", buf[:n], err, want)
	}
	return netip.AddrPortFrom(from.Addr().Unmap(), from.Port())
}

// TestSpread sends from many ports to the virtual address: each of the receiver's addresses gets some.
func TestSpread(t *testing.T) {
	testkit.Require(t)
	const port = 9
	for _, family := range netlab.Families() {
		top, err := netlab.NewTopology(netlab.Routed, family)
		if err != nil {
			t.Fatal(err)
		}
		n := netlab.Networks[family]
		if err := top.Spread(family); err != nil {
			t.Fatal(err)
		}
		for _, backend := range n.Backends() {
			receiver := listen(t, top.Receiver, netip.AddrPortFrom(backend, port))
			sender := listen(t, top.Sender, netip.AddrPortFrom(n.Sources, 0))
			for range 20 { // one in two arrives here
				if _, err := sender.WriteToUDPAddrPort([]byte("there"), netip.AddrPortFrom(n.Virtual, port)); err != nil {
					t.Fatal(err)
				}
				sender = listen(t, top.Sender, netip.AddrPortFrom(n.Sources, 0))
			}
			receive(t, receiver, "there")
		}
		if err := top.Close(); err != nil {
			t.Error(err)
		}
	}
}

// TestRedirect sends to the virtual address; the target gets it, and its answer seems to come from where it was sent.
func TestRedirect(t *testing.T) {
	testkit.Require(t)
	const port = 9
	for _, family := range netlab.Families() {
		for _, kind := range []netlab.TopologyKind{netlab.Loopback, netlab.TwoHosts, netlab.Routed} {
			top, err := netlab.NewTopology(kind, family)
			if err != nil {
				t.Fatal(err)
			}
			n := netlab.Networks[family]
			if err := top.Redirect(family); err != nil {
				t.Fatal(err)
			}
			receiver := listen(t, top.Receiver, netip.AddrPortFrom(n.Target, port))
			sender := listen(t, top.Sender, netip.AddrPortFrom(n.Sources, 0))
			if _, err := sender.WriteToUDPAddrPort([]byte("there"), netip.AddrPortFrom(n.Virtual, port)); err != nil {
				t.Fatal(err)
			}
			from := receive(t, receiver, "there")
			if _, err := receiver.WriteToUDPAddrPort([]byte("back"), from); err != nil {
				t.Fatal(err)
			}
			if from := receive(t, sender, "back"); from.Addr() != n.Virtual {
				t.Errorf("%s, %s: the answer comes from %v, not from %v", kind, family, from, n.Virtual)
			}
			if err := top.Close(); err != nil {
				t.Error(err)
			}
		}
	}
}

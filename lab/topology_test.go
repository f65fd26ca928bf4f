package main

import (
	"errors"
	"net"
	"net/netip"
	"testing"
	"time"

	"verdictd/internal/kernel"
	"verdictd/internal/kernel/kerneltest"
)

// TestTopologyDelivers sends one packet from every source in every topology, and has it answered.
func TestTopologyDelivers(t *testing.T) {
	kerneltest.Require(t)
	for _, f := range values[family] {
		for _, p := range values[placement] {
			t.Run(p+" "+f, func(t *testing.T) {
				top, err := newTopology(p, f)
				if err != nil {
					t.Fatal(err)
				}
				defer func() {
					if err := top.Close(); err != nil {
						t.Error(err)
					}
				}()
				n := networks[f]
				receiver := listen(t, top.receiver, netip.AddrPortFrom(n.target, port))
				sources := n.sourceList()
				if len(sources) != sourceCount {
					t.Fatalf("%d sources, want %d", len(sources), sourceCount)
				}
				for _, source := range sources {
					sender := listen(t, top.sender, netip.AddrPortFrom(source, 0))
					if _, err := sender.WriteToUDPAddrPort([]byte("there"), netip.AddrPortFrom(n.target, port)); err != nil {
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

// TestTopologyRoles checks where the queue is: on the way, and nowhere else.
func TestTopologyRoles(t *testing.T) {
	kerneltest.Require(t)
	for p, want := range map[string]int{"none": 1, "output": 1, "postrouting": 1, "input": 2, "verdict3": 2, "forward": 3} {
		top, err := newTopology(p, "ipv4")
		if err != nil {
			t.Fatal(err)
		}
		distinct := map[*kernel.NetNS]bool{top.sender: true, top.receiver: true, top.queue: true}
		if len(distinct) != want || len(top.owned) != want {
			t.Errorf("%s: %d namespaces, want %d", p, len(distinct), want)
		}
		if (p == "input" || p == "verdict3") && top.queue != top.receiver {
			t.Errorf("%s: the queue is not the receiver's", p)
		}
		if err := top.Close(); err != nil {
			t.Error(err)
		}
	}
	if _, err := newTopology("output", "ipx"); err == nil {
		t.Error("a topology for ipx")
	}
}

func listen(t *testing.T, ns *kernel.NetNS, at netip.AddrPort) *net.UDPConn {
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
	if err = errors.Join(err); err != nil || string(buf[:n]) != want {
		t.Fatalf("received %q, error %v; want %q", buf[:n], err, want)
	}
	return netip.AddrPortFrom(from.Addr().Unmap(), from.Port())
}

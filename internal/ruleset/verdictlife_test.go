package ruleset

import (
	"encoding/binary"
	"errors"
	"net"
	"net/netip"
	"strings"
	"syscall"
	"testing"

	"github.com/ti-mo/conntrack"
	"golang.org/x/sys/unix"

	"verdictd/internal/netlab"
	"verdictd/internal/nfq"
	"verdictd/internal/testkit"
	"verdictd/internal/vocabulary"
)

// Every placement with conntrack installs with verdicts for flows and is left alone a second
// time, every other one says what to do.
func TestVerdictsLifecycle(t *testing.T) {
	for _, placement := range vocabulary.Placements()[1:] {
		t.Run(string(placement), func(t *testing.T) {
			testkit.Namespace(t)
			c := flowRules(placement)
			if !placement.Exposed() {
				if _, err := Install(c); err == nil || !strings.Contains(err.Error(), "choose another placement") {
					t.Errorf("error %v", err)
				}
				c.Verdicts = &Verdicts{Mark: packetMarks}
			}
			i := install(t, c)
			if change, err := i.Apply(c); err != nil || change.Any() {
				t.Errorf("applied twice: %+v, error %v", change, err)
			}
			if change, err := i.Check(); err != nil || change.Any() {
				t.Errorf("checked: %+v, error %v", change, err)
			}
			want := uint16(0)
			if placement.Exposed() {
				want = 1
			}
			if got := i.Generation(); got != want {
				t.Errorf("generation %d, want %d", got, want)
			}
		})
	}
}

// Masks that cannot be are refused.
func TestVerdictsConfig(t *testing.T) {
	for _, v := range []Verdicts{{}, {Mark: 0xff, ConnMark: 0xfff}, {Mark: 0xff0ff}, {Mark: 0xff, ConnMark: 0xf}} {
		c := flowRules(vocabulary.PlacementOutput)
		c.Verdicts = &v
		if err := c.validate(); err == nil {
			t.Errorf("taken: %+v", v)
		}
	}
}

// Who takes a table over begins another generation: what the process before has judged is
// void, at once and for all flows. So it is where the table is gone, and the flows are not.
func TestVerdictsOfAnotherProcess(t *testing.T) {
	for _, gone := range []bool{false, true} {
		ns := testkit.Namespace(t)
		c := flowRules(vocabulary.PlacementOutput)
		j := judged(t, c)
		j.set(vocabulary.MarkAccept, true)
		_, _, loopback := ends(false)
		f := open(t, ns, ns, at(loopback))
		f.deliver()
		if gone {
			if err := j.rules.Remove(); err != nil {
				t.Fatal(err)
			}
		}
		f.deliver()
		j.expect(t, "before", 0)

		next, err := Install(c)
		if err != nil {
			t.Fatal(err)
		}
		want := uint16(2)
		if gone {
			want = 1
		}
		if g := next.Generation(); g != want {
			t.Errorf("gone %v: generation %d, want %d", gone, g, want)
		}
		f.deliver() // judged by the one before still: its verdict is for the packet
		f.deliver()
		want = 2
		if gone {
			want = 1 // that process has this generation, too
		}
		if got := j.take(); len(got) != int(want) {
			t.Errorf("gone %v: %d packets were queued, want %d", gone, len(got), want)
		}
	}
}

// No flow comes to a verdict of another policy by a generation that is used again.
func TestGenerationsComeAgain(t *testing.T) {
	testkit.Namespace(t)
	c := flowRules(vocabulary.PlacementOutput)
	c.Verdicts = &Verdicts{Mark: 0x1f00, ConnMark: 0x1f} // 6 generations
	i := install(t, c)
	library, err := conntrack.Dial(nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = library.Close() })
	const others = 0xabc00000
	for g := range uint16(7) {
		f := conntrack.NewFlow(unix.IPPROTO_UDP, 0, netip.MustParseAddr("192.0.2.1"), netip.MustParseAddr("192.0.2.2"), 1000+g, 53, 300,
			others|c.Verdicts.ConnMark.Value(vocabulary.MarkAccept, g))
		if err := library.Create(f); err != nil {
			t.Fatal(err)
		}
	}
	for round := range 14 {
		g, err := i.Renew()
		if err != nil {
			t.Fatal(err)
		}
		list, err := library.Dump(nil)
		if err != nil {
			t.Fatal(err)
		}
		for _, f := range list {
			if _, of := c.Verdicts.ConnMark.Read(f.Mark); of == g || f.Mark&others != others {
				t.Errorf("round %d: an entry has mark %#x in generation %d", round, f.Mark, g)
			}
		}
	}
}

// Verdicts go with the flow through NAT, in both directions, and a dropped one is known by
// what the hook sees.
func TestVerdictsWithNAT(t *testing.T) {
	for _, family := range netlab.Families() {
		t.Run(family, func(t *testing.T) {
			testkit.Require(t)
			top, err := netlab.NewTopology(netlab.Routed, family)
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { _ = top.Close() })
			if err := errors.Join(top.Masquerade(), top.Redirect(family)); err != nil {
				t.Fatal(err)
			}
			leave, err := top.Queue.Enter()
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { _ = leave() })
			j := judged(t, flowRules(vocabulary.PlacementForward))
			f := open(t, top.Sender, top.Receiver, at(netlab.Networks[family].Target))
			virtual := netip.AddrPortFrom(netlab.Networks[family].Virtual, f.server.LocalAddr().(*net.UDPAddr).AddrPort().Port())
			for _, verdict := range []vocabulary.MarkVerdict{vocabulary.MarkAccept, vocabulary.MarkDrop} {
				f.dialTo(top.Sender, virtual)
				j.set(verdict, true)
				before := j.answered()
				f.send(1)
				j.await(t, before+1)
				for range 20 {
					f.send(1)
				}
				for n := range 21 {
					if verdict == vocabulary.MarkAccept && !f.receive(surely) {
						t.Fatalf("packet %d of an accepted flow was lost", n)
					}
				}
				if f.receive(hardly) {
					t.Error("a packet of a dropped flow was delivered")
				}
				j.expect(t, "translated", 0)
			}
		})
	}
}

// dialTo gives the flow a client with a new port that sends elsewhere.
func (f *flow) dialTo(from *netlab.NetNS, to netip.AddrPort) {
	f.t.Helper()
	err := from.Do(func() error {
		client, err := net.DialUDP("udp", nil, net.UDPAddrFromAddrPort(to))
		f.client = client
		return err
	})
	if err != nil {
		f.t.Fatal(err)
	}
	client := f.client
	f.t.Cleanup(func() { client.Close() })
}

// An error of ICMP belongs to the flow that it is about: it goes on or is dropped with it, and is judged where the
// flow is not.
func TestVerdictsOnErrors(t *testing.T) {
	for _, test := range []struct {
		name   string
		judged judgement
		queued int // errors
		told   bool
	}{
		{"no verdict for the flow", judgement{vocabulary.MarkAccept, false}, 1, true},
		{"an accepted flow", judgement{vocabulary.MarkAccept, true}, 0, true},
		{"a dropped flow", judgement{vocabulary.MarkDrop, true}, 0, false},
	} {
		t.Run(test.name, func(t *testing.T) {
			ns := testkit.Namespace(t)
			c := flowRules(vocabulary.PlacementInput)
			c.Protocols = nil
			j := judged(t, c)
			_, _, loopback := ends(false)
			f := open(t, ns, ns, at(loopback))
			f.deliver() // conntrack has the flow from here on
			came := 0
			j.setBy(func(p *nfq.Packet) judgement {
				if p.Payload[9] == unix.IPPROTO_ICMP {
					came++
					return judgement{vocabulary.MarkAccept, false}
				}
				return test.judged
			})
			f.send(1)
			j.await(t, 2)
			f.unreachable()
			if test.told && !f.refused() {
				t.Error("the error did not arrive")
			}
			if !test.told && f.refusedWithin(hardly) {
				t.Error("the error arrived")
			}
			j.mu.Lock()
			defer j.mu.Unlock()
			if came != test.queued {
				t.Errorf("%d errors came to the queue, want %d", came, test.queued)
			}
		})
	}
}

// unreachable tells the client that the server's port is not reachable.
func (f *flow) unreachable() {
	f.t.Helper()
	from, to := f.client.LocalAddr().(*net.UDPAddr).AddrPort(), f.client.RemoteAddr().(*net.UDPAddr).AddrPort()
	b := make([]byte, 36) // ICMP, and the IPv4 and UDP headers of what it is about
	b[0], b[1] = 3, 3
	ip, udp := b[8:28], b[28:]
	ip[0], ip[3], ip[8], ip[9] = 0x45, 28, 64, unix.IPPROTO_UDP
	copy(ip[12:], from.Addr().Unmap().AsSlice())
	copy(ip[16:], to.Addr().Unmap().AsSlice())
	binary.BigEndian.PutUint16(ip[10:], checksum(ip))
	binary.BigEndian.PutUint16(udp, from.Port())
	binary.BigEndian.PutUint16(udp[2:], to.Port())
	udp[5] = 8
	binary.BigEndian.PutUint16(b[2:], checksum(b))
	c, err := net.Dial("ip4:icmp", from.Addr().Unmap().String())
	if err != nil {
		f.t.Fatal(err)
	}
	defer c.Close()
	if _, err := c.Write(b); err != nil {
		f.t.Fatal(err)
	}
}

// checksum is that of RFC 1071.
func checksum(b []byte) uint16 {
	sum := uint32(0)
	for i := 0; i < len(b); i += 2 {
		sum += uint32(b[i])<<8 | uint32(b[i+1])
	}
	sum = sum&0xffff + sum>>16
	return ^uint16(sum + sum>>16)
}

// Turned on and off while packets wait, every packet is judged, and none is lost.
func TestVerdictsTurnedOnAndOff(t *testing.T) {
	ns := testkit.Namespace(t)
	with := flowRules(vocabulary.PlacementOutput)
	without := with
	without.Verdicts = nil
	j := judged(t, without)
	_, _, loopback := ends(false)
	f := open(t, ns, ns, at(loopback))
	for n, c := range []Config{with, without, with} {
		hold := make(chan struct{})
		j.setBy(func(*nfq.Packet) judgement { <-hold; return judgement{vocabulary.MarkAccept, false} })
		f.send(1)
		if _, err := j.rules.Apply(c); err != nil {
			t.Fatal(err)
		}
		close(hold)
		if !f.receive(surely) {
			t.Errorf("change %d: the packet that waited was lost", n)
		}
		// A base chain that was added before the one that has queued it moves that one behind
		// the packet's place: it may have been judged twice.
		j.take()
		j.set(vocabulary.MarkAccept, c.Verdicts != nil)
		f.deliver()
		f.deliver()
		if c.Verdicts != nil {
			j.expect(t, "a flow that is kept", 0)
		} else {
			j.expect(t, "two packets", 0, 0)
		}
		if err := j.rules.Sweep(); err != nil {
			t.Fatal(err)
		}
	}
}

// The rules of both parts may be put back after somebody has taken one of the base chains.
func TestUnmarkComesBeforeQueueAgain(t *testing.T) {
	ns := testkit.Namespace(t)
	j := judged(t, flowRules(vocabulary.PlacementOutput))
	j.set(vocabulary.MarkDrop, false)
	for _, chain := range []string{"output", "output-unmark"} {
		have, err := readTable("verdictd")
		if err == nil {
			err = commit(append(have.empty("verdictd", func(c string) bool { return c == chain }), tableMessage("verdictd", unix.NFT_MSG_DELCHAIN, text(unix.NFTA_CHAIN_NAME, chain))))
		}
		if err != nil {
			t.Fatal(err)
		}
		if _, err := j.rules.Apply(j.rules.Config()); err != nil {
			t.Fatal(err)
		}
		_, _, loopback := ends(false)
		f := open(t, ns, ns, at(loopback))
		f.setMark(packetMarks.Value(vocabulary.MarkAccept, 0))
		if _, err := f.client.Write([]byte("x")); err != nil && !errors.Is(err, syscall.EPERM) {
			t.Fatal(err)
		}
		if f.receive(hardly) {
			t.Errorf("%s was made again: a forged mark is a verdict", chain)
		}
	}
}

// What is dropped behind the gate does not come to it; what is accepted does, until its flow
// is settled.
func TestVerdictsBehindTheGate(t *testing.T) {
	bothFamilies(t, func(t *testing.T, ipv6 bool) {
		for _, verdict := range []vocabulary.MarkVerdict{vocabulary.MarkDrop, vocabulary.MarkReject} {
			ns := testkit.Namespace(t)
			c, g := flowRules(vocabulary.PlacementOutput), unzoned()
			alone := gateAlone(g)
			gate := listen(t, alone, nil)
			c.Gate = &g
			j := judged(t, c)
			j.set(verdict, true)
			_, _, loopback := ends(ipv6)
			f := open(t, ns, ns, at(loopback))
			f.send(1)
			j.await(t, 1)
			for range 50 {
				f.sendMaybe()
			}
			if f.receive(hardly) {
				t.Error("delivered")
			}
			j.expect(t, "a refused flow", 0)
			expectQueues(t, "a refused flow", gate, arrivals)
			if _, err := j.rules.Renew(); err != nil {
				t.Fatal(err)
			}
			j.set(vocabulary.MarkAccept, true)
			f.refusedBefore()
			f.deliver()
			f.deliver()
			j.expect(t, "an accepted flow", 0)
			expectQueues(t, "an accepted flow", gate, arrivals, arrivals)
		}
	})
}

// Two tables that keep verdicts in the same bits would take each other's for their own.
func TestVerdictsOfTwo(t *testing.T) {
	testkit.Namespace(t)
	install(t, flowRules(vocabulary.PlacementOutput))
	c := flowRules(vocabulary.PlacementInput)
	c.Table, c.FirstQueue = "verdictd-2", 20
	if _, err := Install(c); err == nil || !strings.Contains(err.Error(), "rules.connmark_mask") {
		t.Errorf("error %v", err)
	}
	c.Verdicts.ConnMark = 0xff0000
	install(t, c)
}

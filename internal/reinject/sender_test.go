package reinject_test

import (
	"bytes"
	"encoding/binary"
	"errors"
	"net"
	"net/netip"
	"runtime"
	"slices"
	"testing"
	"time"

	"github.com/google/gopacket"
	"github.com/google/gopacket/layers"
	"github.com/google/nftables"
	"github.com/google/nftables/expr"
	"golang.org/x/sys/unix"

	"verdictd/internal/kernel"
	"verdictd/internal/kernel/kerneltest"
	"verdictd/internal/nfq"
	"verdictd/internal/reinject"
	"verdictd/internal/ruleset"
)

func TestMain(m *testing.M) { kerneltest.Main(m) }

const (
	bit  = 1 << 30
	port = 5300
)

// datagram is a UDP packet as a queue would bring it.
func datagram(t testing.TB, src, dst netip.Addr, payload []byte) []byte {
	t.Helper()
	udp := &layers.UDP{SrcPort: 4000, DstPort: port}
	var ip gopacket.SerializableLayer
	if dst.Is4() {
		l := &layers.IPv4{Version: 4, TTL: 61, TOS: 0x20, Id: 7, Flags: layers.IPv4DontFragment, Protocol: layers.IPProtocolUDP, SrcIP: src.AsSlice(), DstIP: dst.AsSlice()}
		ip = l
		_ = udp.SetNetworkLayerForChecksum(l)
	} else {
		l := &layers.IPv6{Version: 6, HopLimit: 61, TrafficClass: 0x20, FlowLabel: 5, NextHeader: layers.IPProtocolUDP, SrcIP: src.AsSlice(), DstIP: dst.AsSlice()}
		ip = l
		_ = udp.SetNetworkLayerForChecksum(l)
	}
	b := gopacket.NewSerializeBuffer()
	options := gopacket.SerializeOptions{FixLengths: true, ComputeChecksums: true}
	if err := gopacket.SerializeLayers(b, options, ip, udp, gopacket.Payload(payload)); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func newSender(t testing.TB) *reinject.Sender {
	t.Helper()
	s, err := reinject.NewSender(bit)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return s
}

// capture returns the packets that leave by OUTPUT for the port, in order, and
// lets them pass.
func capture(t testing.TB) <-chan nfq.Packet {
	t.Helper()
	q, err := nfq.OpenMmsg(nfq.Config{})
	if err != nil {
		t.Fatal(err)
	}
	_, err = ruleset.Install(ruleset.Config{
		Table: "capture", Placement: ruleset.PlacementOutput, Fanout: ruleset.FanoutBalance, Queues: 1,
		IPv4: true, IPv6: true, Protocols: []uint8{17}, DestinationPorts: []uint16{port},
	})
	if err != nil {
		t.Fatal(err)
	}
	seen, ended := make(chan nfq.Packet, 16), make(chan error, 1)
	go func() {
		runtime.LockOSThread()
		ended <- q.Run(func(b *nfq.Batch) error {
			for _, p := range b.Packets {
				p.Payload = bytes.Clone(p.Payload)
				seen <- p
				if err := q.Reply(&nfq.Reply{ID: p.ID, Verdict: nfq.Accept}); err != nil {
					return err
				}
			}
			return q.Flush()
		})
	}()
	t.Cleanup(func() {
		if err := errors.Join(q.Stop(), <-ended, q.Close()); err != nil {
			t.Error(err)
		}
	})
	return seen
}

func listen(t testing.TB, address netip.Addr) *net.UDPConn {
	t.Helper()
	c, err := net.ListenUDP("udp", net.UDPAddrFromAddrPort(netip.AddrPortFrom(address, port)))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	return c
}

func receive(t testing.TB, c *net.UDPConn) (string, netip.AddrPort) {
	t.Helper()
	if err := c.SetReadDeadline(time.Now().Add(2 * time.Second)); err != nil {
		t.Fatal(err)
	}
	b := make([]byte, 65536)
	n, from, err := c.ReadFromUDPAddrPort(b)
	if err != nil {
		t.Fatal(err)
	}
	return string(b[:n]), netip.AddrPortFrom(from.Addr().Unmap(), from.Port())
}

// TestCopyIsIdentical sends to the peer, and to an own address with the peer as
// source, as packets are that were queued in INPUT.
func TestCopyIsIdentical(t *testing.T) {
	for name, test := range map[string]struct {
		src, dst netip.Prefix
		inside   bool
	}{
		"IPv4 out": {kerneltest.LocalIPv4, kerneltest.RemoteIPv4, false},
		"IPv6 out": {kerneltest.LocalIPv6, kerneltest.RemoteIPv6, false},
		"IPv4 in":  {kerneltest.RemoteIPv4, kerneltest.LocalIPv4, true},
		"IPv6 in":  {kerneltest.RemoteIPv6, kerneltest.LocalIPv6, true},
	} {
		t.Run(name, func(t *testing.T) {
			_, remote := kerneltest.VethPair(t)
			var receiver *net.UDPConn
			if test.inside {
				receiver = listen(t, test.dst.Addr())
			} else if err := remote.Do(func() error { receiver = listen(t, test.dst.Addr()); return nil }); err != nil {
				t.Fatal(err)
			}
			seen := capture(t)
			s := newSender(t)
			for i, mark := range []uint32{0, 0x15, 0x15, 7} {
				payload := "packet " + string(rune('a'+i))
				want := datagram(t, test.src.Addr(), test.dst.Addr(), []byte(payload))
				if err := s.Send(want, mark, 0); err != nil {
					t.Fatal(err)
				}
				p := <-seen
				if !bytes.Equal(p.Payload, want) {
					t.Errorf("copy\n% x\nof\n% x", p.Payload, want)
				}
				if p.Mark != mark|bit {
					t.Errorf("mark %#x, want %#x", p.Mark, mark|bit)
				}
				got, from := receive(t, receiver)
				if got != payload || from != netip.AddrPortFrom(test.src.Addr(), 4000) {
					t.Errorf("received %q from %v", got, from)
				}
			}
		})
	}
}

// TestLongPackets sends packets that exceed the MTU, plain and with headers that
// every fragment has to repeat.
func TestLongPackets(t *testing.T) {
	for name, test := range map[string]struct {
		src, dst netip.Prefix
		length   int
		id       uint16
		options  bool
	}{
		"IPv4":                      {src: kerneltest.LocalIPv4, dst: kerneltest.RemoteIPv4, length: 4000, id: 7},
		"IPv4 without an ID":        {src: kerneltest.LocalIPv4, dst: kerneltest.RemoteIPv4, length: 4000},
		"IPv4 with options":         {src: kerneltest.LocalIPv4, dst: kerneltest.RemoteIPv4, length: 4000, options: true},
		"IPv4, just over the MTU":   {src: kerneltest.LocalIPv4, dst: kerneltest.RemoteIPv4, length: 1473, id: 7},
		"IPv6":                      {src: kerneltest.LocalIPv6, dst: kerneltest.RemoteIPv6, length: 4000},
		"IPv6 with a header to all": {src: kerneltest.LocalIPv6, dst: kerneltest.RemoteIPv6, length: 4000, options: true},
		"IPv6, as long as it gets":  {src: kerneltest.LocalIPv6, dst: kerneltest.RemoteIPv6, length: 65507 - 100},
	} {
		t.Run(name, func(t *testing.T) {
			_, remote := kerneltest.VethPair(t)
			var receiver *net.UDPConn
			if err := remote.Do(func() error { receiver = listen(t, test.dst.Addr()); return nil }); err != nil {
				t.Fatal(err)
			}
			seen := capture(t)
			s := newSender(t)
			payload := make([]byte, test.length)
			for i := range payload {
				payload[i] = byte(i / 7)
			}
			b := datagram(t, test.src.Addr(), test.dst.Addr(), payload)
			if b[0]>>4 == 4 {
				b[4], b[5] = byte(test.id>>8), byte(test.id)
				fixHeaderChecksum(b)
			}
			if test.options {
				b = withOptions(b)
			}
			if err := s.Send(b, 5, 0); err != nil {
				t.Fatal(err)
			}
			got, _ := receive(t, receiver)
			if got != string(payload) {
				t.Errorf("received %d bytes, not what was sent", len(got))
			}
			if p := <-seen; len(p.Payload) != len(b) || p.Mark != 5|bit {
				t.Errorf("conntrack saw %d bytes with mark %#x, want the whole %d and %#x", len(p.Payload), p.Mark, len(b), 5|bit)
			}
			if len(seen) != 0 {
				t.Errorf("%d more packets, though conntrack reassembles", len(seen))
			}
		})
	}
}

// withOptions adds four bytes of no-operation to an IPv4 header, and a
// hop-by-hop header of padding to an IPv6 packet.
func withOptions(b []byte) []byte {
	if b[0]>>4 == 4 {
		b = slices.Insert(slices.Clone(b), 20, 1, 1, 1, 1)
		b[0]++
		binary.BigEndian.PutUint16(b[2:], uint16(len(b)))
		fixHeaderChecksum(b)
		return b
	}
	b = slices.Insert(slices.Clone(b), 40, b[6], 0, 1, 4, 0, 0, 0, 0)
	b[6] = 0
	binary.BigEndian.PutUint16(b[4:], uint16(len(b)-40))
	return b
}

func fixHeaderChecksum(b []byte) {
	b[10], b[11] = 0, 0
	sum := uint32(0)
	for i := 0; i < int(b[0]&0xf)*4; i += 2 {
		sum += uint32(binary.BigEndian.Uint16(b[i:]))
	}
	for sum > 0xffff {
		sum = sum>>16 + sum&0xffff
	}
	binary.BigEndian.PutUint16(b[10:], ^uint16(sum))
}

// TestTooLong: a fragment is not fragmented again.
func TestTooLong(t *testing.T) {
	kerneltest.VethPair(t)
	s := newSender(t)
	b := datagram(t, kerneltest.LocalIPv4.Addr(), kerneltest.RemoteIPv4.Addr(), make([]byte, 1600))
	b[6] = 0x20
	if err := s.Send(b, 0, 0); !errors.Is(err, reinject.ErrTooLong) {
		t.Errorf("%v, want ErrTooLong", err)
	}
}

// TestRoute: with two ways to a destination, the copy takes that of the packet.
func TestRoute(t *testing.T) {
	local, remote := kerneltest.VethPair(t)
	second := [2]netip.Prefix{netip.MustParsePrefix("198.51.100.1/24"), netip.MustParsePrefix("198.51.100.2/24")}
	err := kernel.AddVeth(
		kernel.Endpoint{NetNS: local, Link: "other0", Addresses: []netip.Prefix{second[0], netip.MustParsePrefix("192.0.2.11/24"), netip.MustParsePrefix("2001:db8::11/64")}},
		kernel.Endpoint{NetNS: remote, Link: "other1", Addresses: []netip.Prefix{second[1]}})
	if err != nil {
		t.Fatal(err)
	}
	device, err := net.InterfaceByName("other0")
	if err != nil {
		t.Fatal(err)
	}
	seen := capture(t)
	s := newSender(t)
	for _, ends := range [][2]netip.Prefix{{kerneltest.LocalIPv4, kerneltest.RemoteIPv4}, {kerneltest.LocalIPv6, kerneltest.RemoteIPv6}} {
		b := datagram(t, ends[0].Addr(), ends[1].Addr(), nil)
		for _, dev := range []int{0, device.Index} {
			if err := s.Send(b, 0, uint32(dev)); err != nil {
				t.Fatalf("through interface %d: %v", dev, err)
			}
			if p := <-seen; dev != 0 && p.OutDev != uint32(dev) || dev == 0 && p.OutDev == uint32(device.Index) {
				t.Errorf("to %v through interface %d: left through %d", ends[1], dev, p.OutDev)
			}
		}
	}
}

// TestFiltered has a rule drop the copy.
func TestFiltered(t *testing.T) {
	kerneltest.VethPair(t)
	conn, err := nftables.New()
	if err != nil {
		t.Fatal(err)
	}
	table := conn.AddTable(&nftables.Table{Family: nftables.TableFamilyINet, Name: "filter"})
	chain := conn.AddChain(&nftables.Chain{
		Table: table, Name: "post", Type: nftables.ChainTypeFilter,
		Hooknum: nftables.ChainHookPostrouting, Priority: nftables.ChainPriorityFilter,
	})
	conn.AddRule(&nftables.Rule{Table: table, Chain: chain, Exprs: []expr.Any{&expr.Verdict{Kind: expr.VerdictDrop}}})
	if err := conn.Flush(); err != nil {
		t.Fatal(err)
	}
	s := newSender(t)
	for _, ends := range [][2]netip.Prefix{{kerneltest.LocalIPv4, kerneltest.RemoteIPv4}, {kerneltest.LocalIPv6, kerneltest.RemoteIPv6}} {
		b := datagram(t, ends[0].Addr(), ends[1].Addr(), nil)
		if err := s.Send(b, 0, 0); !errors.Is(err, reinject.ErrFiltered) {
			t.Errorf("to %v: %v, want ErrFiltered", ends[1], err)
		}
	}
}

// TestBroadcast: a copy may leave as a broadcast, but a broadcast that came in
// must not leave.
func TestBroadcast(t *testing.T) {
	_, remote := kerneltest.VethPair(t)
	device, err := net.InterfaceByName(kerneltest.LocalLink)
	if err != nil {
		t.Fatal(err)
	}
	everybody := netip.MustParseAddr("192.0.2.255")
	var receiver *net.UDPConn
	if err := remote.Do(func() error { receiver = listen(t, everybody); return nil }); err != nil {
		t.Fatal(err)
	}
	s := newSender(t)
	b := datagram(t, kerneltest.LocalIPv4.Addr(), everybody, []byte("all"))
	for range 2 { // allowing it once must not allow it for ever
		if err := s.Send(b, 0, 0); !errors.Is(err, unix.EACCES) {
			t.Fatalf("a broadcast on its way in: %v, want EACCES", err)
		}
		if err := s.Send(b, 0, uint32(device.Index)); err != nil {
			t.Fatalf("a broadcast on its way out: %v", err)
		}
		if got, _ := receive(t, receiver); got != "all" {
			t.Errorf("received %q", got)
		}
	}
}

func TestRefusals(t *testing.T) {
	kerneltest.Namespace(t)
	s := newSender(t)
	for name, b := range map[string][]byte{
		"nothing": nil, "version 5": make([]byte, 60), "short IPv4": {0x45, 0, 0}, "short IPv6": {0x60, 0, 0},
	} {
		if err := s.Send(b, 0, 0); !errors.Is(err, reinject.ErrNoPacket) {
			t.Errorf("%s: %v, want ErrNoPacket", name, err)
		}
	}
	unreachable := datagram(t, kerneltest.LocalIPv4.Addr(), kerneltest.RemoteIPv4.Addr(), nil)
	if err := s.Send(unreachable, 0, 0); err == nil {
		t.Error("a packet without a route was sent")
	}
}

func BenchmarkSend(b *testing.B) {
	kerneltest.VethPair(b)
	s, err := reinject.NewSender(bit)
	if err != nil {
		b.Fatal(err)
	}
	defer func() { _ = s.Close() }()
	p := datagram(b, kerneltest.LocalIPv4.Addr(), kerneltest.RemoteIPv4.Addr(), make([]byte, 64))
	b.ReportAllocs()
	for b.Loop() {
		if err := s.Send(p, 0, 0); err != nil {
			b.Fatal(err)
		}
	}
}

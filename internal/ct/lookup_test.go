package ct_test

import (
	"errors"
	"fmt"
	"net/netip"
	"testing"

	"github.com/google/nftables"
	"github.com/google/nftables/binaryutil"
	"github.com/google/nftables/expr"
	"golang.org/x/sys/unix"

	"verdictd/internal/ct"
	"verdictd/internal/packet"
	"verdictd/internal/testkit"
)

// key is a packet's, from its addresses.
func key(protocol uint8, src, dst netip.AddrPort) (k packet.Key) {
	k[0], k[1] = 4, protocol
	if src.Addr().Is6() {
		k[0] = 6
	}
	copy(k[4:], src.Addr().AsSlice())
	copy(k[20:], dst.Addr().AsSlice())
	k[36], k[37] = byte(src.Port()>>8), byte(src.Port())
	k[38], k[39] = byte(dst.Port()>>8), byte(dst.Port())
	return k
}

// send puts a packet's upper layer on its way to this machine itself.
func send(t testing.TB, to netip.Addr, protocol int, upper []byte) {
	t.Helper()
	family := unix.AF_INET
	var address unix.Sockaddr
	if to.Is4() {
		address = &unix.SockaddrInet4{Addr: to.As4()}
	} else {
		family, address = unix.AF_INET6, &unix.SockaddrInet6{Addr: to.As16()}
	}
	raw, err := unix.Socket(family, unix.SOCK_RAW|unix.SOCK_CLOEXEC, protocol)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = unix.Close(raw) }()
	if err := unix.Sendto(raw, upper, 0, address); err != nil {
		t.Fatal(err)
	}
}

// flow is one that a packet to this machine itself begins.
type flow struct {
	name     string
	protocol uint8
	packet   []byte
	// The last four bytes of the keys of its packets there and back.
	there, back [4]byte
}

func (f flow) keys(a netip.Addr) (there, back packet.Key) {
	there = key(f.protocol, netip.AddrPortFrom(a, 0), netip.AddrPortFrom(a, 0))
	back = there
	copy(there[36:], f.there[:])
	copy(back[36:], f.back[:])
	return there, back
}

func flows(a netip.Addr) []flow {
	udp := []byte{0x30, 0x39, 0x30, 0x3a, 0, 8, 0, 0}
	ports, swapped := [4]byte{0x30, 0x39, 0x30, 0x3a}, [4]byte{0x30, 0x3a, 0x30, 0x39}
	list := []flow{
		{"udp", unix.IPPROTO_UDP, udp, ports, swapped},
		// Without a checksum it would be invalid to conntrack, which does not look at it in OUTPUT.
		{"udp-lite", unix.IPPROTO_UDPLITE, []byte{0x30, 0x39, 0x30, 0x3a, 0, 8, 0, 1}, ports, swapped},
		{"gre", unix.IPPROTO_GRE, []byte{0, 0, 8, 0}, [4]byte{}, [4]byte{}},
		{"gre of version 1", unix.IPPROTO_GRE, []byte{0x20, 1, 0x88, 0x0b, 0, 0, 0xab, 0xcd}, [4]byte{2: 0xab, 3: 0xcd}, [4]byte{0: 0xab, 1: 0xcd}},
		{"protocol 253", 253, []byte("hey"), [4]byte{}, [4]byte{}},
	}
	if a.Is4() {
		return append(list,
			flow{"echo", unix.IPPROTO_ICMP, []byte{8, 0, 0xf7, 0xf8, 0, 7, 0, 0}, [4]byte{0, 7, 8, 0}, [4]byte{0, 7, 0, 0}},
			flow{"timestamp", unix.IPPROTO_ICMP, []byte{13, 0, 0, 0, 0, 9, 19: 0}, [4]byte{0, 9, 13, 0}, [4]byte{0, 9, 14, 0}})
	}
	return append(list,
		flow{"echo", unix.IPPROTO_ICMPV6, []byte{128, 0, 0, 0, 0, 7, 0, 0}, [4]byte{0, 7, 128, 0}, [4]byte{0, 7, 129, 0}})
}

var addresses = []netip.Addr{netip.MustParseAddr("127.0.0.1"), netip.MustParseAddr("::1")}

func newLookup(t testing.TB) *ct.Lookup {
	t.Helper()
	l, err := ct.NewLookup()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	return l
}

func ask(t testing.TB, l *ct.Lookup, q ...ct.Question) []ct.Question {
	t.Helper()
	if err := l.Ask(q); err != nil {
		t.Fatal(err)
	}
	for i := range q {
		if q[i].Err != nil {
			t.Errorf("question %d, %x: %v", i, q[i].Key, q[i].Err)
		}
	}
	return q
}

// TestLookup asks for flows of every kind before and after their first packet, in both
// directions, in zone 0 and in another one.
func TestLookup(t *testing.T) {
	for _, zone := range []uint16{0, 300} {
		for _, address := range addresses {
			for _, f := range flows(address) {
				t.Run(fmt.Sprintf("%s over %s in zone %d", f.name, address, zone), func(t *testing.T) {
					testkit.Namespace(t)
					if zone != 0 {
						setZone(t, zone)
					}
					l := newLookup(t)
					there, back := f.keys(address)
					for _, q := range ask(t, l, ct.Question{Key: there, Zone: zone}, ct.Question{Key: back, Zone: zone}) {
						if q.Known {
							t.Error("an entry before the first packet")
						}
					}
					send(t, address, int(f.protocol), f.packet)
					other := there
					other[4]++
					q := ask(t, l, ct.Question{Key: there, Zone: zone}, ct.Question{Key: other, Zone: zone},
						ct.Question{Key: back, Zone: zone}, ct.Question{Key: there, Zone: zone ^ 1})
					if !q[0].Known || !q[2].Known {
						t.Errorf("known: %v there, %v back", q[0].Known, q[2].Known)
					}
					if q[1].Known || q[3].Known {
						t.Errorf("an entry of another address (%v) or zone (%v)", q[1].Known, q[3].Known)
					}
				})
			}
		}
	}
}

// setZone puts every packet that leaves into a zone.
func setZone(t testing.TB, zone uint16) {
	t.Helper()
	c := &nftables.Conn{}
	table := c.AddTable(&nftables.Table{Family: nftables.TableFamilyINet, Name: "zone"})
	chain := c.AddChain(&nftables.Chain{
		Name: "output", Table: table, Type: nftables.ChainTypeFilter,
		Hooknum: nftables.ChainHookOutput, Priority: nftables.ChainPriorityRaw,
	})
	c.AddRule(&nftables.Rule{Table: table, Chain: chain, Exprs: []expr.Any{
		&expr.Immediate{Register: 1, Data: binaryutil.NativeEndian.PutUint16(zone)},
		&expr.Ct{Register: 1, SourceRegister: true, Key: expr.CtKeyZONE},
	}})
	if err := c.Flush(); err != nil {
		t.Fatal(err)
	}
}

// TestAskMany asks all questions that go at once, of which every third has an entry.
func TestAskMany(t *testing.T) {
	testkit.Namespace(t)
	l := newLookup(t)
	q := make([]ct.Question, ct.MaxQuestions)
	lo := addresses[0]
	for i := range q {
		port := uint16(20000 + i)
		q[i].Key = key(unix.IPPROTO_UDP, netip.AddrPortFrom(lo, port), netip.AddrPortFrom(lo, 9))
		if i%3 == 0 {
			send(t, lo, unix.IPPROTO_UDP, []byte{byte(port >> 8), byte(port), 0, 9, 0, 8, 0, 0})
		}
	}
	for range 3 {
		for i, answered := range ask(t, l, q...) {
			if answered.Known != (i%3 == 0) {
				t.Fatalf("question %d: known %v", i, answered.Known)
			}
		}
	}
	ask(t, l) // none
	if err := l.Ask(make([]ct.Question, ct.MaxQuestions+1)); err == nil {
		t.Error("more questions than there are places for answers were taken")
	}
}

// TestRefusedQuestions: a question that the kernel refuses does not shift the answers of
// those behind it.
func TestRefusedQuestions(t *testing.T) {
	testkit.Namespace(t)
	l := newLookup(t)
	send(t, addresses[0], unix.IPPROTO_ICMP, []byte{8, 0, 0xf7, 0xf8, 0, 7, 0, 0})
	good := key(unix.IPPROTO_ICMP, netip.AddrPortFrom(addresses[0], 7), netip.AddrPortFrom(addresses[0], 8<<8))
	unreachable := good
	unreachable[38] = 3
	q := []ct.Question{{Key: good}, {Key: unreachable}, {Key: good}, {}, {Key: good}}
	for range 2 {
		if err := l.Ask(q); err != nil {
			t.Fatal(err)
		}
		for i := range q {
			if i == 3 {
				continue // no flow, and no error either
			}
			if refused := i == 1; q[i].Known == refused || errors.Is(q[i].Err, unix.EINVAL) != refused {
				t.Errorf("question %d: %+v", i, q[i])
			}
		}
	}
}

// TestLostAnswers: where the receive buffer cannot hold the answers, some questions have
// none, and no other one gets theirs.
func TestLostAnswers(t *testing.T) {
	testkit.Namespace(t)
	l := newLookup(t)
	lo := addresses[0]
	send(t, lo, unix.IPPROTO_UDP, []byte{0, 8, 0, 9, 0, 8, 0, 0})
	q := make([]ct.Question, ct.MaxQuestions)
	for i := range q {
		q[i].Key = key(unix.IPPROTO_UDP, netip.AddrPortFrom(lo, uint16(8-i%2)), netip.AddrPortFrom(lo, 9))
	}
	check := func(lossy bool) {
		t.Helper()
		lost := 0
		if err := l.Ask(q); err != nil {
			t.Fatal(err)
		}
		for i := range q {
			switch {
			case errors.Is(q[i].Err, ct.ErrNoAnswer) && !q[i].Known:
				lost++
			case q[i].Err != nil || q[i].Known != (i%2 == 0):
				t.Fatalf("question %d: %+v", i, q[i])
			}
		}
		if (lost > 0) != lossy || lost == len(q) {
			t.Errorf("%d of %d answers were lost", lost, len(q))
		}
	}
	check(false)
	restore := l.Squeeze(t)
	check(true)
	restore()
	for i := range 3 { // those of a call that failed count for none of the next one's
		l.LeaveUnread(t, q[:i+1])
		check(false)
	}
}

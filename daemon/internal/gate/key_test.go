package gate

import (
	"testing"

	"golang.org/x/sys/unix"

	"verdictd/internal/packet"
)

func TestFlowKey(t *testing.T) {
	udp := packet.Key{0: 4, 1: unix.IPPROTO_UDP, 4: 10, 7: 1, 20: 10, 23: 2, 37: 9, 39: 53}
	udp6 := packet.Key{0: 6, 1: unix.IPPROTO_UDP, 4: 0x20, 19: 9, 20: 0x20, 35: 3, 37: 1, 39: 2}
	loop := packet.Key{0: 4, 1: unix.IPPROTO_UDP, 4: 127, 7: 1, 20: 127, 23: 1, 36: 200, 38: 100}
	gre := packet.Key{0: 4, 1: unix.IPPROTO_GRE, 4: 10, 20: 9}
	for name, k := range map[string]packet.Key{"IPv4": udp, "IPv6": udp6, "equal addresses": loop, "GRE without a call": gre} {
		there, back := k, k
		turn(&back)
		if back == k {
			t.Fatalf("%s: the reverse is the same", name)
		}
		turnedThere, turnedBack := FlowKey(&there, 0), FlowKey(&back, 0)
		if there != back || turnedThere == turnedBack {
			t.Errorf("%s: %x and %x, turned %v and %v", name, there, back, turnedThere, turnedBack)
		}
		own, zone := Zone(&there)
		if turnedThere {
			turn(&own)
		}
		if own != k || zone != 0 {
			t.Errorf("%s: the tuple is %x in zone %d, want %x", name, own, zone, k)
		}
	}
	for name, k := range map[string]packet.Key{
		"ICMP":   {0: 4, 1: unix.IPPROTO_ICMP, 4: 10, 20: 9, 37: 7, 38: 8},
		"ICMPv6": {0: 6, 1: unix.IPPROTO_ICMPV6, 4: 10, 20: 9, 37: 7, 38: 128},
		"PPTP":   {0: 4, 1: unix.IPPROTO_GRE, 4: 10, 20: 9, 39: 1},
	} {
		there, back := k, k
		turn(&back)
		if FlowKey(&there, 0) || FlowKey(&back, 0) || there == back || there != k {
			t.Errorf("%s: %x and %x", name, there, back)
		}
		if listable(&there) {
			t.Errorf("%s can be listed", name)
		}
	}
}

func TestSameAddressesAndPorts(t *testing.T) {
	k := packet.Key{0: 4, 1: unix.IPPROTO_UDP, 4: 10, 20: 10, 37: 9, 39: 9}
	if own := k; FlowKey(&k, 0) || k != own {
		t.Errorf("%x, want %x", k, own)
	}
}

func TestZonesAreApart(t *testing.T) {
	a, b, c := key(1), key(1), key(1)
	FlowKey(&b, 7)
	FlowKey(&c, 7<<8)
	if a == b || b == c {
		t.Error("flows of different zones have one key")
	}
	tuple, zone := Zone(&c)
	if tuple != a || zone != 7<<8 {
		t.Errorf("tuple %x, zone %d", tuple, zone)
	}
	if !listable(&a) || listable(&b) || listable(&c) {
		t.Error("flows of zones cannot be listed, others can")
	}
	lite := a
	lite[1] = unix.IPPROTO_UDPLITE
	tcp := a
	tcp[1] = unix.IPPROTO_TCP
	if listable(&lite) || listable(&tcp) {
		t.Error("neither UDP-Lite nor TCP can be listed")
	}
}

package netlab_test

import (
	"net/netip"
	"testing"
	"time"

	"verdictd/internal/netlab"
	"verdictd/internal/testkit"
)

// TestDropAtRandom sends to two ports: to one of them half of the packets get
// lost, as many as are counted, to the other none.
func TestDropAtRandom(t *testing.T) {
	ns := testkit.Namespace(t)
	const filtered, open, packets = 7000, 7001, 200
	filter, err := ns.DropAtRandom(netlab.HookInput, filtered, 2)
	if err != nil {
		t.Fatal(err)
	}
	host := netip.MustParseAddr("127.0.0.1")
	sender := listenUDP(t, ns, netip.AddrPortFrom(host, 0))
	for _, port := range []uint16{filtered, open} {
		receiver := listenUDP(t, ns, netip.AddrPortFrom(host, port))
		before, err := filter.Dropped()
		if err != nil {
			t.Fatal(err)
		}
		for range packets {
			if _, err := sender.WriteToUDPAddrPort([]byte("x"), netip.AddrPortFrom(host, port)); err != nil {
				t.Fatal(err)
			}
		}
		arrived := uint64(0)
		for {
			// On loopback a packet has arrived when its send returns.
			if err := receiver.SetReadDeadline(time.Now().Add(50 * time.Millisecond)); err != nil {
				t.Fatal(err)
			}
			if _, _, err := receiver.ReadFromUDPAddrPort(make([]byte, 4)); err != nil {
				break
			}
			arrived++
		}
		after, err := filter.Dropped()
		if err != nil {
			t.Fatal(err)
		}
		dropped := after - before
		if arrived+dropped != packets || port == open && dropped > 0 || port == filtered && (dropped < 20 || dropped > 180) {
			t.Errorf("port %d: %d arrived, %d counted of %d", port, arrived, dropped, packets)
		}
	}
}

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
	sender := listen(t, ns, netip.AddrPortFrom(host, 0))
	for _, port := range []uint16{filtered, open} {
		receiver := listen(t, ns, netip.AddrPortFrom(host, port))
		before := droppedBy(t, filter)
		for range packets {
			if _, err := sender.WriteToUDPAddrPort([]byte("x"), netip.AddrPortFrom(host, port)); err != nil {
				t.Fatal(err)
			}
		}
		arrived := uint64(0)
		receive := func() bool {
			if err := receiver.SetReadDeadline(time.Now().Add(50 * time.Millisecond)); err != nil {
				t.Fatal(err)
			}
			_, _, err := receiver.ReadFromUDPAddrPort(make([]byte, 4))
			return err == nil
		}
		// A deadline may be over before the first look, on a busy machine.
		for end := time.Now().Add(20 * time.Second); arrived+droppedBy(t, filter)-before < packets && time.Now().Before(end); {
			if receive() {
				arrived++
			}
		}
		for receive() { // more than were sent
			arrived++
		}
		dropped := droppedBy(t, filter) - before
		if arrived+dropped != packets || port == open && dropped > 0 || port == filtered && (dropped < 20 || dropped > 180) {
			t.Errorf("port %d: %d arrived, %d counted of %d", port, arrived, dropped, packets)
		}
	}
}

func droppedBy(t *testing.T, filter *netlab.Filter) uint64 {
	t.Helper()
	n, err := filter.Dropped()
	if err != nil {
		t.Fatal(err)
	}
	return n
}

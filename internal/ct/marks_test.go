package ct_test

import (
	"net/netip"
	"testing"

	"github.com/ti-mo/conntrack"
	"golang.org/x/sys/unix"

	"verdictd/internal/ct"
	"verdictd/internal/testkit"
)

// Bits are cleared in the entries that have the value, whatever their family and zone, and
// nowhere else.
func TestClearMarks(t *testing.T) {
	testkit.Namespace(t)
	library, err := conntrack.Dial(nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = library.Close() })
	if n, err := ct.ClearMarks(0xff000000, 0xfc000000, 0x14000000); n != 0 || err != nil {
		t.Fatalf("of no entry: %d, error %v", n, err)
	}
	const count = 600 // more than a datagram of the kernel's holds
	want := map[uint32]int{}
	for i := range count {
		v4, v6 := netip.MustParseAddr("192.0.2.1"), netip.MustParseAddr("2001:db8::1")
		to4, to6 := netip.MustParseAddr("198.51.100.1"), netip.MustParseAddr("2001:db8::2")
		mark := []uint32{0x15000abc, 0x16000abc, 0x19000abc, 0xabc}[i%4]
		f := conntrack.NewFlow(unix.IPPROTO_UDP, 0, v4, to4, uint16(1000+i), 53, 300, mark)
		if i%3 == 0 {
			f = conntrack.NewFlow(unix.IPPROTO_UDP, 0, v6, to6, uint16(1000+i), 53, 300, mark)
		}
		f.Zone = uint16(i % 2 * 7)
		if err := library.Create(f); err != nil {
			t.Fatal(err)
		}
		if i%4 < 2 {
			mark &= 0xffffff
		}
		want[mark]++
	}
	n, err := ct.ClearMarks(0xff000000, 0xfc000000, 0x14000000)
	if err != nil || n != count/2 {
		t.Errorf("%d entries changed, want %d; error %v", n, count/2, err)
	}
	list, err := library.Dump(nil)
	if err != nil {
		t.Fatal(err)
	}
	got := map[uint32]int{}
	for _, f := range list {
		got[f.Mark]++
	}
	for mark, n := range want {
		if got[mark] != n {
			t.Errorf("%d entries have mark %#x, want %d", got[mark], mark, n)
		}
	}
	if n, err := ct.ClearMarks(0xff000000, 0xfc000000, 0x14000000); n != 0 || err != nil {
		t.Errorf("a second time: %d, error %v", n, err)
	}
}

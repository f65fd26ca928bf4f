package devices

import (
	"fmt"
	"log/slog"
	"maps"
	"os/exec"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"

	"verdictd/internal/testkit"
)

func TestMain(m *testing.M) { testkit.Main(m) }

// told is what a listener knows.
type told struct {
	mutex sync.Mutex
	names map[uint32]string
	times int
}

func (l *told) SetDevices(names map[uint32]string) {
	l.mutex.Lock()
	defer l.mutex.Unlock()
	l.names, l.times = names, l.times+1
}

// now are the names, in order.
func (l *told) now() []string {
	l.mutex.Lock()
	defer l.mutex.Unlock()
	return slices.Sorted(maps.Values(l.names))
}

// await waits until those and no others are known.
func (l *told) await(t *testing.T, names ...string) {
	t.Helper()
	slices.Sort(names)
	for end := time.Now().Add(30 * time.Second); !slices.Equal(l.now(), names); time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("%v are known, want %v", l.now(), names)
		}
	}
}

func ip(t *testing.T, args ...string) {
	t.Helper()
	if out, err := exec.Command("ip", args...).CombinedOutput(); err != nil {
		t.Fatalf("ip %v: %v: %s", args, err, out)
	}
}

func follower(t *testing.T) *Follower {
	t.Helper()
	f, err := Open(slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := f.Close(); err != nil {
			t.Error(err)
		}
	})
	return f
}

// TestFollow: links come, are renamed, and go.
func TestFollow(t *testing.T) {
	testkit.Namespace(t)
	ip(t, "link", "add", "wg0", "type", "veth", "peer", "name", "other")
	f := follower(t)
	first := &told{}
	f.Tell(first)
	first.await(t, "lo", "wg0", "other")
	ip(t, "link", "add", "wg1", "type", "veth", "peer", "name", "uplink")
	first.await(t, "lo", "wg0", "other", "wg1", "uplink")
	ip(t, "link", "set", "wg0", "name", "renamed")
	first.await(t, "lo", "renamed", "other", "wg1", "uplink")
	second := &told{}
	f.Tell(second)
	if got := second.now(); len(got) != 5 {
		t.Errorf("a listener that comes later knows %v at first", got)
	}
	before := first.times
	ip(t, "link", "del", "wg1")
	second.await(t, "lo", "renamed", "other")
	if first.times != before {
		t.Error("a listener that was replaced is told still")
	}
}

// TestLeavesBridge: a link that leaves a bridge is there as before, though the kernel tells
// of RTM_DELLINK.
func TestLeavesBridge(t *testing.T) {
	index := func(family byte) []byte { return []byte{family, 0, 0, 0, 7, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0} }
	name := append([]byte{8, 0, unix.IFLA_IFNAME, 0}, "wg0\x00"...)
	f := &Follower{names: map[uint32]string{}}
	for i, step := range []struct {
		kind    netlink.HeaderType
		data    []byte
		changes bool
	}{
		{unix.RTM_NEWLINK, append(index(unix.AF_UNSPEC), name...), true},
		{unix.RTM_NEWLINK, append(index(unix.AF_UNSPEC), name...), false},
		{unix.RTM_DELLINK, append(index(unix.AF_BRIDGE), name...), false},
		{unix.RTM_NEWLINK, index(unix.AF_UNSPEC), false},
		{unix.RTM_NEWLINK, []byte{0}, false},
		{unix.RTM_DELLINK, index(unix.AF_UNSPEC), true},
		{unix.RTM_DELLINK, index(unix.AF_UNSPEC), false},
	} {
		if got := f.take(netlink.Message{Header: netlink.Header{Type: step.kind}, Data: step.data}); got != step.changes {
			t.Errorf("step %d: changes %v, want %v; %v", i, got, step.changes, f.names)
		}
	}
}

// manyLinks makes links, of which a third goes again, and says which there are.
func manyLinks(t *testing.T) []string {
	t.Helper()
	names := []string{"lo"}
	for i := range 40 {
		name := fmt.Sprintf("d%d", i)
		ip(t, "link", "add", name, "type", "veth", "peer", "name", "p"+name)
		if i%3 == 0 {
			ip(t, "link", "del", name)
			continue
		}
		names = append(names, name, "p"+name)
	}
	return names
}

// TestManyChanges: none is missed, be the socket's buffer full or not.
func TestManyChanges(t *testing.T) {
	testkit.Namespace(t)
	f := follower(t)
	if err := f.told.SetReadBuffer(4 << 10); err != nil {
		t.Fatal(err)
	}
	l := &told{}
	f.Tell(l)
	l.await(t, manyLinks(t)...)
}

// TestFullBuffer: what the kernel told before the buffer was full does not outlive that the
// end of it was dropped.
func TestFullBuffer(t *testing.T) {
	testkit.Namespace(t)
	f, err := open(slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	if err := f.told.SetReadBuffer(4 << 10); err != nil {
		t.Fatal(err)
	}
	l := &told{}
	f.Tell(l)
	names := manyLinks(t)
	go f.follow()
	l.await(t, names...)
	ip(t, "link", "add", "late", "type", "veth", "peer", "name", "plate")
	l.await(t, append(names, "late", "plate")...)
	if err := f.Close(); err != nil {
		t.Error(err)
	}
}

package liverules

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/maphash"
	"os"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/google/nftables"
	"github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"

	"verdictd/internal/nfnl"
	"verdictd/internal/nfq"
	"verdictd/internal/packet"
	"verdictd/internal/ruleset"
	"verdictd/internal/testkit"
	"verdictd/internal/vocabulary"
)

func watch(t *testing.T) *Watcher {
	t.Helper()
	w, err := Watch(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := errors.Join(w.Close(), w.Err()); err != nil {
			t.Error(err)
		}
	})
	return w
}

// surely is waited for what must come, however busy the machine is.
const surely = 20 * time.Second

// changeWithin waits for a change.
func changeWithin(w *Watcher, d time.Duration) bool {
	select {
	case <-w.Changes():
		return true
	case <-time.After(d):
		return false
	}
}

func TestWatchNFTables(t *testing.T) {
	testkit.Namespace(t)
	w := watch(t)
	if w.LastChange() != 0 || changeWithin(w, 50*time.Millisecond) {
		t.Error("a change was told before there was one")
	}
	for _, change := range []string{
		"add table inet a { chain c { type filter hook output priority 0; }; set s { type inet_service; }; }",
		"add rule inet a c udp dport @s accept",
		"add element inet a s { 53 }",
		"flush ruleset",
	} {
		before := nfq.Now()
		run(t, change, "nft", "-f", "-")
		if !changeWithin(w, surely) {
			t.Fatalf("%q was not told", change)
		}
		if at := w.LastChange(); at < before || at > nfq.Now() {
			t.Errorf("%q was told at %d, began at %d", change, at, before)
		}
	}
	read(t)
	if changeWithin(w, 100*time.Millisecond) {
		t.Error("reading the rules changes them")
	}
}

// TestChainsBehindElements: announcements that begin with elements of a set are heard where there is more in them.
func TestChainsBehindElements(t *testing.T) {
	testkit.Namespace(t)
	run(t, "table ip a { set s { type ipv4_addr; }; chain b { type filter hook output priority 5; }; }", "nft", "-f", "-")
	w := watch(t)
	elements := []string{"192.0.2.1"}
	for i := range 300 {
		elements = append(elements, fmt.Sprintf("198.51.%d.%d", i/250, i%250))
	}
	for _, change := range []string{
		"add element ip a s { 192.0.2.1 }\ndelete chain ip a b\n",
		"delete element ip a s { 192.0.2.1 }\nadd chain ip a b { type filter hook output priority 6; }\n",
		"add element ip a s { " + strings.Join(elements, ", ") + " }\ndelete chain ip a b\n",
	} {
		before := nfq.Now()
		run(t, change, "nft", "-f", "-")
		if !changeWithin(w, surely) {
			t.Fatalf("%q was not told", change)
		}
		by := w.Changers()
		if deletes := strings.Contains(change, "delete chain"); len(by) != 1 || (by[0].BaseChains == 1) != deletes || !deletes && w.BaseChainAdded() < before {
			t.Errorf("%.60q: %v with %+v, and a chain was added at %d, the change began at %d", change, by, by, w.BaseChainAdded(), before)
		}
	}
}

// TestFilterFits: the filter is not too large for kernels that give a socket little memory for it.
func TestFilterFits(t *testing.T) {
	testkit.Namespace(t)
	if err := os.WriteFile("/proc/sys/net/core/optmem_max", []byte("20480"), 0); err != nil {
		t.Skip("net.core.optmem_max is not of a network namespace here: ", err)
	}
	watch(t)
}

// One transaction is one change, however large; what nobody takes is one value.
func TestChangesAreJoined(t *testing.T) {
	testkit.Namespace(t)
	w := watch(t)
	run(t, "add table inet a { set s { type inet_service; flags interval; elements = { 1000-2000, 3000-60000 }; }; }", "nft", "-f", "-")
	second := nfq.Now()
	run(t, "add table inet b", "nft", "-f", "-")
	for end := time.Now().Add(surely); w.LastChange() < second; time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("the second change was not told")
		}
	}
	time.Sleep(50 * time.Millisecond) // it is noted before it is told
	if !changeWithin(w, surely) || changeWithin(w, 50*time.Millisecond) {
		t.Error("two changes that nobody took are not one value")
	}
}

func TestExcept(t *testing.T) {
	testkit.Namespace(t)
	w := watch(t)
	w.Except(0)
	run(t, "add table inet a", "nft", "-f", "-")
	if !changeWithin(w, surely) {
		t.Error("another program's change was left out")
	}
	if !w.counts([]byte{1}) {
		t.Error("what is no message does not count")
	}
	header := make([]byte, 16)
	header[0], header[12] = 16, 7
	binary.NativeEndian.PutUint16(header[4:], genMessage)
	if !w.counts(header) {
		t.Error("port id 7 is left out before it was named")
	}
	if w.Except(7); w.counts(header) {
		t.Error("port id 7 counts")
	}
}

// The gate lists flows many times a second, each a change of its own.
func TestExceptTheSettledSet(t *testing.T) {
	testkit.Namespace(t)
	g := ruleset.Gate{
		FirstQueue: 100, Queues: 1, Settled: true, SettledSize: 100, SettledTimeout: time.Minute,
		Traffic: []ruleset.Traffic{{IPv4: true, IPv6: true, Protocols: vocabulary.GateProtocols()}},
	}
	installed, err := ruleset.Install(ruleset.Config{
		Table: "t", Placement: vocabulary.PlacementNone, Fanout: vocabulary.FanoutBalance, Queues: 1, IPv4: true, IPv6: true, Gate: &g,
	})
	if err != nil {
		t.Fatal(err)
	}
	settled := installed.Settled()
	if settled == nil {
		t.Skip("this kernel has no settled set")
	}
	w := watch(t)
	add := func(port byte) {
		t.Helper()
		key := packet.Key{0: 4, 1: unix.IPPROTO_UDP, 4: 192, 6: 2, 7: 1, 20: 192, 22: 2, 23: 2, 37: port, 39: 53}
		if err := settled.Add([]packet.Key{key}); err != nil {
			t.Fatal(err)
		}
	}
	if add(1); !changeWithin(w, surely) {
		t.Error("a listed flow is no change")
	}
	w.Except(settled.Port())
	if add(2); changeWithin(w, 100*time.Millisecond) {
		t.Error("a listed flow was told all the same")
	}
	g.ExemptPorts = []uint16{9}
	if err := installed.SetGate(g); err != nil {
		t.Fatal(err)
	}
	if !changeWithin(w, surely) {
		t.Error("other changes of the same program were not told")
	}
}

func TestWatchLegacyTables(t *testing.T) {
	testkit.Namespace(t)
	w := watch(t)
	commands(t, "iptables-legacy -t mangle -A OUTPUT -p udp -j ACCEPT")
	if !changeWithin(w, surely) {
		t.Error("a new table was not told")
	}
	commands(t, "iptables-legacy -t mangle -D OUTPUT 1")
	if !changeWithin(w, surely) {
		t.Error("a rule that went was not told")
	}
}

// What rules count is no change of them.
func TestCountersAreNoChange(t *testing.T) {
	testkit.Namespace(t)
	commands(t, `ip link set lo up
		iptables-legacy -t mangle -A OUTPUT -p udp -j ACCEPT`)
	seed := maphash.MakeSeed()
	before, err := fingerprint(seed)
	if err != nil {
		t.Fatal(err)
	}
	s, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(s)
	if err := unix.Sendto(s, []byte("x"), 0, &unix.SockaddrInet4{Port: 9, Addr: [4]byte{127, 0, 0, 1}}); err != nil {
		t.Fatal(err)
	}
	if now, err := fingerprint(seed); err != nil || now != before {
		t.Errorf("a counted packet changed the fingerprint: %v", err)
	}
	commands(t, "iptables-legacy -t mangle -A OUTPUT -p tcp -j ACCEPT")
	if now, err := fingerprint(seed); err != nil || now == before {
		t.Errorf("a rule did not change the fingerprint: %v", err)
	}
}

func TestWatchEnds(t *testing.T) {
	testkit.Namespace(t)
	ctx, cancel := context.WithCancel(context.Background())
	w, err := Watch(ctx)
	if err != nil {
		t.Fatal(err)
	}
	cancel()
	select {
	case <-w.Done():
	case <-time.After(surely):
		t.Error("it goes on when its context is done")
	}
	if err := errors.Join(w.Close(), w.Close(), w.Err()); err != nil {
		t.Error(err)
	}
}

func TestWatchWithoutPermission(t *testing.T) {
	testkit.Namespace(t)
	home, err := os.Open("/proc/thread-self/ns/net")
	if err != nil {
		t.Fatal(err)
	}
	defer home.Close()
	done := make(chan error)
	go func() {
		runtime.LockOSThread() // never unlocked: the thread ends without its capabilities
		if err := errors.Join(unix.Setns(int(home.Fd()), unix.CLONE_NEWNET), dropCapabilities()); err != nil {
			done <- err
			return
		}
		w, err := Watch(context.Background())
		if err == nil {
			err = errors.Join(errors.New("it watches without CAP_NET_ADMIN"), w.Close())
		}
		done <- err
	}()
	if err := <-done; !errors.Is(err, os.ErrPermission) {
		t.Error(err)
	}
}

// TestLostAnnouncements: what is dropped after the kernel said that the buffer was full, and
// before it was read empty, is told too.
func TestLostAnnouncements(t *testing.T) {
	testkit.Namespace(t)
	w := &Watcher{changes: make(chan struct{}, 1)}
	if err := w.open(); err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := w.closeSockets(); err != nil {
			t.Error(err)
		}
	}()
	var port uint32
	conn, err := nftables.New(nftables.AsLasting(), nftables.WithSockOptions(func(c *netlink.Conn) error {
		port = c.PID()
		return nil
	}))
	if err != nil {
		t.Fatal(err)
	}
	w.Except(port)
	for range 2000 {
		conn.DelTable(conn.AddTable(&nftables.Table{Name: "flood", Family: nftables.TableFamilyINet}))
		if err := conn.Flush(); err != nil {
			t.Fatal(err)
		}
	}
	told := func() bool {
		select {
		case <-w.Changes():
			return true
		default:
			return false
		}
	}
	receiver := nfnl.NewReceiver(16, 16<<10)
	if err := w.receive(receiver); err != nil || !w.lost || !told() {
		t.Fatalf("%v; lost %v: a full buffer was to be told", err, w.lost)
	}
	run(t, "add table inet other { chain c { type filter hook output priority 0; }; }", "nft", "-f", "-")
	for err == nil {
		err = w.receive(receiver)
	}
	if !errors.Is(err, nfnl.ErrWouldBlock) || w.lost {
		t.Fatalf("%v, lost %v", err, w.lost)
	}
	if !told() {
		t.Error("a change that was dropped while the buffer was full was not told")
	}
	if len(w.changers.bases) != 1 {
		t.Errorf("base chains %v are known, want the one of table other", w.changers.bases)
	}
	if err := conn.CloseLasting(); err != nil {
		t.Error(err)
	}
}

// TestLearnFails: a watch that cannot learn the base chains again after a loss ends, and does not go on without them.
func TestLearnFails(t *testing.T) {
	testkit.Namespace(t)
	w := &Watcher{changes: make(chan struct{}, 1), lost: true}
	if err := w.open(); err != nil {
		t.Fatal(err)
	}
	err := errors.Join(w.changers.asked.Close(), w.receive(nfnl.NewReceiver(16, 16<<10)), w.socket.Close())
	if err == nil || errors.Is(err, nfnl.ErrWouldBlock) {
		t.Errorf("%v, want the error of the list of chains", err)
	}
}

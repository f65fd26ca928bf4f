package journal_test

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"verdictd/daemon/internal/childtest"
	"verdictd/daemon/internal/fdstore"
	"verdictd/daemon/internal/journal"
	"verdictd/internal/ct"
	"verdictd/internal/netlab"
	"verdictd/internal/nfq"
	"verdictd/internal/testkit"
)

func TestMain(m *testing.M) { testkit.Main(m) }

const (
	port      = 5300
	forbidden = 5301 // the policy drops what is sent there
)

// keeper starts one daemon after the other, each with what the one before has left.
type keeper struct {
	t     *testing.T
	ns    *netlab.NetNS
	store *fdstore.Server
	args  []string
	env   []string
	child *childtest.Child
	ready chan struct{}
}

// newKeeper starts the first daemon, with a configuration.
func newKeeper(t *testing.T, ns *netlab.NetNS, config string, env ...string) *keeper {
	t.Helper()
	dir, err := os.MkdirTemp("", "k") //nolint:usetesting // t.TempDir holds the test's name, and a socket's path at most 107 bytes
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	store, err := fdstore.Listen(filepath.Join(dir, "s"), fdstore.DefaultSize)
	if err != nil {
		t.Fatal(err)
	}
	k := &keeper{t: t, ns: ns, store: store, env: env, ready: make(chan struct{}, 16)}
	k.configure(config)
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		for {
			m, err := store.Receive()
			if err != nil {
				return
			}
			if m.Has("READY=1") {
				k.ready <- struct{}{}
			}
		}
	}()
	t.Cleanup(func() {
		_ = store.Close()
		<-ended
	})
	k.start()
	return k
}

// configure is for the next start.
func (k *keeper) configure(config string) {
	k.t.Helper()
	file := filepath.Join(k.t.TempDir(), "verdictd.yaml")
	if err := os.WriteFile(file, []byte(config), 0o600); err != nil {
		k.t.Fatal(err)
	}
	k.args = []string{"run", "--config", file}
}

// start starts a daemon with what is kept, and returns when it is ready.
func (k *keeper) start() {
	k.t.Helper()
	k.launch()
	select {
	case <-k.ready:
	case <-k.child.Done:
		k.t.Fatalf("the daemon ended: %v", k.child.Err)
	case <-time.After(childtest.ReadyWithin):
		k.t.Fatal("the daemon is not ready")
	}
}

// launch starts a daemon with what is kept.
func (k *keeper) launch() {
	k.t.Helper()
	for len(k.ready) > 0 {
		<-k.ready
	}
	cmd := childtest.Program(k.t, k.args...)
	// What is handed over may take the place of the program's descriptor in the child.
	cmd.Path = strings.Replace(cmd.Path, "/self/", fmt.Sprintf("/%d/", os.Getpid()), 1)
	cmd.Env = append(os.Environ(), k.env...)
	defer k.hand(cmd)()
	k.child = childtest.Start(k.t, k.ns, cmd)
}

// hand gives a command what is kept.
func (k *keeper) hand(cmd *exec.Cmd) (done func()) {
	k.t.Helper()
	done, err := k.store.Hand(cmd)
	if err != nil {
		k.t.Fatal(err)
	}
	return done
}

// end ends the daemon with a signal, and fails where it does not end as it should.
func (k *keeper) end(s syscall.Signal) {
	k.t.Helper()
	if s == syscall.SIGKILL {
		k.child.Kill()
		return
	}
	k.child.Signal(s)
	if err := k.child.Ended(); err != nil {
		k.t.Errorf("after %v: %v", s, err)
	}
}

// load sends packets over lo through the daemon's queue, paced, and looks at what comes.
type load struct {
	t        *testing.T
	ns       *netlab.NetNS
	in, away *net.UDPConn
	out      []*net.UDPConn
	stop     atomic.Bool
	group    sync.WaitGroup

	sent, refused         int
	got, twice, overtaken int
	unjudged              atomic.Int64
	last                  map[string]uint32
	clashing              bool // packets may clash, as nothing guards them
	moves                 int  // so many packets may be overtaken
}

// listen binds a port of lo.
func listen(t *testing.T, ns *netlab.NetNS, port int) (c *net.UDPConn) {
	t.Helper()
	err := ns.Do(func() (err error) {
		c, err = net.ListenUDP("udp", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1), Port: port})
		return err
	})
	if err == nil {
		err = c.SetReadBuffer(64 << 20)
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	return c
}

// begin sends so many packets a second. With fresh each flow has only a few packets, sent
// at once; else there are a few flows that go on.
func begin(t *testing.T, ns *netlab.NetNS, rate int, fresh bool) *load {
	t.Helper()
	l := &load{t: t, ns: ns, in: listen(t, ns, port), away: listen(t, ns, forbidden), last: map[string]uint32{}}
	l.group.Go(l.receive)
	l.group.Go(func() {
		b := make([]byte, 100)
		for {
			if _, err := l.away.Read(b); err != nil {
				return
			}
			l.unjudged.Add(1)
		}
	})
	l.group.Go(func() {
		if err := ns.Do(func() error { return l.send(rate, fresh) }); err != nil {
			t.Error(err)
		}
	})
	return l
}

const burst = 4 // packets that are sent together

func (l *load) send(rate int, fresh bool) error {
	var socket, away *net.UDPConn
	var err error
	dial := func(port int) (c *net.UDPConn) {
		if err == nil {
			c, err = net.DialUDP("udp", nil, &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1), Port: port})
		}
		return c
	}
	const flows = 8
	for range flows {
		l.out = append(l.out, dial(port))
	}
	away = dial(forbidden)
	b := make([]byte, 8)
	began := time.Now()
	for turn := 0; err == nil && !l.stop.Load(); turn++ {
		socket = l.out[turn%flows]
		if fresh {
			_ = socket.Close()
			socket = dial(port)
			l.out[turn%flows] = socket
		}
		for range burst {
			l.sent++
			binary.BigEndian.PutUint32(b, uint32(l.sent))
			if _, err := socket.Write(b); err != nil {
				l.refused++
			}
		}
		if turn%10 == 0 {
			_, _ = away.Write(b)
		}
		if ahead := time.Duration(l.sent)*time.Second/time.Duration(rate) - time.Since(began); ahead > 0 {
			time.Sleep(ahead)
		}
	}
	for _, c := range l.out {
		_ = c.Close()
	}
	return errors.Join(err, away.Close())
}

func (l *load) receive() {
	b := make([]byte, 100)
	seen := map[uint32]bool{}
	for {
		_, from, err := l.in.ReadFromUDPAddrPort(b)
		if err != nil {
			return
		}
		n := binary.BigEndian.Uint32(b)
		key := from.String()
		if seen[n] {
			l.twice++
			continue
		}
		seen[n] = true
		l.got++
		if n < l.last[key] {
			l.overtaken++
		}
		l.last[key] = n
	}
}

// finish ends the load and returns what went wrong, in words; empty: nothing.
func (l *load) finish() string {
	l.t.Helper()
	l.stop.Store(true)
	// What is on its way comes within this time.
	for until, got := time.Now().Add(5*time.Second), -1; time.Now().Before(until); time.Sleep(200 * time.Millisecond) {
		queued := l.queued()
		if queued == 0 && got == 0 {
			break
		}
		got = queued
	}
	_ = l.in.SetReadDeadline(time.Now().Add(300 * time.Millisecond))
	_ = l.away.SetReadDeadline(time.Now().Add(300 * time.Millisecond))
	l.group.Wait()
	clashes := l.clashes()
	l.t.Logf("%d sent, %d refused, %d got, %d twice, %d overtaken, %d unjudged, %d clashes", l.sent, l.refused, l.got, l.twice, l.overtaken, l.unjudged.Load(), clashes)
	var words []string
	if l.clashing {
		clashes = 0
	}
	for what, n := range map[string]int{
		"lost": l.sent - l.got, "twice": l.twice, "overtaken": max(0, l.overtaken-l.moves), "unjudged": int(l.unjudged.Load()), "clashes": int(clashes),
	} {
		if n != 0 {
			words = append(words, fmt.Sprintf("%d %s", n, what))
		}
	}
	return strings.Join(words, ", ")
}

func (l *load) clashes() (n uint64) {
	l.t.Helper()
	if err := l.ns.Do(func() error {
		c, err := ct.Dial()
		if err != nil {
			return err
		}
		defer func() { _ = c.Close() }()
		s, err := c.Snapshot()
		if err != nil {
			return err
		}
		n = s.Total().Clashes().N
		return nil
	}); err != nil {
		l.t.Fatal(err)
	}
	return n
}

// dial makes a socket of lo.
func dial(t *testing.T, ns *netlab.NetNS, port int) (c *net.UDPConn) {
	t.Helper()
	if err := ns.Do(func() (err error) {
		c, err = net.DialUDP("udp", nil, &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1), Port: port})
		return err
	}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	return c
}

// queues that the kernel has.
func (k *keeper) queues() (numbers []uint16) {
	k.t.Helper()
	if err := k.ns.Do(func() error {
		queues, err := nfq.ReadKernelQueues()
		for _, q := range queues {
			numbers = append(numbers, q.Queue)
		}
		return err
	}); err != nil {
		k.t.Fatal(err)
	}
	return numbers
}

// client sends to the store as a daemon does.
func (k *keeper) client() *fdstore.Client {
	k.t.Helper()
	k.t.Setenv("NOTIFY_SOCKET", k.store.Address())
	k.t.Setenv("FDSTORE", "100")
	c, err := fdstore.Open()
	if err != nil {
		k.t.Fatal(err)
	}
	k.t.Cleanup(func() { _ = c.Close() })
	return c
}

// keep puts an empty file into the store.
func (k *keeper) keep(name string) {
	k.t.Helper()
	m, err := journal.NewMemory(name)
	if err != nil {
		k.t.Fatal(err)
	}
	defer func() { _ = m.Close() }()
	c := k.client()
	if err := errors.Join(c.Keep(name, m.Descriptor()), c.Barrier(5*time.Second)); err != nil {
		k.t.Fatal(err)
	}
}

// spoil adds one to the version that a kept memory has at an offset.
func (k *keeper) spoil(name string, at int64) {
	k.t.Helper()
	k.with(name, func(f *os.File) error {
		_, err := f.WriteAt([]byte{99}, at)
		return err
	})
}

// with does with a descriptor that is kept what any process of the user can.
func (k *keeper) with(name string, do func(*os.File) error) {
	k.t.Helper()
	cmd := exec.Command("true")
	defer k.hand(cmd)()
	names, _ := k.store.Names()
	i := slices.Index(names, name)
	if i < 0 {
		k.t.Fatalf("%s is not among %v", name, names)
	}
	if err := do(cmd.ExtraFiles[i]); err != nil {
		k.t.Fatal(err)
	}
}

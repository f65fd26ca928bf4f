package journal_test

import (
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"verdictd/daemon/internal/childtest"
	"verdictd/daemon/internal/fdstore"
	"verdictd/daemon/internal/journal"
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

// awaitJudging returns when the daemon judges a packet of its first queue.
func (k *keeper) awaitJudging() {
	k.t.Helper()
	const judging = 20 // where the journal notes it
	for until := time.Now().Add(childtest.ReadyWithin); ; time.Sleep(time.Millisecond) {
		var b [4]byte
		k.with("journal-0", func(f *os.File) error {
			_, err := f.ReadAt(b[:], judging)
			return err
		})
		if b != [4]byte{} {
			return
		}
		if time.Now().After(until) {
			k.t.Fatal("the daemon judges no packet")
		}
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

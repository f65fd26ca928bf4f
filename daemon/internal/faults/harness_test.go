package faults

import (
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"verdictd/daemon/internal/childtest"
	"verdictd/internal/netlab"
	"verdictd/internal/nfq"
	"verdictd/internal/testkit"
)

func TestMain(m *testing.M) { testkit.Main(m) }

const port = 5300

// guarded is a configuration for the near end, where all that is sent to port is judged.
const guarded = "guard: {mode: hold}\nrules: {placement: output, destination_ports: [5300]}\ncontrol: {socket: \"\"}\n"

// thinking has each packet wait in the queue for a while.
const thinking = "analysis: {distribution: fixed, delay: 20ms, per: packet}\n"

// ends are two hosts: the near one, which sends and judges, and the far one, which receives.
type ends struct {
	*testing.T
	near, far *netlab.NetNS
	in        *net.UDPConn
}

const (
	nearLink, farLink = "near0", "far0"
	farAddress        = "192.0.2.2"
)

func host(t *testing.T) *netlab.NetNS {
	t.Helper()
	testkit.Require(t)
	ns, err := netlab.NewNetNS()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = ns.Close() }) // a test may have closed it
	if err := ns.ActivateConntrack(); err != nil {
		t.Fatal(err)
	}
	return ns
}

func twoEnds(t *testing.T) *ends {
	t.Helper()
	e := &ends{T: t, near: host(t), far: host(t)}
	e.cable()
	err := e.far.Do(func() (err error) {
		e.in, err = net.ListenUDP("udp4", &net.UDPAddr{Port: port})
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = e.in.Close() })
	return e
}

// cable joins the two.
func (e *ends) cable() {
	e.Helper()
	err := netlab.AddVeth(
		netlab.Endpoint{NetNS: e.near, Link: nearLink, Addresses: []netip.Prefix{netip.MustParsePrefix("192.0.2.1/24")}},
		netlab.Endpoint{NetNS: e.far, Link: farLink, Addresses: []netip.Prefix{netip.MustParsePrefix(farAddress + "/24")}},
	)
	if err != nil {
		e.Fatal(err)
	}
}

// send sends bursts of four packets, each of a new flow. What cannot be sent is no error here.
func (e *ends) send(flows int) {
	e.Helper()
	for range flows {
		err := e.near.Do(func() error {
			c, err := net.Dial("udp4", net.JoinHostPort(farAddress, number(port)))
			if err != nil {
				return nil // the interface may be down, which is the fault that is looked at
			}
			defer func() { _ = c.Close() }()
			for range burst {
				_, _ = c.Write([]byte("packet"))
			}
			return nil
		})
		if err != nil {
			e.Error(err)
		}
	}
}

const burst = 4

// receive counts what arrives until there is as much as is wanted, or nothing for a while.
func (e *ends) receive(want int) (n int) {
	e.Helper()
	const quiet = 2 * time.Second
	for buf := make([]byte, 2048); n < want; n++ {
		if err := e.in.SetReadDeadline(time.Now().Add(quiet)); err != nil {
			e.Fatal(err)
		}
		if _, err := e.in.Read(buf); err != nil {
			return n
		}
	}
	return n
}

// judges checks that the daemon judges, and loses nothing.
func (e *ends) judges() {
	e.Helper()
	const flows = 5
	before := judged(e, e.near)
	e.send(flows)
	if n := e.receive(flows * burst); n != flows*burst {
		e.Errorf("%d of %d packets arrived", n, flows*burst)
	}
	if n := judged(e, e.near) - before; n < flows*burst {
		e.Errorf("%d packets were queued, want %d", n, flows*burst)
	}
}

// queues are those of a namespace.
func queues(t testing.TB, ns *netlab.NetNS) (list []nfq.KernelQueue) {
	t.Helper()
	err := ns.Do(func() (err error) {
		list, err = nfq.ReadKernelQueues()
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return list
}

// judged is how many packets came to the daemon's first queue.
func judged(t testing.TB, ns *netlab.NetNS) uint32 {
	t.Helper()
	for _, q := range queues(t, ns) {
		if q.Queue == 0 {
			return q.IDSequence
		}
	}
	return 0
}

// leavesNothing checks that a daemon which has ended has left neither rules nor queues.
func leavesNothing(t testing.TB, ns *netlab.NetNS) {
	t.Helper()
	if list := queues(t, ns); len(list) != 0 {
		t.Errorf("queues are left: %+v", list)
	}
	if rules := childtest.Shell(t, ns, "nft list ruleset"); strings.Contains(rules, "verdictd") {
		t.Errorf("rules are left:\n%s", rules)
	}
}

// refuses starts the daemon, which is to end by itself with a status, and returns what it has said.
func refuses(t testing.TB, c *childtest.Child, status int, words ...string) {
	t.Helper()
	_ = c.Ended()
	if got := c.Cmd.ProcessState.ExitCode(); got != status {
		t.Errorf("exit status %d (%v), want %d", got, c.Cmd.ProcessState, status)
	}
	said := c.Log()
	for _, w := range words {
		if !strings.Contains(said, w) {
			t.Errorf("it does not say %q:\n%s", w, said)
		}
	}
	if strings.Contains(said, "goroutine ") {
		t.Error("it has crashed")
	}
}

// configuration writes one where any user can read it.
func configuration(t testing.TB, text string) (path string) {
	t.Helper()
	dir, err := os.MkdirTemp("", "faults") //nolint:usetesting // t.TempDir is closed to other users
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	if err := os.Chmod(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	path = filepath.Join(dir, "verdictd.yaml")
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	return path
}

// needsRoot skips what a user namespace cannot show.
func needsRoot(t *testing.T) {
	t.Helper()
	if netlab.Inside() || os.Getuid() != 0 {
		t.Skip("needs to be root of the machine")
	}
}

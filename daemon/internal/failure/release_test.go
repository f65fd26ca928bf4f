package failure

import (
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"slices"
	"strconv"
	"testing"
	"time"

	"github.com/google/nftables"
	"golang.org/x/sys/unix"

	"verdictd/internal/nfq"
	"verdictd/internal/ruleset"
	"verdictd/internal/testkit"
	"verdictd/internal/vocabulary"
)

var discard = slog.New(slog.DiscardHandler)

// socketOf finds a queue's socket among the test's descriptors, as a parent of the daemon holds it.
func socketOf(t *testing.T, queue uint16) *os.File {
	t.Helper()
	queues, err := nfq.ReadKernelQueues()
	if err != nil {
		t.Fatal(err)
	}
	at := slices.IndexFunc(queues, func(k nfq.KernelQueue) bool { return k.Queue == queue })
	if at < 0 {
		t.Fatalf("queue %d is not bound", queue)
	}
	entries, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		fd, err := strconv.Atoi(e.Name())
		if err != nil || !nfq.IsSocket(fd) {
			continue
		}
		address, err := unix.Getsockname(fd)
		if err != nil || address.(*unix.SockaddrNetlink).Pid != queues[at].PortID {
			continue
		}
		held, err := unix.FcntlInt(uintptr(fd), unix.F_DUPFD_CLOEXEC, 0)
		if err != nil {
			t.Fatal(err)
		}
		f := os.NewFile(uintptr(held), "stored")
		t.Cleanup(func() { _ = f.Close() })
		return f
	}
	t.Fatalf("nobody has the socket of queue %d", queue)
	return nil
}

// crash is a daemon that has died over packets that wait, some in the queue of verdicts and some in another.
type crash struct {
	plan    Plan
	sockets []*os.File
	in      *net.UDPConn
	send    func(payload string)
}

func newCrash(t *testing.T, choice vocabulary.OnFailure) *crash {
	t.Helper()
	testkit.Namespace(t)
	c := &crash{plan: Plan{OnFailure: choice, Table: "crashed", FirstQueue: 7, Queues: 1}}
	for _, queue := range []uint16{8, 7} {
		q, err := nfq.OpenMmsg(nfq.Config{Queue: queue})
		if err != nil {
			t.Fatal(err)
		}
		c.sockets = append(c.sockets, socketOf(t, queue))
		if err := q.Close(); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := ruleset.Install(ruleset.Config{
		Table: "crashed", Placement: vocabulary.PlacementOutput, Fanout: vocabulary.FanoutNumgen, FirstQueue: 7, Queues: 2,
		Bypass: choice == vocabulary.FailAccept, IPv4: true, Protocols: []uint8{17},
	}); err != nil {
		t.Fatal(err)
	}
	in, err := net.ListenUDP("udp", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	out, err := net.DialUDP("udp", nil, in.LocalAddr().(*net.UDPAddr))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _, _ = in.Close(), out.Close() })
	c.in = in
	c.send = func(payload string) {
		if _, err := out.Write([]byte(payload)); err != nil {
			t.Fatal(err)
		}
	}
	for i := range waiting {
		c.send(fmt.Sprint(i))
	}
	return c
}

const waiting = 10

func (c *crash) receive() (payloads []string) {
	b := make([]byte, 100)
	for {
		_ = c.in.SetReadDeadline(time.Now().Add(100 * time.Millisecond))
		n, err := c.in.Read(b)
		if err != nil {
			return payloads
		}
		payloads = append(payloads, string(b[:n]))
	}
}

// end lets go of the sockets, as their holder does after Release.
func (c *crash) end() {
	for _, s := range c.sockets {
		_ = s.Close()
	}
}

func TestAccept(t *testing.T) {
	c := newCrash(t, vocabulary.FailAccept)
	if got := c.receive(); len(got) != 0 {
		t.Fatalf("%q arrived before they were released", got)
	}
	if err := Release(c.plan, c.sockets, discard); err != nil {
		t.Fatal(err)
	}
	// Numbers are taken in turn. Those that waited for a verdict come before the others.
	got := c.receive()
	half := slices.Clone(got[:min(len(got), waiting/2)])
	parity := func(s string) int { n, _ := strconv.Atoi(s); return n % 2 }
	if len(got) != waiting || slices.ContainsFunc(half, func(s string) bool { return parity(s) != parity(half[0]) }) {
		t.Errorf("arrived: %q", got)
	}
	c.send("later")
	if got := c.receive(); len(got) != 1 {
		t.Errorf("a later packet arrived as %q", got)
	}
	if exists, err := ruleset.Exists("crashed"); err != nil || exists {
		t.Errorf("the table is still there (%v)", err)
	}
	c.end()
	if err := Release(c.plan, nil, discard); err != nil {
		t.Errorf("once more: %v", err)
	}
}

func TestDrop(t *testing.T) {
	c := newCrash(t, vocabulary.FailDrop)
	if err := Release(c.plan, c.sockets, discard); err != nil {
		t.Fatal(err)
	}
	c.end()
	_, _ = c.in.WriteTo([]byte("later"), c.in.LocalAddr()) // may be told at once
	if got := c.receive(); len(got) != 0 {
		t.Errorf("arrived: %q", got)
	}
}

// TestForeignTable is somebody else's of the same name, which stays.
func TestForeignTable(t *testing.T) {
	testkit.Namespace(t)
	conn := &nftables.Conn{}
	conn.AddTable(&nftables.Table{Name: "foreign", Family: nftables.TableFamilyINet})
	if err := conn.Flush(); err != nil {
		t.Fatal(err)
	}
	if err := Release(Plan{OnFailure: vocabulary.FailAccept, Table: "foreign"}, nil, discard); !errors.Is(err, ruleset.ErrForeign) {
		t.Errorf("error %v, want that the table is foreign", err)
	}
	if exists, err := ruleset.Exists("foreign"); err != nil || !exists {
		t.Errorf("the table is gone (%v)", err)
	}
}

func TestPlanIsOneLine(t *testing.T) {
	p := Plan{OnFailure: vocabulary.FailDrop, LongestWait: time.Second, Table: "a\nb", FirstQueue: 3, Queues: 4}
	if got, err := Parse(p.String()); err != nil || got != p || slices.Contains([]byte(p.String()), '\n') {
		t.Errorf("%s became %+v, %v", p, got, err)
	}
	for _, text := range []string{"", "{}", `{"on_failure":"auto"}`, "null"} {
		if p, err := Parse(text); err == nil {
			t.Errorf("%q is %+v", text, p)
		}
	}
}

package service

import (
	"context"
	"fmt"
	"log/slog"
	"maps"
	"net"
	"net/netip"
	"os/exec"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/nftables"
	"github.com/google/nftables/binaryutil"
	"github.com/google/nftables/expr"
	"github.com/google/nftables/xt"

	"verdictd/daemon/internal/exposure"
	"verdictd/internal/config"
	"verdictd/internal/netlab"
	"verdictd/internal/nfq"
	"verdictd/internal/ruleset"
	"verdictd/internal/testkit"
)

// foreign is the queue of a program that knows nothing of verdictd.
const foreign = 5

var discard = slog.New(slog.DiscardHandler)

// startGuard starts `verdictd guard` in the namespace.
func startGuard(t *testing.T, ns *netlab.NetNS, cfg *config.Config, queues ...exposure.QueueRange) *running {
	t.Helper()
	cfg.Control.Socket = ""
	return launch(t, ns, cfg, func(ctx context.Context, log *slog.Logger) error { return RunGuard(ctx, cfg, queues, options(log)) })
}

// judge serves a queue as a simple program does: one packet at a time, each after a
// delay. It ends with the test.
func judge(t *testing.T, ns *netlab.NetNS, queue uint16, delay time.Duration) {
	t.Helper()
	var q nfq.Queue
	if err := ns.Do(func() (err error) {
		q, err = nfq.OpenMmsg(nfq.Config{Queue: queue, Batch: 1, MaxLength: 65535, ReceiveBuffer: 16 << 20})
		return err
	}); err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() {
		ended <- q.Run(func(b *nfq.Batch) error {
			for i := range b.Packets {
				time.Sleep(delay)
				if err := q.Reply(&nfq.Reply{ID: b.Packets[i].ID, Queue: b.Packets[i].Queue, Verdict: nfq.Accept}); err != nil {
					return err
				}
			}
			return q.Flush()
		})
	}()
	t.Cleanup(func() {
		_ = q.Stop()
		if err := <-ended; err != nil {
			t.Error(err)
		}
		_ = q.Close()
	})
}

// slow is long enough for the four packets of a burst's flow to meet in the queue.
const slow = 500 * time.Microsecond

// command runs a line in the thread's namespace, and skips the test where there is
// no such program.
func command(t *testing.T, line string) {
	t.Helper()
	words := strings.Fields(line)
	path, err := exec.LookPath(words[0])
	if err != nil {
		t.Skipf("no %s on this machine: %v", words[0], err)
	}
	cmd := exec.Command(path, words[1:]...)
	// Without root's lock file, which an ordinary user cannot open.
	cmd.Env = append(cmd.Environ(), "XTABLES_LOCKFILE="+t.TempDir()+"/lock")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%s: %v\n%s", line, err, out)
	}
}

// queueChain makes a chain at the hook with one rule, by which UDP goes to a queue,
// and returns its table. The statement is that of iptables, which all kernels have.
func queueChain(t *testing.T, name string, hook *nftables.ChainHook, priority nftables.ChainPriority, queue byte) *nftables.Table {
	t.Helper()
	info := xt.Unknown{queue, 0, 1, 0, 1, 0, 0, 0} // struct xt_NFQ_info_v3: number, total, flags (bypass)
	c := addRule(t, &nftables.Chain{
		Table: &nftables.Table{Family: nftables.TableFamilyINet, Name: name},
		Type:  nftables.ChainTypeFilter, Hooknum: hook, Priority: &priority,
	},
		&expr.Meta{Key: expr.MetaKeyL4PROTO, Register: 1},
		&expr.Cmp{Op: expr.CmpOpEq, Register: 1, Data: []byte{17}},
		&expr.Target{Name: "NFQUEUE", Rev: 3, Info: &info})
	return c.Table
}

// zoneOf puts what comes through the other device than lo into a zone.
func zoneOf(zone uint16) []expr.Any {
	return []expr.Any{
		&expr.Meta{Key: expr.MetaKeyIIF, Register: 1},
		&expr.Cmp{Op: expr.CmpOpNeq, Register: 1, Data: binaryutil.NativeEndian.PutUint32(1)},
		&expr.Immediate{Register: 1, Data: binaryutil.NativeEndian.PutUint16(zone)},
		&expr.Ct{Key: expr.CtKeyZONE, Register: 1, SourceRegister: true},
	}
}

// gateText is the guard's table as text; "" where there is none.
func gateText(t *testing.T, ns *netlab.NetNS) (text string) {
	t.Helper()
	_ = ns.Do(func() error { text, _ = ruleset.Show(guardTable); return nil })
	return text
}

// streamGap is between two flows: a program that takes 100 us for a packet keeps up
// with them on a busy machine.
const streamGap = 4 * time.Millisecond

// stream sends flows of four packets each to itself in the namespace, one after the
// other, until it is stopped.
type stream struct {
	t     *testing.T
	in    *net.UDPConn
	end   chan struct{}
	once  sync.Once
	ended chan struct{} // closed when all is sent
	group sync.WaitGroup

	sent, arrived atomic.Int64
	twice         int
	disordered    map[int]bool // flows of which a packet has overtaken another
	moves         int          // of all flows to another queue or none, which the flow that is sent just then may notice
	dropped       int64        // what the kernel may have dropped with a table
}

func newStream(t *testing.T, ns *netlab.NetNS) *stream {
	t.Helper()
	s := &stream{t: t, end: make(chan struct{}), ended: make(chan struct{}), disordered: map[int]bool{}}
	to := netip.MustParseAddrPort("127.0.0.1:5300")
	s.in = listen(t, ns, to)
	s.group.Go(func() {
		defer close(s.ended)
		_ = ns.Do(func() error { s.send(to); return nil })
	})
	s.group.Go(s.receive)
	return s
}

func (s *stream) send(to netip.AddrPort) {
	for f := 0; ; f++ {
		select {
		case <-s.end:
			return
		default:
		}
		out, err := net.DialUDP("udp", nil, net.UDPAddrFromAddrPort(to))
		if err != nil {
			s.t.Error(err)
			return
		}
		for i := range 4 {
			if _, err := fmt.Fprintf(out, "%d %d", f, i); err != nil {
				s.t.Error(err)
			}
			s.sent.Add(1)
		}
		_ = out.Close()
		time.Sleep(streamGap)
	}
}

// receive ends when all that was sent has come and nothing more does, or nothing came for
// a while in which a gate may have held it.
func (s *stream) receive() {
	arrived, last := map[int]uint8{}, map[int]int{} // of each flow: which ones, as bits, and the highest one
	b := make([]byte, 100)
	for silent := 0; ; {
		_ = s.in.SetReadDeadline(time.Now().Add(300 * time.Millisecond))
		n, err := s.in.Read(b)
		if err != nil {
			select {
			case <-s.ended:
				if silent++; s.arrived.Load() >= s.sent.Load() || silent == 10 {
					return
				}
			default:
			}
			continue
		}
		silent = 0
		var f, i int
		if _, err := fmt.Sscan(string(b[:n]), &f, &i); err != nil {
			s.t.Error(err)
		}
		if arrived[f]&(1<<i) != 0 {
			s.twice++
			continue
		}
		arrived[f] |= 1 << i
		s.arrived.Add(1)
		if i < last[f] {
			s.disordered[f] = true
		}
		last[f] = max(last[f], i)
	}
}

// reached waits until so many packets more have arrived, and returns how many have by then.
func (s *stream) reached(more int64) int64 {
	s.t.Helper()
	enough := s.arrived.Load() + more
	for until := time.Now().Add(20 * time.Second); s.arrived.Load() < enough; time.Sleep(time.Millisecond) {
		if time.Now().After(until) {
			s.t.Fatalf("%d packets have arrived, want %d", s.arrived.Load(), enough)
		}
	}
	return s.arrived.Load()
}

// finish ends it. It may be called again.
func (s *stream) finish() {
	s.once.Do(func() { close(s.end) })
	s.group.Wait()
}

// stop ends it, and checks that all has arrived once, and in order but for what moves allow.
func (s *stream) stop() {
	s.t.Helper()
	s.finish()
	if lost := s.sent.Load() - s.arrived.Load(); lost < 0 || lost > s.dropped || s.twice != 0 || len(s.disordered) > s.moves {
		s.t.Errorf("%d of %d arrived, %d twice; flows out of order: %v, of which %d may be", s.arrived.Load(), s.sent.Load(), s.twice,
			slices.Sorted(maps.Keys(s.disordered)), s.moves)
	}
}

// namespaceWithoutConntrack is testkit.Namespace, but that nothing is tracked.
func namespaceWithoutConntrack(t *testing.T) *netlab.NetNS {
	t.Helper()
	testkit.Require(t)
	ns := newNamespace(t)
	leave, err := ns.Enter()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := leave(); err != nil {
			t.Error(err)
		}
	})
	return ns
}

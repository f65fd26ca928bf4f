package service

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/nftables"

	"verdictd/daemon/internal/childtest"
	"verdictd/internal/config"
	"verdictd/internal/ct"
	"verdictd/internal/netlab"
	"verdictd/internal/nfq"
	"verdictd/internal/ruleset"
	"verdictd/internal/statistics"
	"verdictd/internal/testkit"
	"verdictd/internal/vocabulary"
)

func TestMain(m *testing.M) { testkit.Main(m) }

const port = 5300

func options(log *slog.Logger) Options { return Options{Version: "devel", Log: log} }

// running is a daemon or a guard in the test's namespace.
type running struct {
	t      *testing.T
	cancel context.CancelFunc
	ended  chan error
	file   string
	said   *log
}

// start returns when the daemon is ready.
func start(t *testing.T, ns *netlab.NetNS, cfg *config.Config) *running {
	t.Helper()
	return launch(t, ns, cfg, func(ctx context.Context, log *slog.Logger) error { return Run(ctx, cfg, options(log)) })
}

// launch returns when what it starts is ready.
func launch(t *testing.T, ns *netlab.NetNS, cfg *config.Config, run func(context.Context, *slog.Logger) error) *running {
	t.Helper()
	dir, err := os.MkdirTemp("", "v") //nolint:usetesting // t.TempDir holds the test's name, and a socket's path at most 107 bytes
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	socket := filepath.Join(dir, "notify")
	c, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: socket, Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	t.Setenv("NOTIFY_SOCKET", socket)
	r := &running{t: t, ended: make(chan error, 1), file: filepath.Join(t.TempDir(), "statistics.json"), said: &log{to: t.Output()}}
	cfg.Statistics.File = r.file
	ctx, cancel := context.WithCancel(context.Background())
	r.cancel = cancel
	go func() {
		r.ended <- ns.Do(func() error { return run(ctx, slog.New(slog.NewTextHandler(r.said, nil))) })
	}()
	b := make([]byte, 1000)
	if err := c.SetReadDeadline(time.Now().Add(childtest.ReadyWithin)); err != nil {
		t.Fatal(err)
	}
	for said := ""; said != "READY=1"; {
		n, err := c.Read(b)
		if err != nil {
			cancel()
			t.Fatalf("not ready: %v, %v", err, <-r.ended)
		}
		said = string(b[:n])
	}
	if err := c.SetReadDeadline(time.Time{}); err != nil {
		t.Fatal(err)
	}
	go func() { _, _ = io.Copy(io.Discard, c) }() // who notifies would wait for room
	return r
}

func (r *running) stop() statistics.Document {
	r.t.Helper()
	r.cancel()
	if err := <-r.ended; err != nil {
		r.t.Fatal(err)
	}
	b, err := os.ReadFile(r.file)
	if err != nil {
		r.t.Fatal(err)
	}
	if err := testkit.Validate(r.t, testkit.Schema(r.t, statisticsSchema), b); err != nil {
		r.t.Errorf("the statistics do not follow their schema: %v", err)
	}
	d, err := statistics.Read(b)
	if err != nil {
		r.t.Fatal(err)
	}
	return *d
}

func testConfig() *config.Config {
	cfg := config.Default()
	cfg.Control.Socket = ""
	cfg.Rules.DestinationPorts = []uint16{port}
	return cfg
}

// burst sends n flows of 4 packets each over lo, one each millisecond, and
// returns how many arrived: when all have, or when it was quiet for a second in which
// nothing waited in queues.
func burst(t *testing.T, address netip.Addr, n int) (arrived int) {
	t.Helper()
	to := net.UDPAddrFromAddrPort(netip.AddrPortFrom(address, port))
	in, err := net.ListenUDP("udp", to)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = in.Close() }()
	childtest.Roomy(t, in)
	var got atomic.Int64
	go receive(in, &got)
	for range n {
		out, err := net.DialUDP("udp", nil, to)
		if err != nil {
			t.Fatal(err)
		}
		for range 4 {
			if _, err := out.Write([]byte("hey")); err != nil {
				t.Fatal(err)
			}
		}
		_ = out.Close()
		time.Sleep(time.Millisecond)
	}
	settle(t, &got, 4*n)
	if lost := childtest.Overflowed(t, in); lost > 0 {
		t.Errorf("%d packets came that found no room in the test's socket", lost)
	}
	return int(got.Load())
}

func receive(in *net.UDPConn, got *atomic.Int64) {
	for b := make([]byte, 100); ; got.Add(1) {
		if _, err := in.Read(b); err != nil {
			return // it is closed
		}
	}
}

// settle returns when so many packets have come, or none for a second in which nothing
// waited in queues of the thread's namespace.
func settle(t *testing.T, got *atomic.Int64, most int) {
	t.Helper()
	const looks = 100 // each 10 ms, as who waits for a CPU has not waited for packets
	had, quiet := int64(-1), 0
	for until := time.Now().Add(time.Minute); quiet < looks && had < int64(most); time.Sleep(10 * time.Millisecond) {
		now := got.Load()
		if quiet++; now != had || waiting(t) {
			quiet = 0
		}
		had = now
		if time.Now().After(until) {
			t.Errorf("%d of %d packets have come, and others still wait", now, most)
			return
		}
	}
}

// waiting reports whether packets wait in queues of the thread's namespace.
func waiting(t *testing.T) bool {
	t.Helper()
	queues, err := nfq.ReadKernelQueues()
	if err != nil {
		t.Fatal(err)
	}
	return slices.ContainsFunc(queues, func(q nfq.KernelQueue) bool { return q.Queued > 0 })
}

// clashes is how many clashes the namespace's conntrack has had.
func clashes(t *testing.T) uint64 {
	t.Helper()
	c, err := ct.Dial()
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = c.Close() }()
	s, err := c.Snapshot()
	if err != nil {
		t.Fatal(err)
	}
	return s.Total().Clashes().N
}

// TestGuard is the promise of the project: the same traffic, with and without
// the guard.
func TestGuard(t *testing.T) {
	const flows = 50
	counted := testkit.CountsClashes(t)
	for _, placement := range []vocabulary.Placement{vocabulary.PlacementOutput, vocabulary.PlacementPostrouting, vocabulary.PlacementVerdict3} {
		for _, address := range []netip.Addr{netip.MustParseAddr("127.0.0.1"), netip.IPv6Loopback()} {
			for _, backend := range []vocabulary.Backend{vocabulary.BackendMmsg, vocabulary.BackendGoNFQueue} {
				if backend == vocabulary.BackendGoNFQueue && address.Is6() {
					continue // the library does not look at packets
				}
				for _, mode := range []vocabulary.GuardMode{vocabulary.GuardOff, vocabulary.GuardHold, vocabulary.GuardDrop} {
					t.Run(fmt.Sprintf("%s %s %s %s", placement, address, backend, mode), func(t *testing.T) {
						ns := testkit.Namespace(t)
						cfg := testConfig()
						cfg.Backend, cfg.Rules.Placement, cfg.Guard.Mode = backend, placement, mode
						// Long enough for a flow's four packets to arrive in it, and most flows' on a busy machine.
						cfg.Analysis = config.Analysis{Distribution: vocabulary.DistributionFixed, Delay: 3 * time.Millisecond, Per: vocabulary.PerFlow}
						d := start(t, ns, cfg)
						arrived := burst(t, address, flows)
						s := d.stop()
						clashed := clashes(t)
						judged := uint64(4 * flows)
						if mode == vocabulary.GuardDrop {
							judged -= s.Gate.Total.Dropped // they never came to the queue
						}
						if s.Total.Received != judged {
							t.Errorf("%d packets were judged, want %d", s.Total.Received, judged)
						}
						switch mode {
						case vocabulary.GuardOff:
							if arrived != 4*flows || counted && clashed < flows/2 {
								t.Errorf("%d of %d arrived, %d clashes; want all, and at least %d", arrived, 4*flows, clashed, flows/2)
							}
						case vocabulary.GuardHold:
							if arrived != 4*flows || clashed != 0 || s.Gate.Total.Held == 0 || s.Gate.Total.Expired+s.Gate.Total.Unguarded != 0 {
								t.Errorf("%d of %d arrived, %d clashes; want all, none, some held and none expired: %+v", arrived, 4*flows, clashed, s.Gate.Total)
							}
						case vocabulary.GuardDrop:
							dropped := s.Gate.Total.Dropped
							if clashed != 0 || uint64(arrived) != 4*flows-dropped || dropped == 0 {
								t.Errorf("%d of %d arrived, %d clashes; want what was not dropped, some of which are, and none: %+v", arrived, 4*flows, clashed, s.Gate.Total)
							}
						}
						if s.Total.QueueDropped+s.Total.UserDropped+s.Total.VerdictErrors > 0 {
							t.Errorf("statistics: %+v", s.Total)
						}
					})
				}
			}
		}
	}
}

// judged is how many packets have left the daemon's queue.
func judged(t *testing.T) (n uint32) {
	t.Helper()
	queues, err := nfq.ReadKernelQueues()
	if err != nil {
		t.Fatal(err)
	}
	for _, q := range queues {
		if q.Queue == 0 {
			n += q.IDSequence - q.Queued
		}
	}
	return n
}

// TestStopLosesNothing stops the daemon in the middle of traffic.
func TestStopLosesNothing(t *testing.T) {
	ns := testkit.Namespace(t)
	cfg := testConfig()
	cfg.Analysis = config.Analysis{Distribution: vocabulary.DistributionFixed, Delay: 100 * time.Microsecond, Per: vocabulary.PerPacket}
	d := start(t, ns, cfg)
	stopped := make(chan statistics.Document)
	counted := make(chan int)
	go func() {
		_ = ns.Do(func() error { counted <- burst(t, netip.MustParseAddr("127.0.0.1"), 500); return nil })
	}()
	for until := time.Now().Add(20 * time.Second); judged(t) < 100 && time.Now().Before(until); {
		time.Sleep(time.Millisecond)
	}
	go func() { stopped <- d.stop() }()
	s := <-stopped
	arrived := <-counted
	if arrived != 2000 {
		t.Errorf("%d of 2000 packets arrived; %+v", arrived, s.Total)
	}
	if s.Total.Received == 0 || s.Total.Received == 2000 {
		t.Errorf("the daemon judged %d packets of 2000: it was not stopped in between", s.Total.Received)
	}
	if _, err := ruleset.Show(cfg.Rules.Table); !errors.Is(err, ruleset.ErrNotFound) {
		t.Errorf("rules after the stop: %v, want none", err)
	}
	if queues, err := nfq.ReadKernelQueues(); err != nil || len(queues) != 0 {
		t.Errorf("queues after the stop: %v, %v, want none", queues, err)
	}
}

// TestTwoDaemons: the second one says who holds the queue, and leaves the first
// one alone.
func TestTwoDaemons(t *testing.T) {
	ns := testkit.Namespace(t)
	d := start(t, ns, testConfig())
	second := testConfig()
	second.Rules.Table = "second"
	err := Run(context.Background(), second, options(discard))
	var inUse *nfq.InUseError
	if !errors.As(err, &inUse) || int(inUse.PortID) == 0 {
		t.Errorf("second daemon: %v, want an InUseError with the holder", err)
	}
	if arrived := burst(t, netip.MustParseAddr("127.0.0.1"), 1); arrived != 4 {
		t.Errorf("%d of 4 packets arrived", arrived)
	}
	if s := d.stop(); s.Total.Received != 4 {
		t.Errorf("the first daemon judged %d packets, want 4", s.Total.Received)
	}
}

// TestRulesFailed: what was opened is closed again.
func TestRulesFailed(t *testing.T) {
	testkit.Namespace(t)
	conn := &nftables.Conn{}
	conn.AddTable(&nftables.Table{Name: testConfig().Rules.Table, Family: nftables.TableFamilyINet})
	if err := conn.Flush(); err != nil {
		t.Fatal(err)
	}
	err := Run(context.Background(), testConfig(), options(discard))
	if !errors.Is(err, ruleset.ErrForeign) {
		t.Errorf("%v, want ErrForeign", err)
	}
	if queues, err := nfq.ReadKernelQueues(); err != nil || len(queues) != 0 {
		t.Errorf("queues: %v, %v, want none", queues, err)
	}
}

func TestGuardHasNothingToDo(t *testing.T) {
	for _, placement := range []vocabulary.Placement{vocabulary.PlacementPreConntrack, vocabulary.PlacementNotrack} {
		t.Run(string(placement), func(t *testing.T) {
			ns := testkit.Namespace(t)
			cfg := testConfig()
			cfg.Rules.Placement = placement
			d := start(t, ns, cfg)
			arrived := burst(t, netip.MustParseAddr("127.0.0.1"), 10)
			s := d.stop()
			if arrived != 40 || s.Guard != string(vocabulary.GuardOff) || s.Gate != nil || s.Total.Received == 0 {
				t.Errorf("%d of 40 arrived, guard %s, %+v", arrived, s.Guard, s.Total.Verdicts)
			}
		})
	}
}

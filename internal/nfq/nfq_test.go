package nfq_test

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"verdictd/internal/nfq"
	"verdictd/internal/ruleset"
	"verdictd/internal/testkit"
	"verdictd/internal/vocabulary"
)

func TestMain(m *testing.M) { testkit.Main(m) }

const port = 5353

var backends = []vocabulary.Backend{vocabulary.BackendMmsg, vocabulary.BackendGoNFQueue}

// rules queues UDP to the port, as it leaves, to the queues from 0 on.
func rules(t testing.TB, queues int, change func(*ruleset.Config)) {
	t.Helper()
	c := ruleset.Config{
		Table: "nfqtest", Placement: vocabulary.PlacementOutput, Fanout: vocabulary.FanoutBalance,
		Queues: uint16(queues), IPv4: true, IPv6: true,
		Protocols: []uint8{17}, DestinationPorts: []uint16{port},
	}
	if change != nil {
		change(&c)
	}
	if _, err := ruleset.Install(c); err != nil {
		t.Fatal(err)
	}
}

// socket is a UDP socket in the test's namespace that is also the receiver.
type socket struct {
	t   testing.TB
	in  *net.UDPConn
	out *net.UDPConn
}

func newSocket(t testing.TB) *socket {
	t.Helper()
	address := net.UDPAddrFromAddrPort(netip.AddrPortFrom(netip.AddrFrom4([4]byte{127, 0, 0, 1}), port))
	in, err := net.ListenUDP("udp4", address)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = in.Close() })
	out, err := net.DialUDP("udp4", nil, address)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = out.Close() })
	return &socket{t, in, out}
}

func (s *socket) send(payload string) {
	s.t.Helper()
	if _, err := s.out.Write([]byte(payload)); err != nil {
		s.t.Fatal(err)
	}
}

// How long is waited for what must come, and for what must not.
const (
	patience = 10 * time.Second
	quiet    = 50 * time.Millisecond
)

// receive waits for so many packets, and then for what is too many. It returns what has come.
func (s *socket) receive(want int) []string {
	s.t.Helper()
	var got []string
	b := make([]byte, 65536)
	for {
		wait := patience
		if len(got) >= want {
			wait = quiet
		}
		if err := s.in.SetReadDeadline(time.Now().Add(wait)); err != nil {
			s.t.Fatal(err)
		}
		n, err := s.in.Read(b)
		if errors.Is(err, os.ErrDeadlineExceeded) {
			return got
		}
		if err != nil {
			s.t.Fatal(err)
		}
		got = append(got, string(b[:n]))
	}
}

// await waits until something is so.
func await(t testing.TB, what string, is func() bool) {
	t.Helper()
	for deadline := time.Now().Add(patience); !is(); time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("not within %v: %s", patience, what)
		}
	}
}

// open binds a queue in the test's namespace.
func open(t testing.TB, backend vocabulary.Backend, cfg nfq.Config) nfq.Queue {
	t.Helper()
	q, err := nfq.Open(backend, cfg)
	if err != nil {
		t.Fatal(err)
	}
	return q
}

// run judges in the background until the returned function is called, which
// also closes the queue.
func run(t testing.TB, q nfq.Queue, handle func(nfq.Packet) nfq.Reply) (stop func()) {
	t.Helper()
	ended := make(chan error, 1)
	go func() {
		runtime.LockOSThread()
		ended <- q.Run(func(b *nfq.Batch) error {
			for _, p := range b.Packets {
				r := handle(p)
				r.ID, r.Queue = p.ID, p.Queue
				if err := q.Reply(&r); err != nil {
					return err
				}
			}
			return q.Flush()
		})
	}()
	return func() {
		t.Helper()
		if err := q.Stop(); err != nil {
			t.Error(err)
		}
		if err := <-ended; err != nil {
			t.Error(err)
		}
		if err := q.Close(); err != nil {
			t.Error(err)
		}
	}
}

func eachBackend(t *testing.T, f func(t *testing.T, backend vocabulary.Backend)) {
	for _, backend := range backends {
		t.Run(string(backend), func(t *testing.T) { f(t, backend) })
	}
}

func TestAcceptAndDrop(t *testing.T) {
	eachBackend(t, func(t *testing.T, backend vocabulary.Backend) {
		testkit.Namespace(t)
		s := newSocket(t)
		q := open(t, backend, nfq.Config{})
		rules(t, 1, nil)
		seen := 0
		stop := run(t, q, func(p nfq.Packet) nfq.Reply {
			seen++
			if vocabulary.HookAt(uint32(p.Hook)) != vocabulary.HookOutput || p.OutDev != 1 || p.CapLen > uint32(len(p.Payload)) {
				t.Errorf("hook %d, out device %d, caplen %d of %d: want OUTPUT, lo and the whole packet", p.Hook, p.OutDev, p.CapLen, len(p.Payload))
			}
			if p.Payload[len(p.Payload)-1]%2 == 1 {
				return nfq.Reply{Verdict: nfq.Drop}
			}
			return nfq.Reply{Verdict: nfq.Accept}
		})
		const sent = 200
		for i := range sent {
			s.send(string([]byte{'n', byte(i)}))
		}
		got := s.receive(sent / 2)
		stop()
		if seen != sent || len(got) != sent/2 {
			t.Fatalf("queue saw %d of %d packets, %d passed, want half", seen, sent, len(got))
		}
		for i, payload := range got {
			if payload[1] != byte(2*i) {
				t.Fatalf("packet %d is number %d: order was not kept", i, payload[1])
			}
		}
		if s := q.Stats(); s.Batches == 0 || s.VerdictErrors != 0 || s.Malformed != 0 {
			t.Errorf("stats: %+v", s)
		}
	})
}

// TestVerdicts runs each verdict and each change that goes with one.
func TestVerdicts(t *testing.T) {
	changed := func(p nfq.Packet) []byte {
		b := append([]byte(nil), p.Payload...)
		b[len(b)-1] = '!'
		b[26], b[27] = 0, 0 // UDP checksum: none
		return b
	}
	tests := map[string]struct {
		first func(p nfq.Packet) nfq.Reply // at queue 0
		want  string                       // what arrives, empty: nothing
		other int                          // how often queue 1 sees it
		seen  int                          // how often queue 0 does
	}{
		"accept":          {first: func(nfq.Packet) nfq.Reply { return nfq.Reply{Verdict: nfq.Accept} }, want: "hey", seen: 1},
		"drop":            {first: func(nfq.Packet) nfq.Reply { return nfq.Reply{Verdict: nfq.Drop} }, seen: 1},
		"changed payload": {first: func(p nfq.Packet) nfq.Reply { return nfq.Reply{Verdict: nfq.Accept, Payload: changed(p)} }, want: "he!", seen: 1},
		"repeat": {first: func(p nfq.Packet) nfq.Reply {
			if p.Mark == 0 {
				return nfq.Reply{Verdict: nfq.Repeat, SetMark: true, Mark: 7}
			}
			return nfq.Reply{Verdict: nfq.Accept}
		}, want: "hey", seen: 2},
		"requeue, marked and changed": {first: func(p nfq.Packet) nfq.Reply {
			return nfq.Reply{Verdict: nfq.Requeue(1), SetMark: true, Mark: 9, Payload: changed(p)}
		}, want: "he!", other: 1, seen: 1},
		"connmark": {first: func(nfq.Packet) nfq.Reply {
			// Only sets something where the kernel has the glue; must do no harm here.
			return nfq.Reply{Verdict: nfq.Accept, SetConnMark: true, ConnMark: 5, ConnMarkMask: 1<<32 - 1}
		}, want: "hey", seen: 1},
	}
	eachBackend(t, func(t *testing.T, backend vocabulary.Backend) {
		for name, test := range tests {
			t.Run(name, func(t *testing.T) {
				testkit.Namespace(t)
				s := newSocket(t)
				q0, q1 := open(t, backend, nfq.Config{}), open(t, backend, nfq.Config{Queue: 1})
				rules(t, 1, nil)
				var seen, other atomic.Int32
				var refused atomic.Pointer[error]
				stop0 := run(t, q0, func(p nfq.Packet) nfq.Reply {
					seen.Add(1)
					r := test.first(p)
					r.ID, r.Queue = p.ID, p.Queue
					if backend == vocabulary.BackendGoNFQueue && r.Verdict>>16 != 0 {
						if err := q0.Reply(&r); !errors.Is(err, nfq.ErrUnsupported) {
							t.Errorf("requeue: %v, want ErrUnsupported", err)
						} else {
							refused.Store(&err)
						}
						return nfq.Reply{Verdict: nfq.Drop}
					}
					return r
				})
				stop1 := run(t, q1, func(p nfq.Packet) nfq.Reply {
					other.Add(1)
					if p.Mark != 9 {
						t.Errorf("mark %d at the second queue, want 9", p.Mark)
					}
					return nfq.Reply{Verdict: nfq.Accept}
				})
				s.send("hey")
				await(t, "judged", func() bool { return refused.Load() != nil || int(seen.Load()+other.Load()) >= test.seen+test.other })
				got := s.receive(min(1, len(test.want)))
				stop0()
				stop1()
				if refused.Load() != nil {
					return
				}
				if strings.Join(got, ", ") != test.want {
					t.Errorf("arrived: %q, want %q", got, test.want)
				}
				if int(seen.Load()) != test.seen || int(other.Load()) != test.other {
					t.Errorf("queues saw it %d and %d times, want %d and %d", seen.Load(), other.Load(), test.seen, test.other)
				}
				if n := q0.Stats().VerdictErrors; n != 0 {
					t.Errorf("%d verdicts were refused", n)
				}
			})
		}
	})
}

func TestRefusedVerdicts(t *testing.T) {
	eachBackend(t, func(t *testing.T, backend vocabulary.Backend) {
		testkit.Namespace(t)
		q := open(t, backend, nfq.Config{})
		defer func() { _ = q.Close() }()
		for _, test := range []struct {
			reply nfq.Reply
			want  error
		}{
			{nfq.Reply{Verdict: 2}, nfq.ErrStolen},
			{nfq.Reply{Verdict: 5}, nfq.ErrVerdict},
			{nfq.Reply{Verdict: 1<<16 | nfq.Accept}, nfq.ErrVerdict},
			{nfq.Reply{Verdict: nfq.Accept, Payload: make([]byte, vocabulary.MaxCopyRange+1)}, nfq.ErrPayloadTooLong},
		} {
			if err := q.Reply(&test.reply); !errors.Is(err, test.want) {
				t.Errorf("verdict %#x: %v, want %v", uint32(test.reply.Verdict), err, test.want)
			}
		}
	})
}

func TestQueueInUse(t *testing.T) {
	eachBackend(t, func(t *testing.T, backend vocabulary.Backend) {
		testkit.Namespace(t)
		holder := open(t, vocabulary.BackendMmsg, nfq.Config{Queue: 9})
		defer func() { _ = holder.Close() }()
		queues, err := nfq.ReadKernelQueues()
		if err != nil || len(queues) != 1 {
			t.Fatalf("kernel's queues: %v, %v; want one", queues, err)
		}
		_, err = nfq.Open(backend, nfq.Config{Queue: 9})
		var inUse *nfq.InUseError
		if !errors.As(err, &inUse) || inUse.Queue != 9 || inUse.PortID != queues[0].PortID || inUse.PortID == 0 {
			t.Fatalf("second bind: %v; want an InUseError that names port id %d", err, queues[0].PortID)
		}
	})
}

// TestMaxLength fills a queue of two, with and without fail-open.
func TestMaxLength(t *testing.T) {
	eachBackend(t, func(t *testing.T, backend vocabulary.Backend) {
		for _, failOpen := range []bool{false, true} {
			t.Run(fmt.Sprintf("fail-open %v", failOpen), func(t *testing.T) {
				testkit.Namespace(t)
				s := newSocket(t)
				q := open(t, backend, nfq.Config{MaxLength: 2, FailOpen: failOpen})
				rules(t, 1, nil)
				for range 5 {
					s.send("hey")
				}
				queues, err := nfq.ReadKernelQueues()
				if err != nil || len(queues) != 1 {
					t.Fatalf("kernel's queues: %v, %v", queues, err)
				}
				wantDropped, wantPassed := uint32(3), 2
				if failOpen {
					wantDropped, wantPassed = 0, 5
				}
				if k := queues[0]; k.QueueDropped != wantDropped || k.Queued != 2 {
					t.Errorf("queued %d, dropped %d, want 2 and %d", k.Queued, k.QueueDropped, wantDropped)
				}
				stop := run(t, q, func(nfq.Packet) nfq.Reply { return nfq.Reply{Verdict: nfq.Accept} })
				got := s.receive(wantPassed)
				stop()
				if len(got) != wantPassed {
					t.Errorf("%d arrived, want %d", len(got), wantPassed)
				}
			})
		}
	})
}

func TestReceiveBuffer(t *testing.T) {
	eachBackend(t, func(t *testing.T, backend vocabulary.Backend) {
		testkit.Namespace(t)
		q := open(t, backend, nfq.Config{ReceiveBuffer: 64 << 10})
		defer func() { _ = q.Close() }()
		if got := q.ReceiveBuffer(); got != 64<<10 {
			t.Errorf("granted %d bytes, want what every process may have", got)
		}
		big := open(t, backend, nfq.Config{Queue: 1, ReceiveBuffer: 64 << 20})
		defer func() { _ = big.Close() }()
		if got := big.ReceiveBuffer(); got <= 64<<10 || got > 64<<20 {
			t.Errorf("granted %d bytes, want more than 64 KiB, as far as the system allows", got)
		}
	})
}

func TestConfigErrors(t *testing.T) {
	for name, cfg := range map[string]nfq.Config{
		"copy mode":      {CopyMode: 7},
		"copy range":     {CopyRange: vocabulary.MaxCopyRange + 1},
		"copy most":      {CopyMost: vocabulary.MaxCopyRange + 1},
		"batch":          {Batch: 1025},
		"receive buffer": {ReceiveBuffer: -1},
	} {
		for _, backend := range backends {
			if _, err := nfq.Open(backend, cfg); err == nil {
				t.Errorf("%s: %+v was accepted by %s", name, cfg, backend)
			}
		}
	}
	if _, err := nfq.Open("pcap", nfq.Config{}); err == nil {
		t.Error("backend pcap was accepted")
	}
}

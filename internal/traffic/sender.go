package traffic

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	hdr "github.com/HdrHistogram/hdrhistogram-go"
	"golang.org/x/sys/unix"
)

// errExhausted ends a run whose sources have no unused port left.
var errExhausted = errors.New("all source addresses and ports are used")

// sender leads the bursts. Its first thread opens the sockets, keeps the schedule and the window, and sends its
// own share; the others only send.
type sender struct {
	cfg       ClashConfig
	clk       clock
	cpus      []int
	ns        netns
	dialer    *dialer
	window    *window // nil: unbounded
	arrivals  *event
	collector *collector // nil where nothing comes back
	far       int        // the receiver's socket, which the far end of ModeCross and ModeReply sends through
	barrier   *barrier
	threads   []*thread

	halt   event
	halted atomic.Bool
	reason atomic.Pointer[Ended] // why it was halted by end

	answered answer // of ModeReply

	flows   atomic.Uint64
	fds     []int
	source  netip.AddrPort // of the flow
	skipped uint64         // source ports that somebody else holds
	first   int64
	last    int64
	lag     *hdr.Histogram // start of a flow after it was due
	spread  *hdr.Histogram // first packets of a burst's threads, first to last
}

func newSender(cfg ClashConfig, clk clock, run uint32, cpus []int) *sender {
	s := &sender{
		cfg: cfg, clk: clk, cpus: cpus,
		dialer:  newDialer(cfg.target(), cfg.Mode == ModeReuseport, cfg.FlowTimeout),
		barrier: newBarrier(cfg.Threads-1, len(cpus)),
		lag:     newHistogram(), spread: newHistogram(),
	}
	s.dialer.protocol = cfg.Protocol
	prefix := make([]byte, cfg.Protocol.prefix())
	if len(prefix) > 0 {
		prefix[0] = echoType(cfg.Target)
	}
	filling := make([]byte, cfg.Size-HeaderSize)
	random := rand.New(rand.NewPCG(cfg.Seed, 1))
	for i := range filling {
		filling[i] = byte(random.Uint32())
	}
	for i := range cfg.Threads {
		packets := (cfg.Burst - i + cfg.Threads - 1) / cfg.Threads
		t := newThreadBehind(prefix, clk, Header{Run: run, Thread: uint16(i)}, packets, cfg.Size, filling,
			cfg.Mode == ModeSendmmsg)
		t.spacing = int64(cfg.Spacing)
		t.reverse = cfg.Mode.twoWay() && i%2 == 1
		if cfg.Mode == ModeReply {
			t.answered = &s.answered
		}
		s.threads = append(s.threads, t)
	}
	return s
}

// end is stop for a run that is complete.
func (s *sender) end(why Ended) {
	s.reason.CompareAndSwap(nil, &why)
	s.stop()
}

// ended says why run has returned; EndedTimeout stands for stop without a reason.
func (s *sender) ended() Ended {
	switch {
	case s.flows.Load() >= uint64(s.cfg.Flows):
		return EndedFlows
	case s.reason.Load() != nil:
		return *s.reason.Load()
	case s.halted.Load():
		return EndedTimeout
	}
	return EndedError
}

// stop makes run return after the burst that is on its way.
func (s *sender) stop() {
	s.halted.Store(true)
	s.halt.bump()
	s.arrivals.bump()
}

// run sends all bursts and returns when the last is sent or the sender is stopped.
func (s *sender) run() error {
	errs := make(chan error, len(s.threads))
	var helpers sync.WaitGroup
	for i, t := range s.threads[1:] {
		helpers.Add(1)
		onThread(func() {
			defer helpers.Done()
			// A helper that cannot be pinned helps all the same, or the leader would wait for it.
			errs <- errors.Join(pin(s.cpus[(i+1)%len(s.cpus)]), shortWaits())
			s.barrier.help(t.burst)
		})
	}
	onThread(func() {
		err := s.ns.do(s.lead)
		s.barrier.stop()
		errs <- err
	})
	var err error
	for range s.threads {
		err = errors.Join(err, <-errs)
	}
	helpers.Wait()
	return err
}

// elapsed is the time since the schedule began.
func (s *sender) elapsed() time.Duration { return time.Duration(s.clk.now() - s.first) }

func (s *sender) lead() error {
	if err := pin(s.cpus[0]); err != nil {
		return err
	}
	if err := shortWaits(); err != nil {
		return err
	}
	if len(s.cfg.Sources) == 0 {
		source, err := defaultSource(s.cfg.target())
		if err != nil {
			return err
		}
		s.cfg.Sources = []netip.Addr{source}
	}
	tuples := newTuples(s.cfg.Sources, s.cfg.Port, s.cfg.Ports, s.cfg.Seed)
	s.first = s.clk.now()
	s.last = s.first
	for flow := range s.cfg.Flows {
		if err := s.flow(uint32(flow), tuples); err != nil {
			return fmt.Errorf("flow %d: %w", flow, err)
		}
		if s.halted.Load() {
			break
		}
	}
	return nil
}

// flow sends one burst; it sends nothing if the sender is stopped while it waits.
func (s *sender) flow(flow uint32, tuples *tuples) error {
	s.waitDue(flow)
	place := s.waitPlace()
	if s.halted.Load() {
		return nil
	}
	if err := s.open(tuples); err != nil {
		return err
	}
	for i, t := range s.threads {
		t.head.Flow = flow
		t.fd = s.fds[i%len(s.fds)]
		if t.reverse {
			t.fd = s.far
			t.address(s.source)
		}
	}
	s.answered.reset()
	s.barrier.gather()
	at := s.aim()
	for _, t := range s.threads {
		t.at = at
	}
	s.barrier.release()
	s.threads[0].burst()
	s.barrier.finish()
	s.account(flow)
	if place != nil {
		s.occupy(place, flow)
	}
	if s.collector == nil {
		closeAll(s.fds)
	}
	return nil
}

// aimAhead is longer than a word takes from one CPU to another, so that all threads have learned of the instant before
// it comes: the leader, which sets it, would otherwise be ahead of the others by as much.
const aimAhead = 2 * time.Microsecond

// aim is the instant at which a burst is to start; 0 for at once, and where threads outnumber CPUs and so cannot spin
// towards it.
func (s *sender) aim() int64 {
	if !s.cfg.Aim || !s.barrier.spinning() || len(s.threads) == 1 {
		return 0
	}
	return s.clk.now() + int64(aimAhead)
}

// waitDue sleeps until the flow's time on the schedule.
func (s *sender) waitDue(flow uint32) {
	for !s.cfg.Pace.Full() {
		seen := s.halt.load()
		wait := s.cfg.Pace.Wait(s.elapsed(), uint64(flow))
		if wait == 0 || s.halted.Load() {
			return
		}
		s.barrier.rest()
		s.halt.wait(seen, wait)
	}
}

// waitPlace sleeps until fewer flows than the bound are in flight.
func (s *sender) waitPlace() *slot {
	for s.window != nil && !s.halted.Load() {
		seen := s.arrivals.load()
		place, wait := s.window.free(s.clk.now())
		if place != nil {
			return place
		}
		s.barrier.rest()
		s.arrivals.wait(seen, wait)
	}
	return nil
}

// open makes the sockets of a new flow from the next source address and port that is free.
func (s *sender) open(tuples *tuples) error {
	want := s.cfg.perFlow()
	for {
		source, ok := tuples.take()
		if !ok {
			return fmt.Errorf("%w (%d source ports were taken by others); add --source addresses", errExhausted, s.skipped)
		}
		s.fds = s.fds[:0]
		err := s.openAt(source, want)
		if err == nil {
			s.source = source
			return nil
		}
		closeAll(s.fds)
		s.fds = s.fds[:0]
		if !errors.Is(err, unix.EADDRINUSE) {
			return err
		}
		s.skipped++
	}
}

func (s *sender) openAt(source netip.AddrPort, want int) error {
	for len(s.fds) < want {
		fd, err := s.dialer.dial(source)
		if err != nil {
			return err
		}
		s.fds = append(s.fds, fd)
		if s.collector != nil {
			if err := s.collector.watch(fd); err != nil {
				return err
			}
		}
	}
	return nil
}

// occupy enters the flow into the window, with its sockets if echoes are to come.
func (s *sender) occupy(place *slot, flow uint32) {
	place.busy, place.flow, place.started = true, flow, s.last
	place.expect = s.cfg.Burst
	for _, t := range s.threads {
		place.expect -= t.failed
	}
	if s.collector != nil {
		place.fds = append(place.fds, s.fds...)
	}
}

// refused is how many packets the kernel did not take. Not while bursts are sent.
func (s *sender) refused() (n uint64) {
	for _, t := range s.threads {
		n += t.errnos.total()
	}
	return n
}

// account notes when the burst was sent against when it was to be.
func (s *sender) account(flow uint32) {
	earliest, latest := s.threads[0].first, s.threads[0].first
	for _, t := range s.threads {
		earliest, latest = min(earliest, t.first), max(latest, t.first)
		s.last = max(s.last, t.last)
	}
	if len(s.threads) > 1 {
		record(s.spread, latest-earliest)
	}
	if !s.cfg.Pace.Full() {
		record(s.lag, earliest-s.first-int64(s.cfg.Pace.Due(uint64(flow))))
	}
	s.flows.Add(1)
}

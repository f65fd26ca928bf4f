package traffic

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"runtime"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"
)

// FloodResult is what a run of RunFlood saw. What is about arrivals is absent from a blind run.
type FloodResult struct {
	Config FloodConfig `json:"config"` // as it ran

	// Sent is packets that were offered to the kernel, SendErrors those of them that it refused, by cause in SendErrno.
	// Calls is how many system calls that took.
	Sent       uint64            `json:"sent"`
	SendErrors uint64            `json:"send_errors"`
	SendErrno  map[string]uint64 `json:"send_errno,omitempty"`
	Calls      uint64            `json:"calls"`

	// SendSeconds is from the start of the threads to the last send, SentPerSecond the packets that the kernel took
	// over it.
	SendSeconds   float64 `json:"send_seconds"`
	SentPerSecond float64 `json:"sent_per_second"`

	// CPUSeconds is what the sending threads used, CPUPerPacket the same by the packets that the kernel took, and
	// PerCPUSecond the other way round: packets a second of one core.
	CPUSeconds   float64 `json:"cpu_seconds"`
	CPUPerPacket float64 `json:"cpu_us_per_packet"`
	PerCPUSecond float64 `json:"packets_per_cpu_second"`

	Lag *Quantiles `json:"lag_us,omitempty"` // a send after its first packet was due; with a rate only

	*FloodArrivals

	Ended       Ended `json:"ended"`
	TimedOut    bool  `json:"timed_out"`
	Interrupted bool  `json:"interrupted"`
}

// FloodArrivals is the receiver's side; the fields mean what those of ClashResult do. Order is looked at within blocks
// of 1,024 packets of a flow.
type FloodArrivals struct {
	Delivered        uint64       `json:"delivered"`
	Lost             uint64       `json:"lost"`
	Duplicated       uint64       `json:"duplicated"`
	Reordered        uint64       `json:"reordered"`
	Corrupted        uint64       `json:"corrupted"`
	Foreign          uint64       `json:"foreign"`
	SourcesChanged   uint64       `json:"sources_changed"`
	ReceivedFrom     []netip.Addr `json:"received_from"`
	ReceiverDropped  *uint64      `json:"receiver_dropped,omitempty"`
	ReceiveBuffer    int          `json:"receive_buffer"`
	Seconds          float64      `json:"seconds"` // from the same start to the last arrival
	PacketsPerSecond float64      `json:"packets_per_second"`
	Latency          Quantiles    `json:"latency_us"` // with a rate from when the packet was due, else from the send
}

// floodRun is one RunFlood.
type floodRun struct {
	cfg FloodConfig
	clk clock
	ends
	arrivals event
	receiver *receiver // nil if blind
	threads  []*floodThread
	start    int64

	halt   event
	halted atomic.Bool
	over   atomic.Bool // the duration is
}

// RunFlood sends packets of a few flows as fast as it can, or at a rate whatever becomes of them (an open loop), and
// accounts for every one. It ends as RunClash does, and like that raises GOMAXPROCS: run one at a time in a process.
func RunFlood(ctx context.Context, cfg FloodConfig, progress func(Progress)) (*FloodResult, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	deadline := time.Now().Add(cfg.Timeout)
	cpus, err := allowedCPUs()
	if err != nil {
		return nil, err
	}
	cfg.Seed = ChooseSeed(cfg.Seed)
	const others = 4
	if want := cfg.Threads + others; want > runtime.GOMAXPROCS(0) {
		defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(want))
	}
	r := &floodRun{cfg: cfg}
	if err := r.open(); err != nil {
		return nil, errors.Join(err, r.close(nil))
	}
	res := &FloodResult{}
	sendErr := r.send(ctx, deadline.Add(-cfg.Linger), cpus, progress)
	r.linger(min(cfg.Linger, time.Until(deadline)))
	closeErr := r.close(res)
	r.fill(res)
	if sendErr != nil && res.Sent == 0 {
		return nil, errors.Join(sendErr, closeErr)
	}
	res.Ended = r.ended(ctx, res.Sent, sendErr)
	res.TimedOut, res.Interrupted = res.Ended == EndedTimeout, res.Ended == EndedInterrupted
	cause := map[Ended]error{EndedTimeout: ErrTimedOut, EndedInterrupted: ErrInterrupted}[res.Ended]
	if cause != nil {
		sendErr = fmt.Errorf("sent %d of %d packets: %w", res.Sent, cfg.Packets, cause)
	}
	return res, errors.Join(sendErr, closeErr)
}

func (r *floodRun) ended(ctx context.Context, sent uint64, err error) Ended {
	switch {
	case err != nil:
		return EndedError
	case sent >= uint64(r.cfg.Packets):
		return EndedPackets
	case r.over.Load():
		return EndedDuration
	case ctx.Err() != nil:
		return EndedInterrupted
	}
	return EndedTimeout
}

func (r *floodRun) open() (err error) {
	if r.clk, err = newClock(); err != nil {
		return err
	}
	if err := r.ends.open(r.cfg.SenderNetns, r.cfg.ReceiverNetns); err != nil {
		return err
	}
	id := rand.Uint32() // not from the seed: see run.open
	if !r.cfg.Blind {
		plan := r.cfg.plan()
		in := newIntake(r.clk, NewLedger(id, plan.flows*plan.blocks, floodBlock, 1), r.cfg.Size, true)
		clash := ClashConfig{Target: r.cfg.Target, Port: r.cfg.Port, ReceiveAt: r.cfg.ReceiveAt}
		r.receiver, err = startReceiver(r.receiving, clash.receiveAt(), r.cfg.ReceiveBuffer, in, &r.arrivals, noEcho)
		if err != nil {
			return err
		}
	}
	filling := make([]byte, r.cfg.Size-HeaderSize)
	random := rand.New(rand.NewPCG(r.cfg.Seed, 1))
	for i := range filling {
		filling[i] = byte(random.Uint32())
	}
	for i := range r.cfg.Threads {
		t := newFloodThread(r.clk, &r.cfg, id, i, filling)
		t.halt, t.halted = &r.halt, &r.halted
		r.threads = append(r.threads, t)
	}
	return r.sending.do(r.dial)
}

// dial opens the flows' sockets.
func (r *floodRun) dial() error {
	target := netip.AddrPortFrom(r.cfg.Target, r.cfg.Port)
	if len(r.cfg.Sources) == 0 {
		source, err := defaultSource(target)
		if err != nil {
			return err
		}
		r.cfg.Sources = []netip.Addr{source}
	}
	dialer := newDialer(target, false, r.cfg.SendTimeout)
	tuples := newTuples(r.cfg.Sources, r.cfg.Port, PortsShuffled, r.cfg.Seed)
	for flow := 0; flow < r.cfg.Flows; {
		source, ok := tuples.take()
		if !ok {
			return fmt.Errorf("flow %d: %w; add --source addresses", flow, errExhausted)
		}
		fd, err := dialer.dial(source)
		if errors.Is(err, unix.EADDRINUSE) {
			continue
		}
		if err != nil {
			return fmt.Errorf("flow %d: %w", flow, err)
		}
		t := r.threads[flow%len(r.threads)]
		t.fds = append(t.fds, fd)
		if r.cfg.Segments > 1 {
			if err := unix.SetsockoptInt(fd, unix.SOL_UDP, unix.UDP_SEGMENT, r.cfg.Size); err != nil {
				return fmt.Errorf("set UDP_SEGMENT (needs Linux 4.18; leave --segments out on older kernels): %w", err)
			}
		}
		flow++
	}
	return nil
}

// send returns when all threads have sent their shares, or were stopped.
func (r *floodRun) send(ctx context.Context, deadline time.Time, cpus []int, progress func(Progress)) error {
	ctx, cancel := context.WithDeadline(ctx, deadline)
	defer cancel()
	stop := func() {
		r.halted.Store(true)
		r.halt.bump()
	}
	defer context.AfterFunc(ctx, stop)()
	if r.cfg.Duration > 0 {
		defer time.AfterFunc(r.cfg.Duration, func() {
			r.over.Store(true)
			stop()
		}).Stop()
	}
	errs := make(chan error, len(r.threads))
	var threads sync.WaitGroup
	r.start = r.clk.now()
	for i, t := range r.threads {
		threads.Add(1)
		onThread(func() {
			defer threads.Done()
			err := errors.Join(pin(cpus[i%len(cpus)]), shortWaits())
			if err == nil {
				err = t.run(r.start)
			}
			errs <- err
		})
	}
	done := make(chan struct{})
	go func() {
		threads.Wait()
		close(done)
	}()
	const interval = 200 * time.Millisecond
	tick := time.NewTicker(interval)
	defer tick.Stop()
	for {
		select {
		case <-done:
			var err error
			for range r.threads {
				err = errors.Join(err, <-errs)
			}
			return err
		case <-tick.C:
			if progress != nil {
				progress(r.progress())
			}
		}
	}
}

func (r *floodRun) progress() (p Progress) {
	for _, t := range r.threads {
		p.Sent += uint64(t.next.Load())
	}
	if r.receiver != nil {
		p.Counts = r.receiver.ledger.Counts()
	}
	return p
}

// linger waits until all packets have arrived.
func (r *floodRun) linger(limit time.Duration) {
	if r.receiver == nil {
		return
	}
	want := r.progress().Sent
	for _, t := range r.threads {
		want -= t.failed
	}
	linger(r.clk, limit, 50*time.Millisecond, func() (complete bool, last int64) {
		return r.receiver.ledger.Counts().Delivered >= want, r.receiver.last.Load()
	})
}

// close ends what open started, the receiver first.
func (r *floodRun) close(res *FloodResult) (err error) {
	if r.receiver != nil {
		dropped, rerr := r.receiver.stop()
		err = rerr
		if res != nil {
			res.FloodArrivals = &FloodArrivals{ReceiverDropped: dropped}
		}
	}
	for _, t := range r.threads {
		closeAll(t.fds)
	}
	r.ends.close()
	return err
}

// fill reads the figures; every thread has ended.
func (r *floodRun) fill(res *FloodResult) {
	res.Config = r.cfg
	res.SendErrno = map[string]uint64{}
	lag := newHistogram()
	last, cpu := int64(0), time.Duration(0)
	for _, t := range r.threads {
		res.Sent += uint64(t.next.Load())
		res.SendErrors += t.failed
		res.Calls += t.calls
		t.errnos.names(res.SendErrno)
		lag.Merge(t.lag)
		last, cpu = max(last, t.ended), cpu+t.cpu
	}
	if !r.cfg.Pace.Full() {
		res.Lag = new(quantiles(lag))
	}
	taken := float64(res.Sent - res.SendErrors)
	res.SendSeconds, res.CPUSeconds = time.Duration(last-r.start).Seconds(), cpu.Seconds()
	if res.SendSeconds > 0 {
		res.SentPerSecond = taken / res.SendSeconds
	}
	if taken > 0 && res.CPUSeconds > 0 {
		res.CPUPerPacket, res.PerCPUSecond = res.CPUSeconds*1e6/taken, taken/res.CPUSeconds
	}
	if a := res.FloodArrivals; a != nil {
		r.fillArrivals(a, res.Sent, last)
	}
}

func (r *floodRun) fillArrivals(a *FloodArrivals, sent uint64, last int64) {
	counts := r.receiver.ledger.Counts()
	a.Delivered, a.Lost = counts.Delivered, sent-counts.Delivered
	a.Duplicated, a.Reordered = counts.Duplicated, counts.Reordered
	a.Corrupted, a.Foreign, a.SourcesChanged = counts.Corrupted, counts.Foreign, counts.SourcesChanged
	a.ReceivedFrom, a.ReceiveBuffer = r.receiver.ledger.Sources(), r.receiver.buffer
	a.Seconds = time.Duration(max(last, r.receiver.last.Load()) - r.start).Seconds()
	if a.Seconds > 0 {
		a.PacketsPerSecond = float64(a.Delivered) / a.Seconds
	}
	a.Latency = quantiles(r.receiver.ages)
}

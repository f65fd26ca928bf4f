package traffic

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"runtime"
	"time"

	"golang.org/x/sys/unix"
)

// Why a run ended before all flows were sent.
var (
	ErrTimedOut    = errors.New("the timeout came first; give it more, or send fewer flows")
	ErrInterrupted = errors.New("interrupted")
)

// Progress is what a run can tell while it goes on.
type Progress struct {
	Flows  uint64 // sent so far
	Sent   uint64 // packets, of a flood
	Counts Counts // at the receiver
}

// run is one RunClash: what must be stopped and closed, in which order.
type run struct {
	cfg ClashConfig
	ends
	arrivals  event
	sender    *sender
	receiver  *receiver
	collector *collector
}

// RunClash sends the bursts of cfg and accounts for every packet. A run that could not send anything has no
// result; one that ended early has both a result and an error, which is ErrTimedOut, ErrInterrupted (the context
// was cancelled) or what stood in the way.
//
// progress, unless nil, is called now and then. GOMAXPROCS is raised for the time of the run, so that no sending
// thread waits for the Go scheduler; run one at a time in a process.
func RunClash(ctx context.Context, cfg ClashConfig, progress func(Progress)) (*ClashResult, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	deadline := time.Now().Add(cfg.Timeout)
	cpus, err := allowedCPUs()
	if err != nil {
		return nil, err
	}
	cfg.Threads = cfg.chooseThreads(len(cpus))
	cfg.Seed = ChooseSeed(cfg.Seed)
	if err := checkDescriptors(&cfg); err != nil {
		return nil, err
	}
	const others = 4 // receiver, collector, this goroutine, the runtime's own
	if want := cfg.Threads + others; want > runtime.GOMAXPROCS(0) {
		defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(want))
	}

	r := &run{cfg: cfg}
	if err := r.open(cpus); err != nil {
		return nil, errors.Join(err, r.close(nil))
	}
	res := &ClashResult{}
	sendErr := r.send(ctx, deadline.Add(-cfg.Linger), progress)
	r.linger(min(cfg.Linger, time.Until(deadline)))
	closeErr := r.close(res)
	r.fill(res)
	if sendErr != nil && res.Flows == 0 {
		return nil, errors.Join(sendErr, closeErr)
	}
	res.Ended = r.sender.ended()
	if sendErr == nil && res.Ended == EndedTimeout {
		cause := ErrTimedOut
		res.TimedOut = true
		if ctx.Err() != nil {
			cause = ErrInterrupted
			res.TimedOut, res.Interrupted, res.Ended = false, true, EndedInterrupted
		}
		sendErr = fmt.Errorf("sent %d of %d flows: %w", res.Flows, cfg.Flows, cause)
	}
	return res, errors.Join(sendErr, closeErr)
}

// checkDescriptors refuses a window of sockets that the process may not open.
func checkDescriptors(cfg *ClashConfig) error {
	if !cfg.keepsSockets() {
		return nil
	}
	var limit unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &limit); err != nil {
		return fmt.Errorf("read the limit of open files: %w", err)
	}
	const spare = 32 // the runtime's, standard streams, namespaces, the receiver
	if need := uint64(cfg.Outstanding*cfg.perFlow() + spare); need > limit.Cur {
		return fmt.Errorf("packets that come back with %d flows in flight needs %d open files and the limit is %d: lower the flows in flight, or raise the limit (ulimit -n)",
			cfg.Outstanding, need, limit.Cur)
	}
	return nil
}

// open starts whatever receives, so that nothing is sent before somebody listens.
func (r *run) open(cpus []int) (err error) {
	clk, err := newClock()
	if err != nil {
		return err
	}
	if err := r.ends.open(r.cfg.SenderNetns, r.cfg.ReceiverNetns); err != nil {
		return err
	}
	// Not from the seed: a straggler of an earlier run with the same seed must be told apart.
	id := rand.Uint32()
	newLedger := func() *Ledger { return NewLedger(id, r.cfg.Flows, r.cfg.Burst, r.cfg.Threads) }

	const headers = 60 + icmpHeader // with a raw socket's datagrams at most
	in := newIntake(clk, newLedger(), r.cfg.Size+headers*min(1, r.cfg.Protocol.prefix()), true)
	arrived := in.ledger.Received
	socket := receiverSocket{at: r.cfg.receiveAt(), buffer: r.cfg.ReceiveBuffer, protocol: r.cfg.Protocol,
		several: len(r.cfg.Backends) > 0}
	if r.receiver, err = socket.start(r.receiving, in, &r.arrivals, echoCPU(r.cfg.Echo, cpus)); err != nil {
		return err
	}
	if r.cfg.keepsSockets() {
		back := newLedger()
		if r.collector, err = startCollector(newIntake(clk, back, r.cfg.Size, false), &r.arrivals); err != nil {
			return err
		}
		arrived = back.Received
		if r.cfg.Mode.twoWay() {
			arrived = func(flow uint32) int { return in.ledger.Received(flow) + back.Received(flow) }
		}
	}
	r.sender = newSender(r.cfg, clk, id, cpus)
	r.sender.far = r.receiver.fd
	r.sender.ns, r.sender.arrivals, r.sender.collector = r.sending, &r.arrivals, r.collector
	if r.cfg.Outstanding > 0 {
		r.sender.window = newWindow(r.cfg.Outstanding, r.cfg.FlowTimeout, arrived, closeAll)
	}
	return nil
}

// send runs the sender until it is done, the context is cancelled or the deadline has come.
func (r *run) send(ctx context.Context, deadline time.Time, progress func(Progress)) error {
	ctx, cancel := context.WithDeadline(ctx, deadline)
	defer cancel()
	defer context.AfterFunc(ctx, r.sender.stop)()
	if r.cfg.Duration > 0 {
		defer time.AfterFunc(r.cfg.Duration, func() { r.sender.end(EndedDuration) }).Stop()
	}
	done := make(chan error, 1)
	go func() { done <- r.sender.run() }()

	const interval = 100 * time.Millisecond
	tick := time.NewTicker(interval)
	defer tick.Stop()
	for {
		select {
		case err := <-done:
			return err
		case <-tick.C:
			if r.cfg.Enough != nil && r.cfg.Enough() {
				r.sender.end(EndedEnough)
			}
			if progress != nil {
				progress(Progress{Flows: r.sender.flows.Load(), Counts: r.receiver.ledger.Counts()})
			}
		}
	}
}

// linger waits until all packets and echoes have arrived.
func (r *run) linger(limit time.Duration) {
	want := r.sender.flows.Load()*uint64(r.cfg.Burst) - r.sender.refused()
	linger(r.sender.clk, limit, 50*time.Millisecond, func() (complete bool, last int64) {
		last = r.receiver.last.Load()
		delivered := r.receiver.ledger.Counts().Delivered
		if r.cfg.Mode.twoWay() {
			delivered += r.collector.ledger.Counts().Delivered
		}
		complete = delivered >= want
		if r.collector != nil {
			last = max(last, r.collector.last.Load())
		}
		if r.cfg.Echo {
			complete = complete && r.collector.ledger.Counts().Delivered >= r.receiver.echoSent.Load()
		}
		return complete, last
	})
}

// close ends what open started. Order matters: the receiver stops before the flows' sockets close, so that it
// sends no echo to a port that nobody holds.
func (r *run) close(res *ClashResult) (err error) {
	if r.receiver != nil {
		dropped, rerr := r.receiver.stop()
		err = errors.Join(err, rerr)
		if res != nil {
			res.ReceiverDropped = dropped
		}
	}
	if r.collector != nil {
		err = errors.Join(err, r.collector.stop())
	}
	if r.sender != nil && r.sender.window != nil {
		r.sender.window.retireAll()
	}
	r.ends.close()
	return err
}

// fill reads the figures; every thread has ended.
func (r *run) fill(res *ClashResult) {
	s := r.sender
	counts := r.receiver.ledger.Counts()
	last, ages := r.receiver.last.Load(), r.receiver.ages
	if r.cfg.Mode.twoWay() {
		counts = counts.plus(r.collector.ledger.Counts())
		last = max(last, r.collector.last.Load())
		ages.Merge(r.collector.ages)
	}
	res.Config = s.cfg
	res.Flows = s.flows.Load()
	res.Sent = res.Flows * uint64(r.cfg.Burst)
	res.Delivered = counts.Delivered
	res.Lost = res.Sent - counts.Delivered
	res.Duplicated, res.Reordered = counts.Duplicated, counts.Reordered
	res.Corrupted, res.Foreign = counts.Corrupted, counts.Foreign
	res.SourcesChanged, res.ReceivedFrom = counts.SourcesChanged, r.receiver.ledger.Sources()
	res.Split = r.receiver.ledger.Split()
	res.SendErrno = map[string]uint64{}
	res.SendErrors = s.refused()
	for _, t := range s.threads {
		t.errnos.names(res.SendErrno)
	}
	res.ReceiveBuffer = r.receiver.buffer
	res.PortsSkipped = s.skipped
	if s.window != nil {
		res.Expired = s.window.expired
	}
	if res.Flows > 0 {
		res.Seconds = time.Duration(max(s.last, last) - s.first).Seconds()
	}
	if res.Seconds > 0 {
		res.PacketsPerSecond = float64(res.Delivered) / res.Seconds
	}
	res.Latency = quantiles(ages)
	if r.cfg.Threads > 1 {
		res.Spread = new(quantiles(s.spread))
	}
	if !r.cfg.Pace.Full() {
		res.Lag = new(quantiles(s.lag))
	}
	if r.cfg.Echo {
		res.EchoResult = r.echo()
	}
}

func (r *run) echo() *EchoResult {
	counts := r.collector.ledger.Counts()
	e := &EchoResult{
		RoundTrip:      quantiles(r.collector.ages),
		EchoSent:       r.receiver.echoSent.Load(),
		EchoDelivered:  counts.Delivered,
		EchoDuplicated: counts.Duplicated,
		EchoReordered:  counts.Reordered,
		EchoCorrupted:  counts.Corrupted,
		EchoSendErrors: r.receiver.echoErrors.total(),
		EchoSendErrno:  map[string]uint64{},
	}
	e.EchoLost = e.EchoSent - e.EchoDelivered
	r.receiver.echoErrors.names(e.EchoSendErrno)
	return e
}

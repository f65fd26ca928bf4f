package traffic

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

// MixConfig says what RunMix sends: flows of all sorts at once, drawn from a seed. They have 1 to 16 packets, of 28 to
// 1,400 bytes and some beyond the MTU, that follow each other at once or after gaps of up to 200 ms; some pause for
// seconds, some are sent by two threads, some have a source port that another flow had seconds ago.
type MixConfig struct {
	// Targets are where flows go, each as likely as another. Their addresses must be safe to send to, as Target of
	// ClashConfig.
	Targets []MixTarget `json:"targets"`
	// Sources4 and Sources6 are the addresses that flows come from, by family.
	Sources4 []netip.Addr `json:"sources4"`
	Sources6 []netip.Addr `json:"sources6"`
	// Rate is how many flows begin in a second, on average, for as long as Duration.
	Rate     float64       `json:"rate"`
	Duration time.Duration `json:"-"`
	Seed     uint64        `json:"seed"`
	// SenderNetns and ReceiverNetns are paths of network namespaces; empty: the process's own.
	SenderNetns   string `json:"sender_netns,omitempty"`
	ReceiverNetns string `json:"receiver_netns,omitempty"`
	// ReceiveBuffer is asked for as each receiver's socket buffer.
	ReceiveBuffer int `json:"receive_buffer"`
	// Linger bounds the wait for stragglers, which ends when all targets but the Lossy ones have got everything.
	Linger time.Duration `json:"-"`
	// AnswerWithin is how long a flow's socket waits for echoes, and as long again for one that is missing; 0: 3 s.
	AnswerWithin time.Duration `json:"-"`
}

// MarshalJSON writes durations as Go writes them ("50ms").
func (c MixConfig) MarshalJSON() ([]byte, error) {
	type plain MixConfig
	return json.Marshal(struct {
		plain
		Duration string `json:"duration"`
		Linger   string `json:"linger"`
	}{plain(c), c.Duration.String(), c.Linger.String()})
}

// UnmarshalJSON reads what MarshalJSON writes.
func (c *MixConfig) UnmarshalJSON(b []byte) error {
	type plain MixConfig
	written := struct {
		*plain
		Duration string `json:"duration"`
		Linger   string `json:"linger"`
	}{plain: (*plain)(c)}
	err := json.Unmarshal(b, &written)
	if err == nil {
		c.Duration, err = time.ParseDuration(written.Duration)
	}
	if err == nil {
		c.Linger, err = time.ParseDuration(written.Linger)
	}
	return err
}

// MixTarget is an address with a receiver of its own.
type MixTarget struct {
	Address netip.AddrPort `json:"address"`
	Echo    bool           `json:"echo"`  // return each payload
	Lossy   bool           `json:"lossy"` // some packets are meant to be dropped on the way
}

// hold is how long a flow's socket waits for the last echoes.
func (c *MixConfig) hold() time.Duration { return cmp.Or(c.AnswerWithin, DefaultAnswerWithin) }

// DefaultAnswerWithin is [MixConfig.AnswerWithin] where it is 0.
const DefaultAnswerWithin = 3 * time.Second

// capacity is how many flows the ledgers have room for: there is no telling how many a random process draws, but twice
// the mean is out of its reach.
func (c *MixConfig) capacity() int { return 1000 + 2*int(c.Rate*c.Duration.Seconds()) }

// Validate returns every problem at once.
func (c *MixConfig) Validate() error {
	var errs []error
	bad := func(format string, args ...any) { errs = append(errs, fmt.Errorf(format, args...)) }
	if len(c.Targets) == 0 {
		bad("no targets")
	}
	for i, t := range c.Targets {
		if slices.ContainsFunc(c.Targets[:i], func(o MixTarget) bool { return o.Address == t.Address }) {
			bad("target %s: given twice", t.Address)
		}
		if err := CheckTarget(t.Address.Addr(), netip.Addr{}); err != nil {
			errs = append(errs, err)
			continue
		}
		if sources := c.sources(t.Address.Addr()); len(sources) == 0 {
			bad("target %s: no source address of its family", t.Address)
		}
	}
	for _, sources := range [][]netip.Addr{c.Sources4, c.Sources6} {
		for i, a := range sources {
			if !a.IsValid() || a.IsUnspecified() || a.IsMulticast() || a.Is4In6() || a.Zone() != "" {
				bad("source %s: want the plain address of an interface", a)
			} else if slices.Contains(sources[:i], a) {
				bad("source %s: given twice", a)
			}
		}
	}
	if !(c.Rate > 0 && c.Rate <= 1e5) {
		bad("rate %v: want above 0 and at most 100,000 flows a second", c.Rate)
	}
	if c.Duration <= 0 || c.Duration > MaxTimeout {
		bad("duration %s: want above zero and at most %s", c.Duration, MaxTimeout)
	}
	if c.AnswerWithin < 0 || c.AnswerWithin > MaxTimeout {
		bad("answer within %s: want zero or more, and at most %s", c.AnswerWithin, MaxTimeout)
	}
	if c.Linger < 0 {
		bad("linger %s: want zero or more", c.Linger)
	}
	if c.ReceiveBuffer < 1 || c.ReceiveBuffer > 1<<30 {
		bad("receive buffer %d: want 1 to %d bytes", c.ReceiveBuffer, 1<<30)
	}
	return errors.Join(errs...)
}

func (c *MixConfig) sources(target netip.Addr) []netip.Addr {
	if target.Is4() {
		return c.Sources4
	}
	return c.Sources6
}

// mixRun is what must be stopped and closed.
type mixRun struct {
	cfg MixConfig
	ends
	arrivals  event
	receivers []*receiver
	collector *collector
	director  *mixDirector
	halted    atomic.Bool
}

// RunMix sends flows for cfg.Duration and accounts for every packet. It ends early, with a result and ErrInterrupted,
// when the context is cancelled. Like RunClash it raises GOMAXPROCS meanwhile: run one at a time in a process.
func RunMix(ctx context.Context, cfg MixConfig) (_ *MixResult, err error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	if want := len(cfg.Targets) + mixThreads + 4; want > runtime.GOMAXPROCS(0) {
		defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(want))
	}
	r := &mixRun{cfg: cfg}
	if err := r.open(); err != nil {
		return nil, errors.Join(err, r.close(nil))
	}
	res := &MixResult{SendErrors: map[string]uint64{}, EchoErrors: map[string]uint64{}}
	err = r.send(ctx)
	if ctx.Err() != nil {
		err = errors.Join(err, ErrInterrupted)
	}
	r.linger()
	err = errors.Join(err, r.close(res))
	r.fill(res)
	return res, err
}

// open starts whatever receives.
func (r *mixRun) open() (err error) {
	cpus, err := allowedCPUs()
	if err != nil {
		return err
	}
	clk, err := newClock()
	if err != nil {
		return err
	}
	if err := r.ends.open(r.cfg.SenderNetns, r.cfg.ReceiverNetns); err != nil {
		return err
	}
	id := rand.Uint32() // not from the seed: see run.open
	ledger := func() *Ledger { return NewLedger(id, r.cfg.capacity(), mixThreads*mixPackets, mixThreads) }
	r.director = &mixDirector{cfg: &r.cfg, clk: clk, begun: clk.now(), ns: r.sending, plan: newMixPlan(&r.cfg),
		halted: &r.halted}
	for _, t := range r.cfg.Targets {
		in := newIntake(clk, ledger(), mixOversize, true)
		receiver, err := startReceiver(r.receiving, t.Address, r.cfg.ReceiveBuffer, in, &r.arrivals, echoCPU(t.Echo, cpus))
		if err != nil {
			return err
		}
		r.receivers = append(r.receivers, receiver)
		const sendTimeout = 2 * time.Second
		r.director.dialers = append(r.director.dialers, newDialer(t.Address, false, sendTimeout))
	}
	if r.collector, err = startCollector(newIntake(clk, ledger(), mixOversize, false), &r.arrivals); err != nil {
		return err
	}
	r.director.collector = r.collector
	for lane := range mixThreads {
		r.director.threads = append(r.director.threads,
			newMixThread(clk, r.director.begun, id, lane, len(r.cfg.Targets), r.cfg.Seed, &r.halted))
	}
	return nil
}

// send returns when the plan is carried out, or the context is cancelled.
func (r *mixRun) send(ctx context.Context) error {
	cpus, err := allowedCPUs()
	if err != nil {
		return err
	}
	defer context.AfterFunc(ctx, func() {
		r.halted.Store(true)
		for _, t := range r.director.threads {
			t.wake.bump()
		}
	})()
	errs := make(chan error, mixThreads+1)
	var group sync.WaitGroup
	for i, t := range r.director.threads {
		group.Add(1)
		onThread(func() {
			defer group.Done()
			errs <- pin(cpus[i%len(cpus)])
			t.run()
		})
	}
	onThread(func() {
		err := r.sending.do(r.director.run)
		for _, t := range r.director.threads {
			t.close()
		}
		errs <- err
	})
	for range cap(errs) {
		err = errors.Join(err, <-errs)
	}
	group.Wait()
	return err
}

// sent is how many packets were offered to the kernel for a target.
func (r *mixRun) sent(target int) (n uint64) {
	for _, t := range r.director.threads {
		n += t.sent[target]
	}
	return n
}

// linger waits until all packets and echoes have arrived that are to, and then for a while, as of a lossy target nobody
// knows.
func (r *mixRun) linger() {
	since := r.director.clk.now()
	linger(r.director.clk, r.cfg.Linger, 300*time.Millisecond, func() (complete bool, last int64) {
		last = max(since, r.collector.last.Load())
		echoes, complete := uint64(0), true
		for i, c := range r.receivers {
			last = max(last, c.last.Load())
			echoes += c.echoSent.Load()
			complete = complete && (r.cfg.Targets[i].Lossy || c.ledger.Counts().Delivered >= r.sent(i))
		}
		return complete && r.collector.ledger.Counts().Delivered >= echoes, last
	})
}

// close ends what open started, in the order of run.close.
func (r *mixRun) close(res *MixResult) (err error) {
	for i, c := range r.receivers {
		dropped, rerr := c.stop()
		err = errors.Join(err, rerr)
		if res != nil {
			res.Targets = append(res.Targets, MixTargetResult{
				MixTarget: r.cfg.Targets[i], Sent: r.sent(i), Counts: c.ledger.Counts(), ReceiverDropped: dropped,
				ReceivedFrom: c.ledger.Sources(),
			})
		}
	}
	if r.collector != nil {
		err = errors.Join(err, r.collector.stop())
	}
	if r.director != nil {
		r.director.closeAll()
	}
	r.ends.close()
	return err
}

// fill reads the other figures; every thread has ended.
func (r *mixRun) fill(res *MixResult) {
	res.Shape, res.EchoDropped = r.director.shape, r.director.dropped
	res.Seconds = r.director.elapsed().Seconds()
	res.EchoCounts = r.collector.ledger.Counts()
	for _, c := range r.receivers {
		res.EchoSent += c.echoSent.Load()
		c.echoErrors.names(res.EchoErrors)
	}
	for _, t := range r.director.threads {
		t.errnos.names(res.SendErrors)
	}
}

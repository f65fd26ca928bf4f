package engine

import (
	"errors"
	"fmt"
	"runtime"
	"sync"

	"golang.org/x/sys/unix"

	"verdictd/internal/flow"
	"verdictd/internal/nfq"
	"verdictd/internal/policy"
)

// Config says what an Engine does.
type Config struct {
	// Queue is the template for all queues, the first of which has its number;
	// the others follow it. Others, OnThread and OnWait are the engine's.
	Queue  nfq.Config
	Queues int
	// EntryQueues, if set, are bound beside each queue, to the same socket.
	EntryQueues *EntryQueues
	// Open binds a queue.
	Open func(nfq.Config) (nfq.Queue, error)
	// Pin lists CPUs; queue i runs on Pin[i modulo its length]. Empty: anywhere.
	Pin []int

	Policy   *policy.Policy
	Analysis Analysis

	// Guard is the mode, Mark the bit that the queue's rules let pass, Flows the
	// table's size and times (its Queues and Drop are the engine's). NewSender opens raw
	// sockets for GuardReinject, one set per queue.
	Guard     GuardMode
	Mark      uint32
	Flows     flow.Config
	NewSender func() (Sender, error)
	// NewProver opens a way to ask conntrack, one per queue, which GuardReinject
	// needs at INPUT and FORWARD. Without it (nil) packets there are given back.
	NewProver func() (Prover, error)
	// GuardAt are the hooks at which packets are guarded; elsewhere another of
	// this engine's queues follows on the way to the confirm, and guards them there.
	// Empty: all hooks.
	GuardAt HookSet
	// DNAT is what GuardReinject does with further packets whose destination was
	// rewritten before the queue, as a copy would begin a flow of its own: GuardOff
	// gives them back, GuardDrop drops them. Which these are EntryQueues tell, and
	// the kernel where it attaches conntrack; else they are all that come at the
	// hooks DNATAt.
	DNAT   GuardMode
	DNATAt HookSet
}

// EntryQueues are added to a queue's number. Rules put packets there of which they
// know how it stands with their conntrack entry: it is confirmed, it is not, or it
// is not and its destination was rewritten (DNAT). Of packets in the queue itself
// nothing is known.
type EntryQueues struct {
	Confirmed, Unconfirmed, Translated uint16
}

// What nfq.Packet.Of means then.
const (
	ofConfirmed   = 1
	ofUnconfirmed = 2
	ofTranslated  = 3
)

// HookSet is a set of hooks.
type HookSet uint8

// Hooks makes a set.
func Hooks(hooks ...nfq.Hook) (s HookSet) {
	for _, h := range hooks {
		s |= 1 << h
	}
	return s
}

func (s HookSet) has(h nfq.Hook) bool { return s>>h&1 != 0 }

// Engine runs one worker per queue.
type Engine struct {
	workers []*worker
	table   *flow.Table // nil: guard off
	started bool
	group   sync.WaitGroup
	failed  chan error
}

// Open binds all queues in the network namespace of the calling thread. From
// then on the kernel queues packets; Start has them judged. On an error nothing
// stays open.
func Open(cfg Config) (*Engine, error) {
	if err := cfg.Analysis.validate(); err != nil {
		return nil, err
	}
	e := &Engine{failed: make(chan error, max(cfg.Queues, 1))}
	if cfg.Guard != GuardOff {
		cfg.Flows.Queues = cfg.Queues
		cfg.Flows.Drop = cfg.Guard == GuardDrop
		var err error
		if e.table, err = flow.NewTable(cfg.Flows); err != nil {
			return nil, err
		}
	}
	for i := range cfg.Queues {
		w, err := e.newWorker(&cfg, i)
		if err != nil {
			return nil, errors.Join(err, e.Close())
		}
		e.workers = append(e.workers, w)
	}
	return e, nil
}

func (e *Engine) newWorker(cfg *Config, i int) (w *worker, err error) {
	w = &worker{policy: cfg.Policy, analyst: newAnalyst(cfg.Analysis, uint64(i)), latency: newHistogram()}
	if e.table != nil {
		w.guard = &guard{
			table: e.table, flows: e.table.Queue(i), mode: cfg.Guard, mark: cfg.Mark,
			adopt: w.adopt, at: cfg.GuardAt, dnat: cfg.DNAT, dnatAt: cfg.DNATAt,
		}
		if w.guard.at == 0 {
			w.guard.at = ^HookSet(0)
		}
		defer func() {
			if err != nil {
				err = errors.Join(err, w.guard.close())
			}
		}()
		if cfg.Guard == GuardReinject {
			if err = w.guard.open(cfg); err != nil {
				return nil, err
			}
		}
	}
	q := cfg.Queue
	q.Queue += uint16(i)
	if e := cfg.EntryQueues; e != nil {
		q.Others = []uint16{q.Queue + e.Confirmed, q.Queue + e.Unconfirmed, q.Queue + e.Translated}
	}
	q.OnThread = func() error { return prepareThread(cfg.Pin, i) }
	if w.guard != nil {
		q.OnWait = w.guard.flows.Waiting
	}
	w.queue, err = cfg.Open(q)
	return w, err
}

// prepareThread sets up the calling thread for worker i.
func prepareThread(pin []int, i int) error {
	// Analysis times are below the default slack of 50 us (PR_SET_TIMERSLACK).
	if err := unix.Prctl(unix.PR_SET_TIMERSLACK, 1, 0, 0, 0); err != nil {
		return fmt.Errorf("set timer slack: %w", err)
	}
	if len(pin) == 0 {
		return nil
	}
	cpu := pin[i%len(pin)]
	var set unix.CPUSet
	set.Set(cpu)
	if err := unix.SchedSetaffinity(0, &set); err != nil {
		return fmt.Errorf("pin to CPU %d: %w: not a CPU that this process may use", cpu, err)
	}
	return nil
}

// Start begins to judge. Failed tells of workers that cannot go on.
func (e *Engine) Start() {
	e.started = true
	for _, w := range e.workers {
		e.group.Go(func() {
			// Never unlocked: the thread may be pinned, and ends with the goroutine.
			runtime.LockOSThread()
			if err := w.queue.Run(w.handle); err != nil {
				e.failed <- err
			}
		})
	}
}

// Failed delivers the errors of workers that ended before Stop. What their
// queues hold waits for a verdict until Close.
func (e *Engine) Failed() <-chan error { return e.failed }

// Stop returns when every worker has judged what its socket held.
func (e *Engine) Stop() error {
	if !e.started {
		return nil
	}
	var errs []error
	for _, w := range e.workers {
		errs = append(errs, w.queue.Stop())
	}
	e.group.Wait()
	for {
		select {
		case err := <-e.failed:
			errs = append(errs, err)
		default:
			return errors.Join(errs...)
		}
	}
}

// Close unbinds the queues and frees everything. A started engine must have
// been stopped.
func (e *Engine) Close() error {
	var errs []error
	for _, w := range e.workers {
		errs = append(errs, w.queue.Close())
		if w.guard != nil {
			errs = append(errs, w.guard.close())
		}
	}
	return errors.Join(errs...)
}

// Result is what one queue's worker has done.
type Result struct {
	Counters
	Latency Latency `json:"verdict_latency_us"`
}

// Results lists the queues' results in their order, and their sum. To be
// called after Stop.
func (e *Engine) Results() (queues []Result, total Result) {
	all := newHistogram()
	for _, w := range e.workers {
		c := w.counters
		s := w.queue.Stats()
		c.Batches, c.Malformed, c.VerdictErrors = s.Batches, s.Malformed, s.VerdictErrors
		total.Add(&c)
		all.Merge(w.latency)
		queues = append(queues, Result{c, latency(w.latency)})
	}
	total.Latency = latency(all)
	return queues, total
}

// ReceiveBuffer is the smallest receive buffer in bytes that the kernel granted
// to a queue.
func (e *Engine) ReceiveBuffer() int {
	least := 0
	for i, w := range e.workers {
		if n := w.queue.ReceiveBuffer(); i == 0 || n < least {
			least = n
		}
	}
	return least
}

// FlowTableBytes is the memory of the flow table.
func (e *Engine) FlowTableBytes() int {
	if e.table == nil {
		return 0
	}
	return e.table.Bytes()
}

package engine

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"runtime"
	"runtime/pprof"
	"slices"
	"sync"

	"golang.org/x/sys/unix"

	"verdictd/daemon/internal/names/flows"
	"verdictd/daemon/internal/policy"
	"verdictd/daemon/internal/ring"
	"verdictd/internal/nfnl"
	"verdictd/internal/nfq"
	"verdictd/internal/statistics"
	"verdictd/internal/vocabulary"
)

// Config says what an Engine does.
type Config struct {
	// Queue is the template for all queues, the first of which has its number;
	// the others follow it. OnThread is the engine's.
	Queue  nfq.Config
	Queues int
	// Retiring are queues that a process before this one had and that are wanted no more:
	// they are judged like the others, until Retire.
	Retiring []uint16
	// Open binds a queue, or takes it over.
	Open func(nfq.Config) (nfq.Queue, error)
	// Pin lists CPUs; queue i runs on Pin[i modulo its length]. Empty: anywhere.
	Pin []int

	Judgement

	// Hints is told of drops and returned verdicts; nil: nobody listens.
	Hints Hints
	// Held is memory for the packets that a worker holds, of HeldRecords bytes, which
	// outlives the process: what the process before has held is in it. nil: none does. It is
	// asked for when the queue is open, and where it is not wanted, as no rule holds packets,
	// it may be nil. It is asked for again when one does.
	Held func(number uint16, wanted bool) (nfq.Memory, error)
}

// Judgement is what packets are judged by. It can be changed while workers run.
type Judgement struct {
	Policy *policy.Policy
	// CopyRange is how many bytes of each packet the kernel copies while it is judged so; 0:
	// all. One of which less was copied was queued before that was so, and is queued once
	// more.
	CopyRange uint32
	// CopyAuto: that is by what the policy looks at, so that nothing is missing where a
	// packet is longer.
	CopyAuto bool
	// Undecodable is what becomes of packets whose headers cannot be decoded to their
	// end, so that no rule can look at them.
	Undecodable vocabulary.Action
	Analysis    Analysis
	// Names are those of the policy's rules, for counting; a rule beyond them has none.
	Names []string
	// LogDrops is how many dropped packets a second and queue Engine.Noted tells of, at
	// most; 0: none.
	LogDrops int
	// Logs and Samples are how many packets of each rule a second and queue are logged, and
	// given to the sampler; nil: none.
	Logs, SamplesOf []int
	Samples         Sampler
	// Flows bounds the search for names, where rules know them. Holds: rules wait for names.
	Flows flows.Config
	Holds bool
	// Marks are bits by which the daemon's rules are told what a verdict cannot say; 0: there
	// are no such rules, and what is to be rejected is dropped. Generation is the policy's;
	// 0: verdicts are for packets alone.
	Marks      vocabulary.Marks
	Generation uint16
}

// Validate says what is wrong with it.
func (j *Judgement) Validate() error {
	if j.Undecodable > vocabulary.Drop {
		return fmt.Errorf("undecodable packets: there is no action %d: use accept or drop", j.Undecodable)
	}
	return j.Analysis.validate()
}

// Engine runs one worker per queue.
type Engine struct {
	anywhere unix.CPUSet // where threads run that are not pinned
	wanted   int         // workers before those of queues that retire
	workers  []*worker
	started  bool
	ended    func() // see nfnl.AddThreads
	group    sync.WaitGroup
	failed   chan error
	reading  sync.Mutex // of what the workers count
	noted    *ring.Ring[Noted]
}

// Open binds all queues in the network namespace of the calling thread. From
// then on the kernel queues packets; Start has them judged. On an error nothing
// stays open.
func Open(cfg Config) (*Engine, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	var anywhere unix.CPUSet
	if err := unix.SchedGetaffinity(0, &anywhere); err != nil {
		return nil, fmt.Errorf("the CPUs that this process may use: %w", err)
	}
	e := &Engine{anywhere: anywhere, wanted: cfg.Queues, noted: ring.New[Noted](notedKept)}
	numbers := make([]uint16, cfg.Queues)
	for i := range numbers {
		numbers[i] = cfg.Queue.Queue + uint16(i)
	}
	numbers = append(numbers, cfg.Retiring...)
	e.failed = make(chan error, max(len(numbers), 1))
	for i, number := range numbers {
		w, err := newWorker(&cfg, i, number)
		if err != nil {
			return nil, errors.Join(err, e.Close())
		}
		w.notes.to = e.noted
		e.workers = append(e.workers, w)
	}
	return e, nil
}

func newWorker(cfg *Config, i int, number uint16) (w *worker, err error) {
	w = &worker{
		number: number, ended: make(chan struct{}),
		hints:   cfg.Hints,
		latency: statistics.NewHistogram(longestTime),
		unix:    unixNow,
		window:  &statistics.Window{},
	}
	w.queueLength.Store(cfg.Queue.MaxLength)
	j, err := newJudge(&cfg.Judgement, i, nil)
	if err != nil {
		return nil, err
	}
	w.appoint(j)
	if w.hints != nil {
		w.drops = make([]drop, 0, cmp.Or(cfg.Queue.Batch, nfq.DefaultBatch))
	}
	q := cfg.Queue
	q.Queue = number
	q.Window = w.window
	pin := cfg.Pin
	q.OnThread = func() error {
		w.thread.Store(int32(unix.Gettid()))
		return errors.Join(nfnl.PrepareThread(pin, i), w.dropLeft())
	}
	q.Wait = w.wait
	if w.queue, err = cfg.Open(q); err != nil {
		return nil, err
	}
	w.remembers = cfg.Held
	if err := w.remember(cfg.Holds); err != nil {
		return nil, errors.Join(err, w.queue.Close())
	}
	if w.memory != nil {
		w.held.keepIn(w.memory)
	}
	j.memory = w.memory
	return w, nil
}

// remember gets memory for what the worker holds, where it has none.
func (w *worker) remember(wanted bool) (err error) {
	if w.memory == nil && w.remembers != nil {
		w.memory, err = w.remembers(w.number, wanted)
	}
	return err
}

// Judge has packets judged by another judgement from each worker's next batch on: one
// that is received after Judge has returned is judged by it. On an error nothing changes.
func (e *Engine) Judge(j Judgement) error {
	if err := j.Validate(); err != nil {
		return err
	}
	judges := make([]*judge, len(e.workers))
	for i, w := range e.workers {
		var err error
		if judges[i], err = newJudge(&j, i, w.next.Load()); err != nil {
			return err
		}
		if j.Holds && !w.retired {
			if err := w.remember(true); err != nil {
				return err
			}
		}
		judges[i].memory = w.memory
	}
	e.reading.Lock()
	defer e.reading.Unlock()
	for i, w := range e.workers {
		w.appoint(judges[i])
	}
	return nil
}

// Attach has the kernel bring that, and no more, of packets that it queues from now on.
func (e *Engine) Attach(a nfq.Attached) error {
	var errs []error
	for _, w := range e.present() {
		errs = append(errs, w.queue.Attach(a))
	}
	return errors.Join(errs...)
}

// Start begins to judge. Failed tells of workers that cannot go on.
func (e *Engine) Start() {
	e.started, e.ended = true, nfnl.AddThreads(len(e.workers))
	for i, w := range e.workers {
		e.group.Go(func() {
			pprof.SetGoroutineLabels(pprof.WithLabels(context.Background(), pprof.Labels("worker", e.Name(i))))
			// Never unlocked: the thread may be pinned, and ends with the goroutine.
			runtime.LockOSThread()
			defer close(w.ended)
			err := w.queue.Run(w.handle)
			if err == nil {
				err = w.finish()
			}
			if err != nil {
				e.failed <- err
			}
		})
	}
}

// Failed delivers the errors of workers that ended before Stop. What their
// queues hold waits for a verdict until Close.
func (e *Engine) Failed() <-chan error { return e.failed }

// Stop returns when every worker has judged what its socket held.
func (e *Engine) Stop() error { return e.end(nfq.Queue.Stop) }

// Leave returns when every worker has judged the packets that it was at. Whatever waits
// stays for who takes the queues over.
func (e *Engine) Leave() error { return e.end(nfq.Queue.Leave) }

// Retire ends the workers of queues that are wanted no more, to which nothing comes any
// more. They have judged what came.
func (e *Engine) Retire() error {
	var errs []error
	for _, w := range e.workers[e.wanted:] {
		errs = append(errs, w.queue.Stop())
		<-w.ended
		errs = append(errs, w.close())
		w.retired = true
	}
	return errors.Join(errs...)
}

// present are the workers whose queues are open.
func (e *Engine) present() []*worker {
	return slices.DeleteFunc(slices.Clone(e.workers), func(w *worker) bool { return w.retired })
}

func (e *Engine) end(how func(nfq.Queue) error) error {
	if !e.started {
		return nil
	}
	var errs []error
	for _, w := range e.present() {
		errs = append(errs, how(w.queue))
	}
	e.group.Wait()
	e.ended()
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
	for _, w := range e.present() {
		errs = append(errs, w.close())
	}
	return errors.Join(errs...)
}

func (w *worker) close() error {
	err := w.queue.Close()
	if w.memory != nil {
		err = errors.Join(err, w.memory.Close())
	}
	return err
}

// Answered is the id of the last packet of a queue of this engine whose verdict has
// returned; those of lower ids have all, too. 0: none was there yet.
func (e *Engine) Answered(queue uint16) uint32 {
	for _, w := range e.workers {
		if w.number == queue {
			return w.answered.Load()
		}
	}
	return 0
}

// Owns reports whether a queue is one of this engine, those that retire included.
func (e *Engine) Owns(queue uint16) bool {
	return slices.ContainsFunc(e.workers, func(w *worker) bool { return w.number == queue })
}

// Queue is the number of worker i's.
func (e *Engine) Queue(i int) uint16 { return e.workers[i].number }

// Name is what worker i is called, in profiles too.
func (e *Engine) Name(i int) string { return fmt.Sprintf("queue %d", e.workers[i].number) }

// GrowReceiveBuffer doubles the receive buffer of a queue, but not beyond a size, and
// returns what the kernel granted; 0: it has that size already, or the queue is none of
// this engine.
func (e *Engine) GrowReceiveBuffer(queue uint16, most int) (granted int, err error) {
	n := slices.IndexFunc(e.workers, func(w *worker) bool { return w.number == queue && !w.retired })
	if n < 0 {
		return 0, nil
	}
	q := e.workers[n].queue
	was := q.ReceiveBuffer()
	if was >= most {
		return 0, nil
	}
	granted, err = q.GrowReceiveBuffer(min(2*was, most))
	if err != nil || granted <= was {
		return 0, err // net.core.rmem_max holds it down
	}
	return granted, nil
}

// ReceiveBuffers are those of all queues, in bytes, in their order.
func (e *Engine) ReceiveBuffers() (list []int) {
	for _, w := range e.workers {
		list = append(list, w.queue.ReceiveBuffer())
	}
	return list
}

// ReceiveBuffer is the smallest receive buffer in bytes that the kernel granted
// to a queue.
func (e *Engine) ReceiveBuffer() int { return slices.Min(e.ReceiveBuffers()) }

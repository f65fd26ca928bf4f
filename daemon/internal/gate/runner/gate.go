package runner

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"

	"verdictd/daemon/internal/gate"
	"verdictd/daemon/internal/journal"
	"verdictd/daemon/internal/ring"
	"verdictd/internal/ct"
	"verdictd/internal/nfnl"
	"verdictd/internal/nfq"
	"verdictd/internal/statistics"
)

// Config says what a Gate does.
type Config struct {
	// Table bounds and times what is remembered and held, over all queues.
	Table gate.Config
	// FirstQueue is the first of the gate's queue numbers, Queues how many threads
	// it has, and Zones the conntrack zones besides 0 whose packets come to it. See
	// Numbers for all that it binds.
	FirstQueue uint16
	Queues     int
	Zones      []uint16
	// ReceiveBuffer is each queue's, in bytes.
	ReceiveBuffer int
	// ChainAdded is when somebody last added a base chain, on the clock of nfq.Now.
	ChainAdded func() int64
	// Pin lists CPUs: thread i runs on Pin[i modulo its length]. Empty: anywhere.
	Pin []int
	// Own reports queues that this process judges in the order in which packets come,
	// and the id of the last one whose verdict has returned; 0: none has.
	Own func(queue uint16) (answered uint32, own bool)
	// Notice takes sentences for the operator; it may be called from any goroutine.
	Notice func(string)
	// Kept is what a process before this one has left, and what this one leaves; nil:
	// nothing.
	Kept *journal.Kept
}

const (
	// queueLength is the most that the kernel takes (16 bits are enough for anybody
	// there: nfqnl_recv_config has no bound, but the packets need memory).
	queueLength = 65535
	// copyRange is enough for the headers of any sensible packet, extension headers
	// included. A packet whose headers are longer is exempt.
	copyRange = 256
	batch     = 64
	// dropsKept are what the engine tells between two turns of a worker.
	dropsKept = 1 << 10
)

// Numbers are the queue numbers of thread i: one for each zone, 0 first, and one
// for what is announced of each.
func (c *Config) Numbers(i int) (list []uint16) {
	zones := len(c.Zones) + 1
	for n := range 2 * zones {
		list = append(list, c.FirstQueue+uint16(n*c.Queues+i))
	}
	return list
}

func (c *Config) owns(queue uint16) bool {
	n := int(queue) - int(c.FirstQueue)
	return n >= 0 && n < 2*(len(c.Zones)+1)*c.Queues
}

// Gate is open queues, and threads that serve them.
type Gate struct {
	cfg      Config
	workers  []*worker
	sections []*section
	epochs   epochs
	watcher  *watcher
	lister   *lister

	holding atomic.Int64 // packets, of all workers
	judge   atomic.Uint32
	looked  atomic.Int64 // when that was
	listing atomic.Bool
	// changing: rules are. What was on its way before is not known, see Darken.
	changing atomic.Bool

	settings        atomic.Pointer[gate.Config]
	anywhere        unix.CPUSet // where threads run that are not pinned
	hurried         atomic.Bool
	stopping, ended atomic.Bool
	leaving         atomic.Bool
	started, ran    bool
	threadsEnded    func()
	group           sync.WaitGroup
	reading         sync.Mutex // of what the workers count
	failed          chan error
}

// Open binds the gate's queues in the network namespace of the calling thread.
// From then on the kernel queues packets; Start has them served. On an error
// nothing stays open.
//
// Errors: *nfq.InUseError where another process holds one of the numbers.
func Open(cfg Config) (*Gate, error) {
	cfg.Kept = cmp.Or(cfg.Kept, journal.Nothing())
	g := &Gate{cfg: cfg, failed: make(chan error, cfg.Queues)}
	g.settings.Store(&cfg.Table)
	g.epochs.current.Store(1)
	if err := g.open(); err != nil {
		return nil, errors.Join(fmt.Errorf("open the gate: %w", err), g.Close())
	}
	return g, nil
}

func (g *Gate) open() (err error) {
	if err := unix.SchedGetaffinity(0, &g.anywhere); err != nil {
		return fmt.Errorf("read the CPUs of this process: %w", err)
	}
	reader, err := openQueues(g.cfg.owns, g.cfg.Own)
	if err != nil {
		return err
	}
	if g.watcher, err = newWatcher(g, reader, g.cfg.Notice); err != nil {
		return errors.Join(err, reader.close())
	}
	if g.lister, err = newLister(); err != nil {
		return err
	}
	for i := range g.cfg.Queues {
		w, err := g.newWorker(i)
		g.workers = append(g.workers, w)
		if err != nil {
			return err
		}
		g.sections = append(g.sections, &w.section)
	}
	return nil
}

func (g *Gate) newWorker(i int) (*worker, error) {
	w := &worker{
		gate: g, number: i, zones: append([]uint16{0}, g.cfg.Zones...), drops: ring.New[dropped](dropsKept),
		refusals: make([]refusal, 0, dropsKept), firstUS: newHistogram(), heldUS: newHistogram(),
		window: &statistics.Window{},
	}
	w.section.epochs = &g.epochs
	alarm, err := nfnl.NewAlarm()
	if err != nil {
		return w, err
	}
	w.bell.Alarm = alarm
	cfg := g.cfg.Table
	cfg.Flows = max(1, cfg.Flows/g.cfg.Queues)
	cfg.Bytes = max(1, cfg.Bytes/int64(g.cfg.Queues))
	if w.lookup, err = ct.NewLookup(); err != nil {
		return w, err
	}
	w.numbers = g.cfg.Numbers(i)
	w.lastID = make([]uint32, len(w.numbers))
	if w.held, err = g.cfg.openHeld(w.numbers[0], cfg.Places()); err != nil {
		return w, err
	}
	cfg.Journal = w.held.records
	if w.table, err = gate.New(cfg); err != nil {
		return w, err
	}
	w.queue, w.restores, err = g.cfg.Kept.Queue(journal.Gate, nfq.Config{
		Queue: w.numbers[0], MoreQueues: w.numbers[1:], MaxLength: queueLength, CopyRange: copyRange,
		FailOpen: true, GSO: true, ReceiveBuffer: g.cfg.ReceiveBuffer, Batch: batch, OnRefused: w.refused,
		Window: w.window, OnDeadly: g.cfg.Kept.OnDeadly,
	})
	if !w.restores {
		w.held.clear() // of a queue that is gone
	}
	return w, err
}

// Failed delivers the errors of workers that ended before Stop. What they hold
// waits until Close.
func (g *Gate) Failed() <-chan error { return g.failed }

// SetSettled tells where flows are to be listed; nil: nowhere.
func (g *Gate) SetSettled(s Settled) {
	if s == nil {
		g.listing.Store(false)
		g.lister.settled.Store(nil)
		return
	}
	g.lister.settled.Store(&s)
	g.listing.Store(g.settings.Load().List)
}

// PauseListing has the settled set stay as it is for a while.
func (g *Gate) PauseListing(on bool) { g.lister.paused.Store(on) }

// SetBehind tells how many queues a packet may meet behind the gate, one after the
// other (0: it is not known), and which queues no packet comes to that the gate has
// let go.
func (g *Gate) SetBehind(rounds int, apart map[uint16]bool) {
	g.watcher.rounds.Store(int32(rounds))
	g.watcher.queues.apart.Store(&apart)
}

// Darken tells that rules are about to send more packets to the gate than they did,
// or (false) that they do so now, or failed to. Of flows that come then, packets may
// be on their way that have not come to it.
func (g *Gate) Darken(changing bool) {
	g.changing.Store(changing)
	for _, w := range g.workers {
		w.dark.Store(true)
		w.bell.ring()
	}
}

// Dark reports whether the gate waits for what was on its way when it began.
func (g *Gate) Dark() bool {
	for _, w := range g.workers {
		if w.dark.Load() || w.inDark.Load() != 0 {
			return true
		}
	}
	return g.changing.Load()
}

// darkIn reports whether in an epoch that has ended packets were on their way that
// no reading was taken before. The worker that knows it has told so in the epoch.
func (g *Gate) darkIn(epoch uint64) bool {
	return slices.ContainsFunc(g.workers, func(w *worker) bool { return w.inDark.Load() >= epoch })
}

// Hints are for the verdict engine of this process.
func (g *Gate) Hints() Hints { return Hints{g} }

// Held is how many packets are held now.
func (g *Gate) Held() int { return int(g.holding.Load()) }

// Hurry has the gate pause for nothing from now on: its rules are about to go, and
// packets come past it that may overtake those in its sockets.
func (g *Gate) Hurry() { g.hurried.Store(true) }

// Shut lets no packet come in that the kernel has queued, or lets them come
// again. What is held already is released as ever.
func (g *Gate) Shut(shut bool) {
	for _, w := range g.workers {
		w.shut.Store(shut)
		w.bell.ring()
	}
}

// Forget has the gate's queues kept no more, before Close.
func (g *Gate) Forget() error {
	var errs []error
	for _, w := range g.workers {
		errs = append(errs, g.cfg.Kept.Forget(journal.Gate, w.numbers[0]))
	}
	return errors.Join(errs...)
}

// Stop returns when nothing is held any more. What is held after guard.hold is
// let go, and counted as unguarded.
func (g *Gate) Stop() error {
	if !g.started {
		return nil
	}
	g.listing.Store(false)
	g.stopping.Store(true)
	return g.end()
}

// Leave returns when every thread has done what it was at. What is held, and what waits,
// stays for who takes the gate over.
func (g *Gate) Leave() error {
	if !g.started {
		return nil
	}
	g.listing.Store(false)
	g.leaving.Store(true)
	return g.end()
}

func (g *Gate) end() error {
	g.Shut(false)
	g.group.Wait()
	g.ended.Store(true)
	errs := []error{g.watcher.stop(), g.lister.stop()}
	g.started = false
	g.threadsEnded()
	for {
		select {
		case err := <-g.failed:
			errs = append(errs, err)
		default:
			return errors.Join(errs...)
		}
	}
}

// Close unbinds the queues and frees everything. A started gate must have been
// stopped.
func (g *Gate) Close() error {
	var errs []error
	if !g.ran && g.watcher != nil {
		errs = append(errs, g.watcher.close())
	}
	if !g.ran && g.lister != nil {
		errs = append(errs, g.lister.bell.Close())
	}
	for _, w := range g.workers {
		errs = append(errs, w.close())
	}
	return errors.Join(errs...)
}

// Owns reports whether a queue is one of the gate's.
func (g *Gate) Owns(queue uint16) bool { return g.cfg.owns(queue) }

// state is whether any worker has flows whose first packet is on its way, and
// whether any holds packets.
func (g *Gate) state() (pending, holding bool) {
	for _, w := range g.workers {
		pending = pending || w.pending.Load()
		holding = holding || w.holding.Load() > 0
	}
	return pending, holding
}

// moved tells workers that so many verdicts of others have returned.
func (g *Gate) moved(verdicts int) {
	for _, w := range g.workers {
		if w.holding.Load() > 0 {
			w.moves.Add(int64(verdicts))
			w.bell.ring()
		}
	}
}

func (g *Gate) wakeHolding() {
	for _, w := range g.workers {
		if w.holding.Load() > 0 || w.inDark.Load() != 0 {
			w.bell.ring()
		}
	}
}

// tryOne has one worker let the packets of one flow go.
func (g *Gate) tryOne() {
	for _, w := range g.workers {
		if w.holding.Load() > 0 {
			w.try.Store(true)
			w.bell.ring()
			return
		}
	}
}

// join tells all workers that two epochs are one from now on, and returns when
// they know it.
func (g *Gate) join(epoch, earlier uint64) {
	j := &join{epoch, earlier}
	g.epochs.joined.Store(j)
	for _, w := range g.workers {
		for w.section.joined.Load() != j && !w.ended.Load() {
			w.bell.ring()
			time.Sleep(20 * time.Microsecond)
		}
	}
}

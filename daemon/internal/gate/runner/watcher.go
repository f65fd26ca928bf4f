package runner

import (
	"errors"
	"runtime"
	"slices"
	"sync/atomic"
	"time"

	"verdictd/daemon/internal/gate"
	"verdictd/internal/nfnl"
	"verdictd/internal/nfq"
)

// How often other queues are looked at: while packets are held, from fastest on
// and slower while nothing moves, and slowest while flows are only pending.
const (
	fastest  = 100 * time.Microsecond
	slower   = 2 * time.Millisecond
	slowest  = 5 * time.Millisecond
	epochGap = int64(2 * time.Millisecond)
)

// watcher finds out when the packets that the gate has released are past all
// other queues, and when it is worth to ask conntrack.
type watcher struct {
	gate     *Gate
	bell     bell
	idle     atomic.Bool
	queues   *queueReader
	progress gate.Progress
	judges   judges
	links    *links
	barriers *barriers
	barred   atomic.Uint64 // barriers so far
	rounds   atomic.Int32  // gate.Progress.Rounds
	epochAt  int64
	pause    time.Duration
	failed   bool
	ended    chan struct{}
}

func newWatcher(g *Gate, queues *queueReader, notice func(string)) (*watcher, error) {
	alarm, err := nfnl.NewAlarm()
	if err != nil {
		return nil, err
	}
	first, err := queues.read()
	if err != nil {
		return nil, errors.Join(err, alarm.Close())
	}
	links, err := openLinks()
	if err != nil {
		return nil, errors.Join(err, alarm.Close())
	}
	w := &watcher{
		gate: g, bell: bell{Alarm: alarm}, queues: queues, links: links, ended: make(chan struct{}),
		judges: judges{queues: map[uint16]*judge{}, readEmpty: queues.readEmpty, notice: notice},
	}
	w.progress.Start(first)
	g.judge.Store(uint32(gate.Waiting)) // before it has looked while something is held, nobody knows
	w.progress.Joined = g.join
	w.patience()
	w.barriers = startBarriers(w.bell.ring)
	return w, nil
}

// run is the watcher's thread.
func (w *watcher) run() {
	runtime.LockOSThread() // for good: the thread ends with the goroutine
	nfnl.GoFirst()         // what is held waits for it
	defer close(w.ended)
	for !w.gate.ended.Load() {
		w.bell.silence()
		pending, holding := w.gate.state()
		if !pending && !holding && w.progress.Waits() == 0 {
			w.sleep()
			continue
		}
		if !w.look(pending, holding) {
			w.pause = slower
		}
		_ = w.bell.Sleep(w.pause)
	}
}

// sleep waits until a worker has something pending.
func (w *watcher) sleep() {
	w.idle.Store(true)
	if pending, holding := w.gate.state(); !pending && !holding && !w.gate.ended.Load() {
		_ = w.bell.Sleep(nfnl.Forever)
	}
	w.idle.Store(false)
}

// look takes one reading and does what follows from it.
func (w *watcher) look(pending, holding bool) bool {
	now := nfq.Now()
	readings, err := w.queues.read()
	if err != nil {
		if !w.failed {
			w.failed = true
			w.judges.notice("flows whose first packet is dropped hold theirs for guard.hold, as it cannot be told that it is gone: " + err.Error())
		}
		w.gate.looked.Store(now) // nothing will be known, and what is held does not wait for it
		return false
	}
	w.progress.Rounds = int(w.rounds.Load())
	w.patience()
	moved := w.judges.see(now, readings)
	if moved > 0 && holding {
		w.gate.moved(moved)
	}
	w.barrier(now, readings)
	w.endEpoch(now, pending)
	w.judge(now, holding)
	switch {
	case !holding:
		w.pause = slowest
	case moved > 0 && foreign(readings) || w.judges.trying():
		w.pause = fastest
	default:
		w.pause = min(w.pause*5/4+time.Microsecond, slower)
	}
	return true
}

// patience follows guard.hold, which tells whether programs may take long.
func (w *watcher) patience() {
	w.judges.patient = w.gate.settings.Load().Hold > patientFrom
	w.progress.Patient = w.judges.patient
}

// barrier begins or ends a barrier where one is needed.
func (w *watcher) barrier(now int64, readings []gate.Reading) {
	if w.barriers.underWay {
		if !w.barriers.ended() {
			return
		}
		w.barred.Add(1)
		after, err := w.queues.read()
		if err != nil {
			return
		}
		if w.links.unrest(nfq.Now()) {
			w.progress.Restart(after)
		}
		resolved := false
		w.progress.BarrierEnds(after, func(epoch uint64) {
			w.gate.epochs.resolve(epoch)
			resolved = true
		})
		if resolved {
			w.gate.wakeHolding()
		}
		readings = after
	}
	if w.links.unrest(nfq.Now()) {
		w.progress.Restart(readings)
	}
	if w.progress.Read(now, readings) {
		w.progress.BarrierBegins()
		w.barriers.begin(now)
	}
}

// endEpoch ends the present epoch, if anything was released in it.
func (w *watcher) endEpoch(now int64, pending bool) {
	current := w.gate.epochs.current.Load()
	// The longer epochs are waited for, the longer they may last.
	if gap := epochGap << min(w.progress.Waits()/8, 3); !pending || w.barriers.underWay || now-w.epochAt < gap {
		return
	}
	next, ok := w.progress.Next(current)
	if !ok {
		return
	}
	before, err := w.queues.read()
	if err != nil {
		return
	}
	w.epochAt = now
	ended := w.gate.epochs.next(next, w.gate.sections)
	after, err := w.queues.read()
	if err != nil {
		return // the epoch's flows are never known to be gone: theirs wait for guard.hold
	}
	if w.gate.darkIn(ended) {
		w.progress.Start(nil)
	}
	w.progress.End(ended, before, after)
	w.barrier(now, after)
}

// judge tells the workers how packets are judged that theirs may wait for.
func (w *watcher) judge(now int64, holding bool) {
	defer w.gate.looked.Store(now)
	if !holding {
		w.gate.judge.Store(uint32(gate.Past))
		return
	}
	state, try := w.judges.state(w.progress.Blocking())
	if w.barriers.late(now) {
		state = max(state, gate.Waiting) // for the kernel
	}
	if was := w.gate.judge.Swap(uint32(state)); was != uint32(state) && state != gate.Waiting {
		w.gate.wakeHolding()
	}
	if try {
		w.gate.tryOne()
	}
}

func (w *watcher) stop() error {
	w.bell.ring()
	<-w.ended
	return w.close()
}

// close frees what there is without the thread.
func (w *watcher) close() error {
	w.barriers.stop()
	return errors.Join(w.queues.close(), w.links.close(), w.bell.Close())
}

// foreign reports whether packets wait for other programs: of its own verdicts the
// engine of this process tells by itself.
func foreign(readings []gate.Reading) bool {
	return slices.ContainsFunc(readings, func(r gate.Reading) bool { return !r.InOrder && r.Waiting > 0 })
}

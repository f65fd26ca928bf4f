package runner

import (
	"time"

	"verdictd/internal/nfnl"
	"verdictd/internal/nfq"
)

// Where packets come one by one but fast, a thread that wakes up for each one spends
// more time with waking up than with packets. From so many turns in a millisecond on
// it pauses before the next one, for more to come; a lone burst is below.
const (
	crowdTurns = 10
	crowdTime  = int64(time.Millisecond)
	crowdPause = 50 * time.Microsecond
	// A kernel without timers of a high resolution (highres=off, some virtual machines)
	// wakes up at its next tick, up to 10 ms later. After some pauses in a row that took
	// so long there is none for a while. One alone only says that the CPU had other work.
	crowdLate   = int64(time.Millisecond)
	crowdLates  = 4
	crowdWithin = int64(10 * time.Second)
)

// crowd counts turns.
type crowd struct {
	began   int64
	turns   int
	crowded bool
	lates   int   // pauses in a row that took too long
	without int64 // no pauses until then
}

// paused notes how long a pause took.
func (c *crowd) paused(began, ended int64) {
	if ended-began <= crowdLate {
		c.lates = 0
		return
	}
	if c.lates++; c.lates >= crowdLates {
		c.lates, c.without = 0, ended+crowdWithin
	}
}

// turn notes one that began at a time, and reports whether there are so many that
// a pause is of use.
func (c *crowd) turn(began int64) bool {
	c.turns++
	if passed := began - c.began; passed >= crowdTime {
		c.crowded = passed < 2*crowdTime && c.turns >= crowdTurns
		c.began, c.turns = began, 0
	}
	return c.crowded && began > c.without
}

// stopTurn is how often a worker that stops looks whether it may end.
const stopTurn = time.Millisecond

// next waits for packets, for a hint, or for what the table has to do.
func (w *worker) next() (*nfq.Batch, error) {
	wait := nfnl.Forever
	if d := w.table.Wait(); d >= 0 {
		wait = time.Duration(max(d-(nfq.Now()-w.turnBegan), 0)) // the table's time is the turn's
	}
	if w.behind > 0 {
		wait = 0
	}
	if w.gate.stopping.Load() && (wait < 0 || wait > stopTurn) {
		wait = stopTurn
	}
	if w.shut.Load() {
		w.window.Open()
		err := w.bell.Sleep(wait)
		w.window.Shut()
		return &nfq.Batch{Received: nfq.Now()}, err
	}
	if w.crowd.turn(w.turnBegan) && !w.gate.hurried.Load() {
		began := nfq.Now()
		w.pause.Wait(crowdPause)
		w.crowd.paused(began, nfq.Now())
	}
	return w.queue.Next(w.bell.Alarm, wait)
}

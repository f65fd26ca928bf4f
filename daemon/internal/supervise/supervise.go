package supervise

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/signal"
	"runtime"
	"time"

	"golang.org/x/sys/unix"

	"verdictd/daemon/internal/fdstore"
	"verdictd/internal/cli"
)

// Options say what is kept running.
type Options struct {
	// Program is the path of the daemon's binary, and Args are its arguments without its name. It is executed from the
	// path at each start, so that a binary that was replaced is the next one to run.
	Program string
	Args    []string
	Log     *slog.Logger
	// Store holds the daemon's descriptors. It stays the caller's to close.
	Store *fdstore.Server

	// Stop ends before Run has begun to listen where the caller has been told to end already; nil: it never does.
	Stop context.Context
	// Failure reads what the daemon says of its failure (FailureKey): what is to become of packets without it.
	Failure func(said string) (Failure, error)

	// StartWithin bounds the time until READY=1, and StopWithin that of an orderly end; a daemon that takes longer is
	// killed. 0: 30 s and 15 s.
	StartWithin, StopWithin time.Duration
	// Watchdog kills a daemon that has not said for so long that it is well (WATCHDOG=1), with SIGABRT, so that it
	// leaves its stacks on standard error. 0: it is not watched.
	Watchdog time.Duration
}

// Failure is what becomes of packets where no daemon comes back.
type Failure struct {
	// LongestWait is how long packets wait for one; 0: for ever.
	LongestWait time.Duration
	// Release decides for what waits after that, and where no other daemon is to come. files are the Store's.
	Release func(files []*os.File) error
}

// FailureKey is the daemon's line with what Options.Failure reads.
const FailureKey = "X_VERDICTD_FAILURE"

const (
	startWithin = 30 * time.Second
	stopWithin  = 15 * time.Second
	// abortWithin is how long a daemon may write its stacks.
	abortWithin = 2 * time.Second
)

// Run keeps the daemon running until it ends for good or a signal ends both. The status is that for the caller's exit;
// an error says why nothing could be started at all.
//
// It takes the process's signals, and reaps all of its children: nothing else in the process may wait for one.
func Run(o Options) (status int, err error) {
	// The daemon's parent-death signal is sent when the thread ends that started it.
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	if o.StartWithin == 0 {
		o.StartWithin = startWithin
	}
	if o.StopWithin == 0 {
		o.StopWithin = stopWithin
	}
	signals := make(chan os.Signal, 64)
	signal.Notify(signals, unix.SIGHUP, unix.SIGTERM, unix.SIGINT, unix.SIGQUIT, unix.SIGUSR1, unix.SIGUSR2)
	defer signal.Stop(signals)
	// A channel of its own, so that no flood of other signals has an end be overlooked.
	children := make(chan os.Signal, 1)
	signal.Notify(children, unix.SIGCHLD)
	defer signal.Stop(children)
	if o.Stop != nil && o.Stop.Err() != nil {
		return cli.Done, nil
	}
	s := &supervisor{Options: o, outer: newOuter(o.Log), messages: listen(o.Store)}
	if err := s.start(); err != nil {
		return cli.Failed, err
	}
	for !s.over {
		s.turn(signals, children)
	}
	s.outer.say("STOPPING=1")
	return s.status, nil
}

// supervisor is the state of Run, which one goroutine owns.
type supervisor struct {
	Options
	outer    *outer
	messages <-chan fdstore.Message

	pid   int // of the daemon; 0: none runs
	ready bool
	// since is when the last daemon that was ready ended.
	since time.Time
	// left is what a daemon that was ready has not taken out or decided itself.
	left    bool
	pauses  backoff
	failure Failure

	spared     bool // the daemon had its time again since it spoke last (thaw)
	stopping   bool // both are to end
	restarting bool // the daemon is to be another one
	over       bool
	status     int

	// Deadlines; zero: there is none.
	startAt, readyBy, endBy, aliveBy, provenAt time.Time
}

// turn waits for one thing to happen and deals with it.
func (s *supervisor) turn(signals, children <-chan os.Signal) {
	wait := time.NewTimer(time.Until(s.next()))
	defer wait.Stop()
	select {
	case <-children:
		s.reap()
	case sig := <-signals:
		s.signal(sig.(unix.Signal))
	case m := <-s.messages:
		s.heard(m)
	case <-wait.C:
		s.due(time.Now())
	}
}

// idleWait bounds a wait without a deadline.
const idleWait = time.Hour

// next is the earliest deadline.
func (s *supervisor) next() time.Time {
	earliest := time.Now().Add(idleWait)
	for _, at := range []time.Time{s.startAt, s.readyBy, s.endBy, s.aliveBy, s.provenAt, s.giveUpAt()} {
		if !at.IsZero() && at.Before(earliest) {
			earliest = at
		}
	}
	return earliest
}

// giveUpAt is when packets have waited for long enough; zero: nothing waits, or it waits for ever.
func (s *supervisor) giveUpAt() time.Time {
	if s.ready || !s.left || s.stopping || s.failure.LongestWait == 0 {
		return time.Time{}
	}
	return s.since.Add(s.failure.LongestWait)
}

const (
	// awayAfter its deadline a timer comes to a process that did not run.
	awayAfter = time.Second
	// lateAfter it may be so, as a pause may end at any time, or the machine is only busy.
	lateAfter = 50 * time.Millisecond
)

// thaw gives the daemon all its time again where this process did not run in the meantime, as neither did then, most
// likely: a container was paused. How packets wait is another matter. Where that is not sure the daemon has it once in
// a silence.
func (s *supervisor) thaw(now time.Time) {
	switch late := now.Sub(s.next()); {
	case late >= awayAfter:
	case late < lateAfter || s.spared:
		return
	default:
		s.spared = true
	}
	again := func(at *time.Time, within time.Duration) {
		if !at.IsZero() {
			*at = now.Add(within)
		}
	}
	again(&s.readyBy, s.StartWithin)
	again(&s.aliveBy, s.Watchdog)
	again(&s.endBy, s.StopWithin)
}

// due deals with deadlines that have passed.
func (s *supervisor) due(now time.Time) {
	s.thaw(now)
	passed := func(at time.Time) bool { return !at.IsZero() && !now.Before(at) }
	if passed(s.giveUpAt()) {
		s.giveUp()
	}
	if passed(s.provenAt) {
		s.provenAt = time.Time{}
		s.pauses.proven()
	}
	switch {
	case passed(s.endBy):
		s.Log.Error("the daemon does not end: it is killed", "pid", s.pid)
		s.kill(unix.SIGKILL)
		s.endBy = time.Time{}
	case passed(s.readyBy):
		s.Log.Error("the daemon is not ready in time: it is killed", "pid", s.pid, "after", s.StartWithin)
		s.abort()
	case passed(s.aliveBy):
		s.Log.Error("the daemon makes no progress: it is killed", "pid", s.pid, "after", s.Watchdog)
		s.abort()
	case passed(s.startAt):
		if err := s.start(); err != nil {
			s.Log.Error("the daemon could not be started", "error", err)
			s.again()
		}
	}
}

// abort has the daemon end with its stacks on standard error, and soon.
func (s *supervisor) abort() {
	s.readyBy, s.aliveBy = time.Time{}, time.Time{}
	s.endBy = time.Now().Add(abortWithin)
	s.kill(unix.SIGABRT)
}

// giveUp decides for packets that have waited for too long. A daemon that is only just starting is killed first, as it
// may hold the same sockets.
func (s *supervisor) giveUp() {
	if s.pid != 0 {
		s.kill(unix.SIGKILL)
		s.reapWorker()
	}
	s.Log.Error("no daemon came back in time: what waits is decided without one", "after", s.failure.LongestWait)
	s.release()
}

// release decides for what was left, if anything was, and lets go of what is held.
func (s *supervisor) release() {
	if !s.left {
		return
	}
	s.left = false
	if s.failure.Release != nil {
		if err := s.failure.Release(s.Store.Files()); err != nil {
			s.Log.Error("decide without a daemon", "error", err)
		}
	}
	s.Store.Release()
}

// signal deals with one that the process got.
func (s *supervisor) signal(sig unix.Signal) {
	switch sig {
	case unix.SIGUSR2:
		s.restart()
	case unix.SIGTERM, unix.SIGINT, unix.SIGQUIT:
		s.stop(sig)
	default:
		s.kill(sig)
	}
}

// stop ends both. A daemon that is not there cannot take its rules out, which is then done for it.
func (s *supervisor) stop(sig unix.Signal) {
	s.stopping, s.startAt = true, time.Time{}
	s.outer.say("STOPPING=1")
	if s.pid == 0 {
		s.release()
		s.over, s.status = true, cli.Done
		return
	}
	s.kill(sig)
	s.readyBy, s.aliveBy = time.Time{}, time.Time{}
	if s.endBy.IsZero() {
		s.endBy = time.Now().Add(s.StopWithin)
	}
}

// restart makes room for another daemon, which takes over what is held.
func (s *supervisor) restart() {
	if s.stopping {
		return
	}
	s.pauses.proven()
	if s.pid == 0 {
		s.startAt = time.Now()
		return
	}
	s.Log.Info("the daemon is to be restarted", "pid", s.pid)
	s.restarting = true
	s.kill(unix.SIGUSR2)
	s.endBy = time.Now().Add(s.StopWithin)
}

// kill sends a signal to the daemon, if there is one. It is not reaped yet, so that the number is its own.
func (s *supervisor) kill(sig unix.Signal) {
	if s.pid == 0 {
		return
	}
	if err := unix.Kill(s.pid, sig); err != nil && !errors.Is(err, unix.ESRCH) {
		s.Log.Error("signal the daemon", "signal", unix.SignalName(sig), "error", err)
	}
}

// again has another daemon started after a pause.
func (s *supervisor) again() {
	pause := s.pauses.failed(s.failure.LongestWait)
	s.startAt = time.Now().Add(pause)
	s.outer.say(fmt.Sprintf("STATUS=no daemon runs; the next is started in %v", pause))
}

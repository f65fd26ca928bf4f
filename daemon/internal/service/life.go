package service

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/coreos/go-systemd/v22/daemon"

	"verdictd/daemon/internal/control"
	"verdictd/daemon/internal/devices"
	"verdictd/daemon/internal/engine"
	"verdictd/daemon/internal/guard"
	"verdictd/daemon/internal/journal"
	"verdictd/daemon/internal/metrics"
	"verdictd/daemon/internal/samples"
	"verdictd/daemon/internal/sets/live"
	"verdictd/internal/config"
	"verdictd/internal/statistics"
)

// Options are what a life needs besides its configuration.
type Options struct {
	// Version is the program's, as logs, metrics and statistics tell it.
	Version string
	Log     *slog.Logger
	// Level is the log's, which a reload changes; nil: nothing does.
	Level *slog.LevelVar
	// File is where the configuration was read from, and is read again for a reload;
	// empty: there is none.
	File string
	// Confine has the process give up what it does not need any more (privileges.Confine).
	// It cannot be taken back, so that a process that goes on with something else must not.
	Confine bool
	// Socket is the control socket, instead of the configuration's; empty: that.
	Socket string
	// Signals are the process's; nil: it is told nothing by signal.
	Signals *Signals
}

// service is a life. What it has belongs to the goroutine that began it, and is changed
// by what this one runs (do); of the rest others may read.
type service struct {
	Options
	command string
	cfg     *config.Config // in force
	read    time.Time      // when it was
	engine  *engine.Engine // nil: it judges nothing
	judging *judging       // what the engine judges by
	watcher *live.Watcher  // of its sets
	devices *devices.Follower
	samples *samples.Sampler // of the policy's rules; nil: there is no place for them
	keeper  *guard.Keeper
	kept    *journal.Kept
	doors   doors
	usage   usage
	reloads control.Reloads

	takeovers control.Takeovers
	// tuned: queues have settings that are not yet those in force.
	tuned bool
	// reloading is held by who reloads.
	reloading sync.Mutex
	audit     control.Audit

	metrics *metrics.Metrics
	seen    seen

	state    atomic.Value // control.State
	calls    chan func()
	stopping chan struct{} // closed when the stop begins
}

func newService(command string, cfg *config.Config, o Options) *service {
	s := &service{
		Options: o, command: command, cfg: cfg, read: time.Now(), usage: startUsage(),
		calls: make(chan func()), stopping: make(chan struct{}),
	}
	s.state.Store(control.Starting)
	s.metrics = metrics.New(o.Version, s.counted)
	s.seen.last.Store(&statistics.Document{})
	return s
}

// errStopping is the answer to those who come too late.
var errStopping = errors.New("the daemon is stopping")

// do runs f on the goroutine that the life belongs to, and returns when it has. One
// comes after the other: so does a reload while another one runs.
func (s *service) do(ctx context.Context, f func()) error {
	done := make(chan struct{})
	select {
	case s.calls <- func() { defer close(done); f() }:
		<-done
		return nil
	case <-s.stopping:
		return errStopping
	case <-ctx.Done():
		return ctx.Err()
	}
}

// serve follows the rules, and does what it is told, until the context ends or something
// cannot go on.
func (s *service) serve(ctx context.Context) error {
	ctx, end := context.WithCancelCause(ctx)
	defer end(nil)
	if s.engine != nil {
		go func() {
			select {
			case <-ctx.Done():
			case err := <-s.engine.Failed():
				s.Log.Error("a queue cannot go on", "error", err)
				end(err)
			}
		}()
	}
	if s.watcher != nil {
		go s.followSets(ctx)
	}
	if s.Signals != nil {
		go s.obey(ctx)
	}
	s.state.Store(control.Running)
	s.notify(daemon.SdNotifyReady)
	if err := s.keeper.Serve(ctx, s.calls); err != nil {
		return err
	}
	if err := context.Cause(ctx); !errors.Is(err, context.Canceled) && !errors.Is(err, errHandOver) {
		return err
	}
	return nil
}

// obey does what signals say.
func (s *service) obey(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-s.Signals.reload:
			_, _ = s.reload(ctx) // the log has its result
		case <-s.Signals.write:
			_ = s.do(ctx, s.writeNow)
		}
	}
}

// ends tells everybody that the stop begins: who has not been heard by now is refused.
func (s *service) ends() {
	s.state.Store(control.Stopping)
	close(s.stopping)
	s.lookAway()
	s.notify(daemon.SdNotifyStopping)
}

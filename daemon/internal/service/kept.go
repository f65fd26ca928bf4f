package service

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"slices"
	"time"

	"golang.org/x/sys/unix"

	"verdictd/daemon/internal/engine"
	"verdictd/daemon/internal/gate/runner"
	"verdictd/daemon/internal/guard"
	"verdictd/daemon/internal/journal"
	"verdictd/internal/config"
	"verdictd/internal/nfq"
	"verdictd/internal/vocabulary"
)

// errHandOver is why a life ends that another process is to go on with (SIGUSR2).
var errHandOver = errors.New("another process takes over")

// heedHandOver ends the context with errHandOver when the signal comes that says so.
func heedHandOver(ctx context.Context) (_ context.Context, stop func()) {
	ctx, end := context.WithCancelCause(ctx)
	told := make(chan os.Signal, 1)
	signal.Notify(told, unix.SIGUSR2)
	go func() {
		select {
		case <-told:
			end(errHandOver)
		case <-ctx.Done():
		}
	}()
	return ctx, func() {
		signal.Stop(told)
		end(nil)
	}
}

// leaves reports whether what waits is left to a next process, which judges it: where it
// is told so, and where this one cannot go on. Without anybody who keeps descriptors
// nothing would be left.
func leaves(ctx context.Context, kept *journal.Kept, err error) bool {
	return kept.Lasting() && (err != nil || errors.Is(context.Cause(ctx), errHandOver))
}

// openQueue takes a verdict queue over, or binds it.
func openQueue(cfg *config.Config, kept *journal.Kept, c nfq.Config) (q nfq.Queue, taken bool, err error) {
	if cfg.Backend == vocabulary.BackendGoNFQueue {
		if err := kept.Discard(journal.Verdicts, c.Queue); err != nil {
			return nil, false, err
		}
		q, err = nfq.Open(cfg.Backend, c)
		return q, false, err
	}
	m, taken, err := kept.Queue(journal.Verdicts, c)
	if err != nil {
		return nil, false, err
	}
	return m, taken, nil
}

// heldMemory has what a queue's worker holds; nil: it is not wanted, and another process has
// left none. Where the queue was not taken over, what that has held is gone.
func heldMemory(kept *journal.Kept, number uint16, wanted, taken bool) (nfq.Memory, error) {
	if !wanted && !kept.Has(journal.Held, number) {
		return nil, nil
	}
	m, _, err := kept.Memory(journal.Verdicts, journal.Held, number)
	if err != nil {
		return nil, err
	}
	if len(m.Bytes()) != engine.HeldRecords {
		if err := m.Resize(engine.HeldRecords); err != nil {
			return nil, errors.Join(err, m.Close())
		}
		taken = false
	}
	if !taken {
		clear(m.Bytes())
	}
	return m, nil
}

// tellTakenOver notes what the life begins with, before any of it is taken over.
func (s *service) tellTakenOver() (err error) {
	t := &s.takeovers
	if s.command == "run" {
		t.Verdicts = len(s.kept.Left(journal.Verdicts))
	}
	t.Gate = len(s.kept.Left(journal.Gate))
	t.Restarts, err = s.kept.Restarts()
	s.metrics.TakenOver(t.Verdicts, t.Gate, t.Restarts)
	return err
}

// retiring are the queues that another process has left and the configuration does not
// name any more.
func retiring(cfg *config.Config, kept *journal.Kept) (list []uint16) {
	if cfg.Backend == vocabulary.BackendGoNFQueue {
		return nil
	}
	for _, n := range kept.Left(journal.Verdicts) {
		if i := int(n) - int(cfg.Queues.First); i < 0 || i >= cfg.Queues.Count {
			list = append(list, n)
		}
	}
	return list
}

// retire ends the queues that are wanted no more, when the rules fill them no more.
func (s *service) retire(list []uint16) error {
	if len(list) == 0 {
		return nil
	}
	waits := func(queue uint16) bool { return slices.Contains(list, queue) }
	runner.Barrier() // a packet that met the rules before they changed is in its queue now
	for until := time.Now().Add(retireWithin); time.Now().Before(until) && !guard.Idle(waits); {
		time.Sleep(time.Millisecond)
	}
	errs := []error{s.engine.Retire()}
	for _, n := range list {
		errs = append(errs, s.kept.Forget(journal.Verdicts, n))
	}
	if err := errors.Join(errs...); err != nil {
		return fmt.Errorf("end queues that are not configured any more: %w", err)
	}
	s.Log.Info("queues that are not configured any more have ended", "queues", list)
	return nil
}

// retireWithin bounds how long that takes where rules of somebody else fill them.
const retireWithin = 5 * time.Second

// finish ends a life: in order, or so that the next process goes on with it.
func (s *service) finish(ctx context.Context, err error) error {
	s.ends()
	if !leaves(ctx, s.kept, err) {
		return errors.Join(err, s.stop(), s.kept.End())
	}
	return s.handOver(ctx, err)
}

// handOver ends the threads between two packets, and leaves all else as it is.
func (s *service) handOver(ctx context.Context, err error) error {
	because := err
	if because == nil {
		because = context.Cause(ctx)
	}
	s.Log.Info("rules and queues stay for the next process", "because", because)
	s.keeper.End()
	errs := []error{err, s.keeper.Leave()}
	if s.engine != nil {
		errs = append(errs, s.engine.Leave())
	}
	counted := s.collect(s.kernelQueues(), processTime())
	errs = append(errs, s.keeper.Free())
	if s.engine != nil {
		errs = append(errs, s.engine.Close())
	}
	return errors.Join(append(errs, s.conclude(counted))...)
}

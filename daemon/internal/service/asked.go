package service

import (
	"context"
	"fmt"
	"os"
	"time"

	"verdictd/daemon/internal/audit"
	"verdictd/daemon/internal/control"
	"verdictd/internal/config"
	"verdictd/internal/netlab"
	"verdictd/internal/vocabulary"
)

// asked answers at the control socket for a service.
type asked service

// answersWithin bounds how long a question waits for the goroutine that the life belongs
// to, which may be doing a reload, or reading rules.
const answersWithin = 5 * time.Second

func (a *asked) life() *service { return (*service)(a) }

// briefly runs f on the life's goroutine, unless that is busy for long.
func (a *asked) briefly(ctx context.Context, f func()) error {
	ctx, cancel := context.WithTimeout(ctx, answersWithin)
	defer cancel()
	if err := a.life().do(ctx, f); err != nil {
		return fmt.Errorf("the daemon is %v: %w", a.state.Load(), err)
	}
	return nil
}

// Status implements control.Daemon. A daemon that starts or stops tells that alone.
func (a *asked) Status(ctx context.Context) (*control.Status, error) {
	state, _ := a.state.Load().(control.State)
	st := &control.Status{
		Schema: control.Schema, Version: a.Version, Command: a.command, PID: os.Getpid(), State: state,
		Started: a.usage.at, Uptime: time.Since(a.usage.at).Seconds(), Queues: []control.Queue{},
		Guard: control.Guard{Guarded: []string{}, Uncovered: []string{}},
	}
	if state == control.Starting || state == control.Stopping {
		return st, nil
	}
	if err := a.briefly(ctx, func() {
		a.life().refresh(ctx)
		a.life().tell(st)
	}); err != nil {
		return nil, err
	}
	return st, nil
}

// Effective implements control.Daemon.
func (a *asked) Effective(ctx context.Context) (e *control.Effective, err error) {
	var text []byte
	called := a.briefly(ctx, func() {
		text, err = a.cfg.YAML()
		e = &control.Effective{Schema: control.Schema, File: a.File, YAML: string(text)}
		if c := a.life().copied(); c != nil {
			e.YAML = c.Comment() + e.YAML
		}
	})
	if called != nil {
		return nil, called
	}
	return e, err
}

// Audit implements control.Daemon.
func (a *asked) Audit(ctx context.Context) (report *audit.Report, err error) {
	err = a.briefly(ctx, func() {
		s := a.life()
		answer, machine := s.auditNow(ctx)
		machine.Daemons = []audit.Daemon{{
			Command: s.command, PID: os.Getpid(), NetNS: netlab.Number(), Guard: string(s.keeper.Mode()), Queues: s.guarded(),
			Verdict: answer.Verdict, Answer: answer.Sentence,
		}}
		report = audit.NewReport(a.Version, machine)
	})
	return report, err
}

// Reload implements control.Daemon. It waits for reloads before it, and goes on when who
// asked has gone.
func (a *asked) Reload(ctx context.Context) (*control.Reload, error) {
	return a.life().reload(context.WithoutCancel(ctx))
}

// tell fills in what belongs to the life's goroutine.
func (s *service) tell(st *control.Status) {
	st.State, _ = s.state.Load().(control.State)
	st.NetNS = netlab.Number()
	st.Configuration = control.Configuration{File: s.File, Read: s.read, OnDisk: s.onDisk()}
	g := s.keeper.State()
	st.Guard = control.Guard{
		Configured: string(s.cfg.Guard.Mode), Mode: string(g.Mode), Why: g.Why, Held: g.Held,
		Guarded: append([]string{}, g.Guarded...), Uncovered: append([]string{}, g.Uncovered...),
	}
	st.Rules = control.Rules{Table: g.Table, Present: g.Present, Placement: string(vocabulary.PlacementNone)}
	if g.Wanted {
		st.Rules.Statement = string(s.keeper.Kind())
	}
	if s.engine != nil && s.cfg.Rules.Install {
		st.Rules.Placement = string(s.cfg.Rules.Placement)
	}
	st.Reloads, st.Audit, st.Takeovers = s.reloads, s.audit, s.takeovers
	st.Copied = s.copied()
	kernel := s.kernelQueues()
	st.Statistics = s.collect(kernel, processTime())
	for _, k := range kernel {
		q := control.Queue{Queue: k.Queue, Bound: true, Waiting: k.Queued, CopyRange: k.CopyRange, Queued: k.IDSequence}
		q.QueueDropped, q.UserDropped = uint64(k.QueueDropped), uint64(k.UserDropped)
		switch {
		case s.engine != nil && s.engine.Owns(k.Queue):
			q.For = "verdicts"
		case s.keeper.Owns(k.Queue):
			q.For = "gate"
		default:
			continue
		}
		st.Loss.QueueDropped += q.QueueDropped
		st.Loss.UserDropped += q.UserDropped
		st.Queues = append(st.Queues, q)
	}
	if gate := st.Statistics.Gate; gate != nil {
		st.Loss.Unguarded, st.Loss.Expired = gate.Total.Unguarded, gate.Total.Expired
	}
}

// copied is how much of packets comes for a verdict; nil: none is given.
func (s *service) copied() *control.Copied {
	if s.judging == nil {
		return nil
	}
	c := &s.judging.copied
	return &control.Copied{Configured: s.cfg.Queues.CopyRange.String(), Bytes: c.Bytes, Why: c.Why}
}

// onDisk compares the file with what is in force.
func (s *service) onDisk() string {
	if s.File == "" {
		return "same"
	}
	c, err := config.Load(s.File)
	switch {
	case err != nil:
		return "unreadable"
	case len(config.Changed(s.cfg, c)) > 0:
		return "changed"
	}
	return "same"
}

// guarded are the queues of verdicts that the guard guards: none where somebody has taken
// its rules away.
func (s *service) guarded() (queues []uint16) {
	if s.engine == nil || s.keeper.Mode() == vocabulary.GuardOff || !s.keeper.State().Present {
		return nil
	}
	for i := range s.cfg.Queues.Count {
		queues = append(queues, s.cfg.Queues.First+uint16(i))
	}
	return queues
}

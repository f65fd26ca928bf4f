package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"syscall"

	"verdictd/internal/crash"
	"verdictd/internal/netlab"
	"verdictd/internal/report"
)

// An experiment is one row: fresh namespaces, the programs in them, and what they counted.
type experiment struct {
	programs
	config *matrixConfig
	row    row
	dir    string // for the run's files, not made yet
	cpus   []int  // to pin the daemon's threads to

	// machine is whether this is a machine of the lab, which may be emulated on a busy host: one thread sends a burst in
	// one system call, as threads would spend their time in waiting for each other, and every wait may be long.
	machine bool
	sending func(*netlab.Topology) func() // called before stress starts; what it returns, after it ended

	run report.Run
}

// do fills in the run's figures. Whatever it started is gone when it returns.
func (e *experiment) do(ctx context.Context) (err error) {
	t, err := newTopology(e.row[placement], e.row[family])
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, t.Close()) }()
	if err := e.shape(t); err != nil {
		return err
	}
	if err := os.Mkdir(e.dir, 0o700); err != nil {
		return fmt.Errorf("make a directory for the run's files: %w", err)
	}
	g := newGroup(ctx, e.dir)
	defer g.Close()

	statistics := filepath.Join(e.dir, "statistics.json")
	var daemon, listener *process
	if e.row.queued() {
		if daemon, err = e.startProgram(g, t, statistics); err != nil {
			return err
		}
	}
	stats, err := g.startService(t.Queue, e.conntrackwatch, "stats", "--json")
	if err != nil {
		return err
	}
	if e.row[events] == report.EventsOff {
		if err := t.Queue.SetSysctl("netfilter/nf_conntrack_events", "0"); err != nil {
			return err
		}
	}
	if e.row[events] != report.EventsNone {
		if listener, err = g.startService(t.Queue, e.conntrackwatch, "events", "--json"); err != nil {
			return err
		}
	}

	sent := func() {}
	if e.sending != nil {
		sent = e.sending(t)
	}
	defer func() { sent() }()
	sender, err := g.start(t.Sender, true, nil, e.stress, e.stressArgs(t)...)
	if err != nil {
		return err
	}
	// Where the kernel broke meanwhile, stress fails and says so, but has its figures. So may the others.
	broken := sender.wait(e.timeout() + stopWithin)
	sent()
	if !sender.over() {
		return broken
	}
	if err := takeStress(&e.run, sender.stdout.Bytes()); err != nil {
		if broken != nil {
			return broken
		}
		return err
	}
	if err := e.checkSources(); err != nil {
		return err
	}
	// The watchers first, so that the daemon's leave is no part of what they count.
	if listener != nil {
		if err := listener.stop(syscall.SIGINT); err != nil {
			return err
		}
		if err := takeEvents(&e.run, listener.stdout.Bytes()); err != nil {
			return err
		}
	}
	take := takeDaemon
	if e.row.foreign() {
		take = takeGuard
		if err := takeQueues(&e.run, t.Queue, e.config.Queues); err != nil {
			return err
		}
	}
	if err := takeCounters(&e.run, stats, daemon, statistics, take); err != nil {
		return err
	}
	e.run.Rate()
	e.run.Tainted, err = crash.Taint()
	return errors.Join(broken, err)
}

// shape makes the namespaces what the row wants beyond its placement.
func (e *experiment) shape(t *netlab.Topology) error {
	var err error
	switch e.row[nat] {
	case report.NATMasquerade:
		err = t.Masquerade()
	case report.NATBackends:
		err = t.Spread(e.row[family])
	}
	if err == nil && e.row[kind] == report.TrafficICMP {
		err = t.AllowPing()
	}
	return err
}

// startProgram starts who gives the verdicts, and the guard. The process is the one that writes statistics: nil for
// another program without a guard.
func (e *experiment) startProgram(g *group, t *netlab.Topology, statistics string) (*process, error) {
	settings := e.daemonConfig(statistics)
	if !e.row.foreign() {
		return g.startDaemon(t.Queue, e.verdictd, settings)
	}
	f := foreign{
		program: e.row[program], reference: e.config.Reference, queues: e.config.Queues, delay: e.config.Analysis.Delay, cpus: e.cpus,
		maxLength: max(defaultQueueLength, int(settings.Queues.MaxLength)),
	}
	if _, err := f.start(g, t.Queue); err != nil {
		return nil, err
	}
	if err := queueRules(t.Queue, settings); err != nil {
		return nil, err
	}
	if e.row[guard] == report.GuardOff {
		return nil, nil //nolint:nilnil // there is none
	}
	return g.startGuard(t.Queue, e.verdictd, settings)
}

// checkSources makes sure that addresses were translated where they were to be, and nowhere else: a row that promises
// something about masqueraded flows must have had some.
func (e *experiment) checkSources() error {
	n := netlab.Networks[e.row[family]]
	for _, source := range e.run.ReceivedFrom {
		masqueraded := source == n.TargetGateway
		if want := e.row[nat] == report.NATMasquerade; masqueraded != want {
			return fmt.Errorf("packets arrived from %v, with nat %s", source, e.row[nat])
		}
	}
	return nil
}

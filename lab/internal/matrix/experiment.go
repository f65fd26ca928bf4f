package matrix

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
	"verdictd/internal/vocabulary"
	"verdictd/lab/internal/testbed"
)

// An experiment is one row: fresh namespaces, the programs in them, and what they counted.
type experiment struct {
	testbed.Programs
	config *Config
	row    row
	dir    string // for the run's files, not made yet
	cpus   []int  // to pin the daemon's threads to

	// machine is whether this is a machine of the lab, which may be emulated on a busy host: one thread sends a burst
	// in one system call, as threads would spend their time in waiting for each other, and every wait may be long.
	machine bool
	sending func(*netlab.Topology) func() // called before stress starts; what it returns, after it ended

	run report.Run
}

// do fills in the run's figures. Whatever it started is gone when it returns.
func (e *experiment) do(ctx context.Context) (err error) {
	t, err := testbed.NewTopology(e.row[placement], e.row[family])
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
	g := testbed.NewGroup(ctx, e.dir)
	defer g.Close()
	s, err := e.startServices(g, t)
	if err != nil {
		return err
	}
	// Where the kernel broke meanwhile, stress fails and says so, but has its figures. So may the others.
	sender, broken := e.send(g, t)
	if sender == nil || !sender.Over() {
		return broken
	}
	if err := testbed.TakeStress(&e.run, sender.Stdout.Bytes()); err != nil {
		if broken != nil {
			return broken
		}
		return err
	}
	if err := e.checkSources(); err != nil {
		return err
	}
	if err := e.take(s, t); err != nil {
		return err
	}
	e.run.Rate()
	e.run.Tainted, err = crash.Taint()
	return errors.Join(broken, err)
}

// services are what runs beside stress.
type services struct {
	daemon     *testbed.Process // writes statistics; nil without
	statistics string           // its file
	stats      *testbed.Process // conntrackwatch
	listener   *testbed.Process // likewise; nil without
}

// startServices starts who judges and who watches.
func (e *experiment) startServices(g *testbed.Group, t *netlab.Topology) (s services, err error) {
	s.statistics = filepath.Join(e.dir, "statistics.json")
	if e.row.queued() {
		if s.daemon, err = e.startProgram(g, t, s.statistics); err != nil {
			return s, err
		}
	}
	if s.stats, err = g.StartService(t.Queue, e.Conntrackwatch, "stats", "--json"); err != nil {
		return s, err
	}
	if e.row[events] == report.EventsOff {
		if err := t.Queue.SetSysctl("netfilter/nf_conntrack_events", "0"); err != nil {
			return s, err
		}
	}
	if e.row[events] != report.EventsNone {
		s.listener, err = g.StartService(t.Queue, e.Conntrackwatch, "events", "--json")
	}
	return s, err
}

// send runs stress to its end. It is nil where it could not be started.
func (e *experiment) send(g *testbed.Group, t *netlab.Topology) (*testbed.Process, error) {
	if e.sending != nil {
		defer e.sending(t)()
	}
	sender, err := g.Start(t.Sender, true, nil, e.Stress, e.stressArgs(t)...)
	if err != nil {
		return nil, err
	}
	return sender, sender.Wait(e.timeout() + testbed.StopWithin)
}

// take ends the services and takes over what they counted: the watchers first, so that the daemon's leave is no part
// of it.
func (e *experiment) take(s services, t *netlab.Topology) error {
	if s.listener != nil {
		if err := s.listener.Stop(syscall.SIGINT); err != nil {
			return err
		}
		if err := testbed.TakeEvents(&e.run, s.listener.Stdout.Bytes()); err != nil {
			return err
		}
	}
	take := testbed.TakeDaemon
	if e.row.foreign() {
		take = testbed.TakeGuard
		if err := testbed.TakeQueues(&e.run, t.Queue, e.config.Queues); err != nil {
			return err
		}
	}
	return testbed.TakeCounters(&e.run, s.stats, s.daemon, s.statistics, take)
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
func (e *experiment) startProgram(g *testbed.Group, t *netlab.Topology, statistics string) (*testbed.Process, error) {
	settings := e.daemonConfig(statistics)
	if !e.row.foreign() {
		return g.StartDaemon(t.Queue, e.Verdictd, settings)
	}
	f := testbed.Foreign{
		Program: e.row[program], Reference: e.config.Reference, Queues: e.config.Queues, Delay: e.config.Analysis.Delay,
		CPUs:      e.cpus,
		MaxLength: max(vocabulary.DefaultQueueLength, int(settings.Queues.MaxLength)),
	}
	_, guard, err := f.StartBehindGuard(g, t.Queue, e.Verdictd, settings)
	return guard, err
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

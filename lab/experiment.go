package main

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"strconv"
	"syscall"
	"time"

	"verdictd/internal/crash"
	"verdictd/internal/netlab"
	"verdictd/internal/report"
)

const (
	// outstanding is how many flows are under way at most. Their packets wait in the queue together, which keeps a flow's
	// later packets behind its first one: the more, the surer is the clash without a guard.
	outstanding = 64

	// port is where the bursts go, and all that the rules queue. It is discard's.
	port = 9
)

// An experiment is one row: fresh namespaces, the programs in them, and what they counted.
type experiment struct {
	*matrixCmd
	programs
	row  row
	dir  string // for the run's files, not made yet
	cpus []int  // to pin the daemon's threads to

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
		if err := takeQueues(&e.run, t.Queue, e.Queues); err != nil {
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
		program: e.row[program], reference: e.Reference, queues: e.Queues, delay: e.Analysis.Delay, cpus: e.cpus,
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

func (e *experiment) mode() string {
	switch {
	case e.row[kind] == report.TrafficBothEnds:
		return "cross"
	case e.machine:
		return "sendmmsg"
	}
	return "threads"
}

// threads is how many threads send a burst. Under numgen the packets of one thread take different queues, which have no
// common order: there every packet has a thread of its own, so that none is promised.
func (e *experiment) threads() int {
	switch {
	case e.row[kind] == report.TrafficBothEnds:
		return max(2, e.Threads) // one for each end
	case e.row[fanout] == report.FanoutNumgen && !e.machine:
		return e.Burst
	}
	return e.Threads
}

// stressArgs has the addresses spread over the flows and every wait bounded.
func (e *experiment) stressArgs(t *netlab.Topology) []string {
	n := netlab.Networks[e.row[family]]
	args := []string{
		"clash", "--json", "-",
		"--target", e.target(n).String(), "--port", strconv.Itoa(port),
		"--flows", strconv.Itoa(e.Flows), "--burst", strconv.Itoa(e.Burst),
		// Not aimed: that clashes without a queue as well, and what a placement adds is to be seen.
		"--threads", strconv.Itoa(e.threads()), "--mode", e.mode(), "--no-aim",
		"--pace", "full", "--outstanding", strconv.Itoa(outstanding), "--flow-timeout", e.flowTimeout().String(),
		"--linger", e.linger().String(), "--timeout", e.timeout().String(),
		"--sender-netns", t.Sender.Path(), "--receiver-netns", t.Receiver.Path(),
	}
	for _, a := range n.SourceList() {
		args = append(args, "--source", a.String())
	}
	if e.row.echoes() {
		args = append(args, "--echo")
	}
	if e.row[kind] == report.TrafficICMP {
		args = append(args, "--protocol", "icmp")
	}
	if e.row[nat] == report.NATBackends {
		for _, a := range n.Backends() {
			args = append(args, "--backend", a.String())
		}
	}
	return args
}

// target is where packets are sent to.
func (e *experiment) target(n netlab.Network) netip.Addr {
	if e.row[nat] == report.NATBackends {
		return n.Virtual
	}
	return n.Target
}

// backlog is how long the daemon needs at most for the packets that wait at one time, all of them in one queue.
func (e *experiment) backlog() time.Duration {
	return e.judging(outstanding * e.Burst)
}

// judging is how long one thread takes over so many packets, with room for distributions whose mean is above their delay.
func (e *experiment) judging(packets int) time.Duration {
	if e.row.echoes() {
		packets *= 2
	}
	return 2 * time.Duration(packets) * e.Analysis.Delay
}

// flowTimeout is when stress gives a flow up to begin another one. Where packets are to be lost that is the rule. Elsewhere a packet is
// lost, or this machine is too busy: giving up early would then fill the queue.
func (e *experiment) flowTimeout() time.Duration {
	if e.row.loses() {
		return 50*time.Millisecond + e.backlog()
	}
	if e.machine {
		return 30 * time.Second
	}
	return 2*time.Second + e.backlog()
}

// linger is how long stress waits for stragglers when all was sent: by then the last flows' packets are still in the queue.
// It ends when all have arrived, so there can be time for a machine that is busy, but not where some never do.
func (e *experiment) linger() time.Duration {
	if e.row.loses() {
		return 500*time.Millisecond + e.backlog()
	}
	if e.machine {
		return time.Minute
	}
	return 5*time.Second + e.backlog()
}

// timeout bounds the sending: a minute, a millisecond a flow, and the time that the daemon is made to take.
func (e *experiment) timeout() time.Duration {
	bound := time.Minute + e.judging(e.Flows*e.Burst) + time.Duration(e.Flows)*time.Millisecond + e.linger()
	if e.machine {
		bound += time.Duration(e.Flows) * 250 * time.Millisecond
	}
	if e.row.loses() {
		bound += time.Duration(e.Flows/outstanding+1) * e.flowTimeout()
	}
	return bound
}

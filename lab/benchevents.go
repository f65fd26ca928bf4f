package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"syscall"
	"time"

	"verdictd/internal/ct"
	"verdictd/internal/netlab"
	"verdictd/internal/report"
)

// eventBenchConfig says how many flows the listeners hear of.
type eventBenchConfig struct {
	Rounds  int
	Flows   int     // that are counted in a turn
	Rate    float64 // of them a second, at even distances
	Require string  // bounds on ratios, see parseRequirements
}

// Validate says all that is wrong.
func (c *eventBenchConfig) Validate() error {
	_, err := parseRequirements(c.Require, eventListenerNames())
	errs := []error{err, within("--rounds", c.Rounds, 1, 1000), within("--flows", c.Flows, 1000, maxEventFlows)}
	if !(c.Rate >= 1000 && c.Rate <= 1e6) {
		errs = append(errs, fmt.Errorf("--rate %g is not within 1000 to 1000000", c.Rate))
	}
	return errors.Join(errs...)
}

// An eventBench starts listeners.
type eventBench struct {
	programs
	lab                 string // this program
	flows               int
	rate                float64
	loadCPU, listenerAt int
}

// runEventBench gives every listener its turn in every round, with its progress on w.
func runEventBench(ctx context.Context, t *testbed, c *eventBenchConfig, w io.Writer) (*eventBenchResult, error) {
	required, err := parseRequirements(c.Require, eventListenerNames())
	if err != nil {
		return nil, err
	}
	lab, err := os.Executable()
	if err != nil {
		return nil, fmt.Errorf("find the lab's own executable, which is one of the listeners: %w", err)
	}
	b := eventBench{programs: t.programs, lab: lab, flows: c.Flows, rate: c.Rate, loadCPU: t.cpus[0], listenerAt: t.cpus[min(1, len(t.cpus)-1)]}
	result := &eventBenchResult{benchHead: benchHead[report.Host, eventBenchSettings, eventSample]{
		Schema: benchSchema, Version: t.version, Host: t.host, Settings: eventBenchSettings{
			Rounds: c.Rounds, Flows: c.Flows, Rate: c.Rate, ReceiveBuffer: ct.DefaultReceiveBuffer, LoadCPU: b.loadCPU, ListenerCPU: b.listenerAt,
		},
	}}
	missing := map[string]error{}
	if _, err := exec.LookPath("conntrack"); err != nil {
		missing["conntrack"] = fmt.Errorf("%w (Debian: conntrack)", err)
	}
	result.Samples, err = rounds(ctx, c.Rounds, eventListenerNames(), missing, w, func(i, round int, dir string) eventSample {
		l := &eventListeners[i]
		s := eventSample{Round: round, Listener: l.name}
		if err := b.measure(ctx, l, dir, &s); err != nil {
			s.Invalid = err.Error()
		}
		return s
	})
	if err != nil {
		return nil, err
	}
	result.Interrupted = ctx.Err() != nil
	result.judge(required, missing)
	return result, nil
}

// measure is one listener's turn: a fresh namespace, the listener, the flows. Whatever was started is gone when it returns.
func (b *eventBench) measure(ctx context.Context, l *eventListener, dir string, s *eventSample) (err error) {
	ns, err := netlab.NewNetNS()
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, ns.Close()) }()
	if err := ns.ActivateConntrack(); err != nil {
		return err
	}
	if err := os.Mkdir(dir, 0o700); err != nil {
		return fmt.Errorf("make a directory for the listener's files: %w", err)
	}
	g := newGroup(ctx, dir)
	defer g.Close()
	command := l.command(b)
	p, err := g.start(ns, false, nil, command[0], command[1:]...)
	if err != nil {
		return err
	}
	pid := p.cmd.Process.Pid
	if _, err := awaitEventSocket(g.ctx, pid, func(eventSocket) bool { return true }); err != nil {
		return errors.Join(err, context.Cause(g.ctx))
	}
	if err := pinProcess(pid, b.listenerAt); err != nil {
		return err
	}
	if err := b.load(g.ctx, ns, l, pid, s); err != nil {
		return err
	}
	return p.stop(syscall.SIGINT)
}

// load makes the flows and measures what process pid takes over their events.
func (b *eventBench) load(ctx context.Context, ns *netlab.NetNS, l *eventListener, pid int, s *eventSample) error {
	return onCPU(b.loadCPU, func() error {
		return ns.Do(func() (err error) {
			load, err := openFlows()
			if err != nil {
				return err
			}
			defer func() { err = errors.Join(err, load.Close()) }()
			turn := func(flows int) (eventSocket, error) {
				if err := load.send(ctx, flows, b.rate); err != nil {
					return eventSocket{}, err
				}
				socket, err := awaitEventSocket(ctx, pid, func(s eventSocket) bool { return s.waiting == 0 })
				// What was taken from the socket is handled, and the thread's time brought up to date as it falls asleep.
				time.Sleep(eventsRest)
				return socket, err
			}
			warm, err := turn(b.flows / warmPart)
			if err != nil {
				return fmt.Errorf("warm up: %w", err)
			}
			before, err := readCPU("/proc", pid)
			if err != nil {
				return err
			}
			begun := time.Now()
			socket, err := turn(b.flows)
			if err != nil {
				return err
			}
			s.FlowsPerSecond = float64(b.flows) / (time.Since(begun) - eventsRest).Seconds()
			s.Lost = socket.drops - warm.drops
			after, err := readCPU("/proc", pid)
			if err != nil {
				return err
			}
			spent, err := after.since(before)
			if err != nil {
				return fmt.Errorf("sum up the listener's CPU time: %w", err)
			}
			received := b.flows - int(s.Lost)
			s.CPUPerEvent = float64(spent.Nanoseconds()) / 1e3 / float64(max(1, received))
			if l.ours && s.Lost > 0 || received < b.flows/2 {
				return fmt.Errorf("the kernel dropped %d of %d events, as the listener's buffer was full", s.Lost, b.flows)
			}
			return nil
		})
	})
}

// eventsRest is longer than any listener sleeps between two receives.
const eventsRest = 50 * time.Millisecond

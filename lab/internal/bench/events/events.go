package events

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
	"verdictd/lab/internal/bench"
	"verdictd/lab/internal/testbed"
)

// Config says how many flows the listeners hear of.
type Config struct {
	Rounds  int
	Flows   int     // that are counted in a turn
	Rate    float64 // of them a second, at even distances
	Require string  // bounds on ratios, see bench.ParseRequirements
}

// Validate says all that is wrong.
func (c *Config) Validate() error {
	_, err := bench.ParseRequirements(c.Require, Names())
	errs := []error{err, testbed.Within("--rounds", c.Rounds, 1, 1000),
		testbed.Within("--flows", c.Flows, 1000, maxEventFlows)}
	if !(c.Rate >= 1000 && c.Rate <= 1e6) {
		errs = append(errs, fmt.Errorf("--rate %g is not within 1000 to 1000000", c.Rate))
	}
	return errors.Join(errs...)
}

// An comparison starts listeners.
type comparison struct {
	testbed.Programs
	lab                 string // this program
	flows               int
	rate                float64
	loadCPU, listenerAt int
}

// Run gives every listener its turn in every round, with its progress on w.
func Run(ctx context.Context, t *testbed.Testbed, c *Config, w io.Writer) (*Result, error) {
	required, err := bench.ParseRequirements(c.Require, Names())
	if err != nil {
		return nil, err
	}
	lab, err := os.Executable()
	if err != nil {
		return nil, fmt.Errorf("find the lab's own executable, which is one of the listeners: %w", err)
	}
	b := comparison{Programs: t.Programs, lab: lab, flows: c.Flows, rate: c.Rate, loadCPU: t.CPUs[0],
		listenerAt: t.CPUs[min(1, len(t.CPUs)-1)]}
	result := &Result{Head: bench.NewHead[sample](t.Version, t.Host, settings{
		Rounds: c.Rounds, Flows: c.Flows, Rate: c.Rate, ReceiveBuffer: ct.DefaultReceiveBuffer, LoadCPU: b.loadCPU,
		ListenerCPU: b.listenerAt,
	})}
	missing := map[string]error{}
	if _, err := exec.LookPath("conntrack"); err != nil {
		missing["conntrack"] = fmt.Errorf("%w (Debian: conntrack)", err)
	}
	result.Samples, err = bench.Rounds(ctx, 1, c.Rounds, Names(), missing, w, func(i, round int, dir string) sample {
		l := &listeners[i]
		s := sample{Round: round, Listener: l.name}
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

// measure is one listener's turn: a fresh namespace, the listener, the flows. Whatever was started is gone when it
// returns.
func (b *comparison) measure(ctx context.Context, l *listener, dir string, s *sample) (err error) {
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
	g := testbed.NewGroup(ctx, dir)
	defer g.Close()
	command := l.command(b)
	p, err := g.Start(ns, false, nil, command[0], command[1:]...)
	if err != nil {
		return err
	}
	pid := p.Cmd.Process.Pid
	if _, err := awaitSocket(g.Ctx, pid, func(listenerSocket) bool { return true }); err != nil {
		return errors.Join(err, context.Cause(g.Ctx))
	}
	if err := bench.PinProcess(pid, b.listenerAt); err != nil {
		return err
	}
	if err := b.load(g.Ctx, ns, l, pid, s); err != nil {
		return err
	}
	return p.Stop(syscall.SIGINT)
}

// load makes the flows and measures what process pid takes over their events.
func (b *comparison) load(ctx context.Context, ns *netlab.NetNS, l *listener, pid int, s *sample) error {
	return bench.OnCPU(b.loadCPU, func() error {
		return ns.Do(func() (err error) {
			load, err := openFlows()
			if err != nil {
				return err
			}
			defer func() { err = errors.Join(err, load.Close()) }()
			turn := func(flows int) (listenerSocket, error) {
				if err := load.send(ctx, flows, b.rate); err != nil {
					return listenerSocket{}, err
				}
				socket, err := awaitSocket(ctx, pid, func(s listenerSocket) bool { return s.waiting == 0 })
				// What was taken from the socket is handled, and the thread's time brought up to date as it falls
				// asleep.
				time.Sleep(rest)
				return socket, err
			}
			warm, err := turn(b.flows / bench.WarmPart)
			if err != nil {
				return fmt.Errorf("warm up: %w", err)
			}
			before, err := bench.ReadCPU("/proc", pid)
			if err != nil {
				return err
			}
			begun := time.Now()
			socket, err := turn(b.flows)
			if err != nil {
				return err
			}
			s.FlowsPerSecond = float64(b.flows) / (time.Since(begun) - rest).Seconds()
			s.Lost = socket.drops - warm.drops
			after, err := bench.ReadCPU("/proc", pid)
			if err != nil {
				return err
			}
			spent, err := after.Since(before)
			if err != nil {
				return fmt.Errorf("sum up the listener's CPU time: %w", err)
			}
			received := b.flows - int(s.Lost)
			s.CPUPerEvent = float64(spent.Nanoseconds()) / 1e3 / float64(max(1, received))
			if l.ours && s.Lost > 0 || received < b.flows/2 {
				return fmt.Errorf("the kernel dropped %d of %d events, as the listener's buffer was full", s.Lost,
					b.flows)
			}
			return nil
		})
	})
}

// rest is longer than any listener sleeps between two receives.
const rest = 50 * time.Millisecond

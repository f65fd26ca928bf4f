package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync/atomic"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"verdictd/internal/netlab"
	"verdictd/lab/internal/child"
)

// Bounds on how long a child may take to be ready and to end: an emulated machine on a busy host needs half a minute.
const (
	readyWithin = time.Minute
	stopWithin  = time.Minute
)

// quoted is how many lines of its stderr an error about a child ends with.
const quoted = 3

// A group is the processes of one run. The first one that ends without having been asked to ends the whole run: its
// context is cancelled with the reason, and that kills the others.
type group struct {
	ctx    context.Context
	cancel context.CancelCauseFunc
	dir    string // for the sockets on which children say that they are ready

	processes []*process
	sockets   []*net.UnixConn // to be closed when the processes that they are for have ended
}

func newGroup(ctx context.Context, dir string) *group {
	g := &group{dir: dir}
	g.ctx, g.cancel = context.WithCancelCause(ctx)
	return g
}

// Close kills what still runs and waits until it is gone.
func (g *group) Close() {
	g.cancel(errors.New("the run is over"))
	for _, p := range g.processes {
		<-p.done
	}
	for _, s := range g.sockets {
		_ = s.Close() // nothing was written to it
	}
}

// A process is one child. Its fields below done are valid once that is closed.
type process struct {
	name  string
	group *group
	cmd   *exec.Cmd

	asked atomic.Bool // to end: an end is no surprise any more

	done   chan struct{}
	stdout bytes.Buffer
	stderr child.Tail
	err    error // how it ended, nil for exit status 0
}

// start runs a program in a namespace. It returns when the program has been forked. A program that ends by itself, such
// as stress, is told apart from a service by ends.
func (g *group) start(ns *netlab.NetNS, ends bool, env []string, program string, args ...string) (*process, error) {
	return g.launch(ns, "", ends, env, program, args...)
}

// startIn is start, in a folder, of a program that ends by itself.
func (g *group) startIn(ns *netlab.NetNS, folder, program string, args ...string) (*process, error) {
	return g.launch(ns, folder, true, nil, program, args...)
}

func (g *group) launch(ns *netlab.NetNS, folder string, ends bool, env []string, program string, args ...string) (*process, error) {
	p := &process{name: filepath.Base(program), group: g, done: make(chan struct{})}
	p.asked.Store(ends)
	p.cmd = exec.CommandContext(g.ctx, program, args...)
	p.cmd.Dir, p.cmd.Env = folder, append(os.Environ(), env...)
	p.cmd.Stdout, p.cmd.Stderr = &p.stdout, &p.stderr
	p.cmd.SysProcAttr = child.Attributes(syscall.SIGKILL)
	// A killed child may leave its output open in a process that it started.
	p.cmd.WaitDelay = time.Second

	started := make(chan error)
	go func() {
		// Do keeps this goroutine on one thread, in the namespace, until the child is gone: the thread's end would kill
		// the child.
		err := ns.Do(func() error {
			if err := p.cmd.Start(); err != nil {
				return err
			}
			started <- nil
			p.err = p.ended(p.cmd.Wait())
			close(p.done)
			if !p.asked.Load() {
				g.cancel(p.early())
			}
			return nil
		})
		if err == nil {
			return
		}
		if p.cmd.Process == nil {
			started <- fmt.Errorf("start %s: %w", p.name, err)
			return
		}
		g.cancel(fmt.Errorf("%s: %w", p.name, err))
	}()
	if err := <-started; err != nil {
		return nil, err
	}
	g.processes = append(g.processes, p)
	return p, nil
}

// startService starts a program that says READY=1 and then runs until it is stopped, and waits for the former.
func (g *group) startService(ns *netlab.NetNS, program string, args ...string) (*process, error) {
	name := filepath.Base(program)
	path := filepath.Join(g.dir, fmt.Sprintf("%d.ready", len(g.processes)))
	ready, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: path, Net: "unixgram"})
	if err != nil {
		return nil, fmt.Errorf("listen for the readiness of %s (a socket's path has at most 107 bytes: set a shorter TMPDIR?): %w", name, err)
	}
	g.sockets = append(g.sockets, ready)

	p, err := g.start(ns, false, []string{"NOTIFY_SOCKET=" + path}, program, args...)
	if err != nil {
		return nil, err
	}
	said := make(chan error, 1)
	go func() { said <- waitReady(ready) }() // ends with the socket at the latest
	select {
	case err := <-said:
		if err != nil {
			return nil, fmt.Errorf("%s did not say that it is ready: %w%s", p.name, err, p.stderr.Quote(quoted))
		}
		return p, nil
	case <-g.ctx.Done():
		return nil, context.Cause(g.ctx)
	}
}

// waitReady reads notifications until one says READY=1.
func waitReady(conn *net.UnixConn) error {
	if err := conn.SetReadDeadline(time.Now().Add(readyWithin)); err != nil {
		return err
	}
	buf := make([]byte, 4096)
	for {
		n, err := conn.Read(buf)
		if errors.Is(err, os.ErrDeadlineExceeded) {
			return fmt.Errorf("nothing heard within %v", readyWithin)
		}
		if err != nil {
			return err
		}
		for line := range strings.Lines(string(buf[:n])) {
			if strings.TrimSpace(line) == "READY=1" {
				return nil
			}
		}
	}
}

// wait waits for the end of a program that ends by itself, or of the run.
func (p *process) wait(bound time.Duration) error {
	select {
	case <-p.done:
		// Killed by the end of the run, or its own failure?
		if cause := context.Cause(p.group.ctx); cause != nil {
			return cause
		}
		return p.err
	case <-p.group.ctx.Done():
		return context.Cause(p.group.ctx)
	case <-time.After(bound):
		return fmt.Errorf("%s has not ended after %v%s", p.name, bound, p.stderr.Quote(quoted))
	}
}

// over says whether the child has ended, so that its output and its end may be read.
func (p *process) over() bool {
	select {
	case <-p.done:
		return true
	default:
		return false
	}
}

// stop asks a service to end, and returns how it did.
func (p *process) stop(sig os.Signal) error {
	p.asked.Store(true)
	if p.over() {
		return p.early()
	}
	if err := p.cmd.Process.Signal(sig); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return fmt.Errorf("signal %s: %w", p.name, err)
	}
	select {
	case <-p.done:
		return p.err
	case <-p.group.ctx.Done():
		return context.Cause(p.group.ctx)
	case <-time.After(stopWithin):
		return fmt.Errorf("%s has not ended %v after %v%s", p.name, stopWithin, sig, p.stderr.Quote(quoted))
	}
}

// early is how a service ended that nobody had asked to.
func (p *process) early() error {
	if p.err == nil {
		return fmt.Errorf("%s ended by itself, with exit status 0, before it was asked to%s", p.name, p.stderr.Quote(quoted))
	}
	return p.err
}

// ended says in words how the child ended.
func (p *process) ended(err error) error {
	var exit *exec.ExitError
	switch {
	case err == nil:
		return nil
	case !errors.As(err, &exit):
		return fmt.Errorf("%s: %w", p.name, err)
	}
	if status, ok := exit.Sys().(syscall.WaitStatus); ok && status.Signaled() {
		return fmt.Errorf("%s was killed by %s", p.name, unix.SignalName(status.Signal()))
	}
	return fmt.Errorf("%s failed with exit status %d%s", p.name, exit.ExitCode(), p.stderr.Quote(quoted))
}

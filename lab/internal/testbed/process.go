package testbed

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
	ReadyWithin = time.Minute
	StopWithin  = time.Minute
)

// Quoted is how many lines of its stderr an error about a child ends with.
const Quoted = 3

// A Group is the processes of one run. The first one that ends without having been asked to ends the whole run: its
// context is cancelled with the reason, and that kills the others.
type Group struct {
	Ctx    context.Context
	cancel context.CancelCauseFunc
	Dir    string // for the sockets on which children say that they are ready

	processes []*Process
	sockets   []*net.UnixConn // to be closed when the processes that they are for have ended
}

// NewGroup is one that ends with the context. Its children say in the directory that they are ready.
func NewGroup(ctx context.Context, dir string) *Group {
	g := &Group{Dir: dir}
	g.Ctx, g.cancel = context.WithCancelCause(ctx)
	return g
}

// Close kills what still runs and waits until it is gone.
func (g *Group) Close() {
	g.cancel(errors.New("the run is over"))
	for _, p := range g.processes {
		<-p.done
	}
	for _, s := range g.sockets {
		_ = s.Close() // nothing was written to it
	}
}

// A Process is one child. Its fields below done are valid once that is closed.
type Process struct {
	name  string
	Group *Group
	Cmd   *exec.Cmd

	asked atomic.Bool // to end: an end is no surprise any more

	done   chan struct{}
	Stdout bytes.Buffer
	Stderr child.Tail
	err    error // how it ended, nil for exit status 0
}

// Start runs a program in a namespace. It returns when the program has been forked. A program that ends by itself, such
// as stress, is told apart from a service by ends.
func (g *Group) Start(ns *netlab.NetNS, ends bool, env []string, program string, args ...string) (*Process, error) {
	return g.launch(ns, "", ends, env, program, args...)
}

// StartIn is Start, in a folder, of a program that ends by itself.
func (g *Group) StartIn(ns *netlab.NetNS, folder, program string, args ...string) (*Process, error) {
	return g.launch(ns, folder, true, nil, program, args...)
}

func (g *Group) launch(ns *netlab.NetNS, folder string, ends bool, env []string, program string,
	args ...string) (*Process, error) {
	p := &Process{name: filepath.Base(program), Group: g, done: make(chan struct{})}
	p.asked.Store(ends)
	p.Cmd = exec.CommandContext(g.Ctx, program, args...)
	p.Cmd.Dir, p.Cmd.Env = folder, append(os.Environ(), env...)
	p.Cmd.Stdout, p.Cmd.Stderr = &p.Stdout, &p.Stderr
	p.Cmd.SysProcAttr = child.Attributes(syscall.SIGKILL)
	// A killed child may leave its output open in a process that it started.
	p.Cmd.WaitDelay = time.Second

	started := make(chan error)
	go func() {
		// Do keeps this goroutine on one thread, in the namespace, until the child is gone: the thread's end would kill
		// the child.
		err := ns.Do(func() error {
			if err := p.Cmd.Start(); err != nil {
				return err
			}
			started <- nil
			p.err = p.ended(p.Cmd.Wait())
			close(p.done)
			if !p.asked.Load() {
				g.cancel(p.early())
			}
			return nil
		})
		if err == nil {
			return
		}
		if p.Cmd.Process == nil {
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

// StartService starts a program that says READY=1 and then runs until it is stopped, and waits for the former.
func (g *Group) StartService(ns *netlab.NetNS, program string, args ...string) (*Process, error) {
	name := filepath.Base(program)
	path := filepath.Join(g.Dir, fmt.Sprintf("%d.ready", len(g.processes)))
	ready, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: path, Net: "unixgram"})
	if err != nil {
		return nil, fmt.Errorf("listen for the readiness of %s (a socket's path has at most 107 bytes: set a shorter "+
			"TMPDIR?): %w", name, err)
	}
	g.sockets = append(g.sockets, ready)

	p, err := g.Start(ns, false, []string{"NOTIFY_SOCKET=" + path}, program, args...)
	if err != nil {
		return nil, err
	}
	said := make(chan error, 1)
	go func() { said <- waitReady(ready) }() // ends with the socket at the latest
	select {
	case err := <-said:
		if err != nil {
			return nil, fmt.Errorf("%s did not say that it is ready: %w%s", p.name, err, p.Stderr.Quote(Quoted))
		}
		return p, nil
	case <-g.Ctx.Done():
		return nil, context.Cause(g.Ctx)
	}
}

// waitReady reads notifications until one says READY=1.
func waitReady(conn *net.UnixConn) error {
	if err := conn.SetReadDeadline(time.Now().Add(ReadyWithin)); err != nil {
		return err
	}
	buf := make([]byte, 4096)
	for {
		n, err := conn.Read(buf)
		if errors.Is(err, os.ErrDeadlineExceeded) {
			return fmt.Errorf("nothing heard within %v", ReadyWithin)
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

// Wait waits for the end of a program that ends by itself, or of the run.
func (p *Process) Wait(bound time.Duration) error {
	select {
	case <-p.done:
		// Killed by the end of the run, or its own failure?
		if cause := context.Cause(p.Group.Ctx); cause != nil {
			return cause
		}
		return p.err
	case <-p.Group.Ctx.Done():
		return context.Cause(p.Group.Ctx)
	case <-time.After(bound):
		return fmt.Errorf("%s has not ended after %v%s", p.name, bound, p.Stderr.Quote(Quoted))
	}
}

// Expect says that the child may end at any time: that is no reason any more to end the run.
func (p *Process) Expect() { p.asked.Store(true) }

// Over says whether the child has ended, so that its output and its end may be read.
func (p *Process) Over() bool {
	select {
	case <-p.done:
		return true
	default:
		return false
	}
}

// Stop asks a service to end, and returns how it did.
func (p *Process) Stop(sig os.Signal) error {
	p.asked.Store(true)
	if p.Over() {
		return p.early()
	}
	if err := p.Cmd.Process.Signal(sig); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return fmt.Errorf("signal %s: %w", p.name, err)
	}
	select {
	case <-p.done:
		return p.err
	case <-p.Group.Ctx.Done():
		return context.Cause(p.Group.Ctx)
	case <-time.After(StopWithin):
		return fmt.Errorf("%s has not ended %v after %v%s", p.name, StopWithin, sig, p.Stderr.Quote(Quoted))
	}
}

// early is how a service ended that nobody had asked to.
func (p *Process) early() error {
	if p.err == nil {
		return fmt.Errorf("%s ended by itself, with exit status 0, before it was asked to%s", p.name,
			p.Stderr.Quote(Quoted))
	}
	return p.err
}

// ended says in words how the child ended.
func (p *Process) ended(err error) error {
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
	return fmt.Errorf("%s failed with exit status %d%s", p.name, exit.ExitCode(), p.Stderr.Quote(Quoted))
}

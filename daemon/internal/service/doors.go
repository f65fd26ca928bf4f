package service

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"runtime"

	"golang.org/x/sys/unix"

	"verdictd/daemon/internal/control"
	"verdictd/daemon/internal/metrics"
	"verdictd/daemon/internal/privileges"
	"verdictd/daemon/internal/samples"
	"verdictd/daemon/internal/translate"
	"verdictd/internal/config"
)

// doors are where others come in: listeners, each with what answers there.
type doors struct {
	metrics *metrics.Server
	control *control.Server
	socket  string // of control
}

func (d *doors) close() error {
	var errs []error
	if d.metrics != nil {
		errs = append(errs, d.metrics.Stop())
	}
	if d.control != nil {
		errs = append(errs, d.control.Close())
	}
	return errors.Join(errs...)
}

// tried is what a configuration names and needs to be opened, open.
type tried struct {
	metrics, control net.Listener
	samples          *samples.Sampler
	problems         translate.Problems
}

func (t *tried) problem(key string, err error) {
	t.problems = append(t.problems, translate.Problem{Key: key, Text: err.Error()})
}

// close gives back what is not wanted after all.
func (t *tried) close() {
	for _, l := range []net.Listener{t.metrics, t.control} {
		if l != nil {
			_ = l.Close()
		}
	}
	if t.samples != nil {
		_ = t.samples.Close()
	}
}

// try tries everything outside of the kernel's rules that a configuration names, as far
// as it differs from the one before (nil: there is none), and opens what is to be served.
// What it judges by is tried too; nil: it judges nothing.
func (s *service) try(ctx context.Context, cfg, before *config.Config, j *judging) *tried {
	t := &tried{}
	if j != nil {
		j.asksConntrack()
		t.problems = j.suits()
		var err error
		if t.samples, err = s.trySamples(cfg); err != nil {
			t.problem("policy.samples.directory", err)
		}
		j.sampled(t.samples, s.samples, cfg)
	}
	if err := tryFile(cfg.Statistics.File); err != nil {
		t.problem("statistics.file", err)
	}
	if s.command == "run" {
		for i, cpu := range cfg.Queues.Pin {
			if err := tryCPU(cpu); err != nil {
				t.problem(fmt.Sprintf("queues.pin[%d]", i), err)
			}
		}
	}
	if before == nil && s.Confine { // what a reload says of it counts at the next start
		if err := privileges.CheckUser(cfg.Privileges.User); err != nil {
			t.problem("privileges.user", err)
		}
	}
	if listen := cfg.Metrics.Listen; listen != "" && (before == nil || before.Metrics.Listen != listen) {
		var err error
		if t.metrics, err = net.Listen("tcp", listen); err != nil {
			t.problem("metrics.listen", err)
		}
	}
	if err := metrics.Check(cfg.Metrics.WebConfig); err != nil {
		t.problem("metrics.web_config", err)
	}
	// One that somebody has taken away is made again.
	if socket := s.socketOf(cfg); socket != "" && (socket != s.doors.socket || !s.doors.control.There()) {
		var err error
		switch t.control, err = control.Listen(ctx, socket); {
		case err == nil:
		case socket == s.doors.socket:
			s.Log.Warn("the control socket was taken away, and cannot be made again before a restart", "error", err)
		case socket == s.defaultSocket():
			// Nobody asked for it: a daemon on a read-only system runs without, and so does
			// the second one on a machine.
			s.Log.Warn("there is no control socket: set control.socket to another path, or to \"\"", "error", err)
		default:
			t.problem("control.socket", err)
		}
	}
	return t
}

// defaultSocket is where the daemon listens if nothing else is said.
func (s *service) defaultSocket() string {
	if s.command == "guard" {
		return config.DefaultGuardSocket
	}
	return config.DefaultSocket
}

// socketOf is the control socket of a configuration, which has one default for both
// services.
func (s *service) socketOf(cfg *config.Config) string {
	if s.Socket != "" {
		return s.Socket
	}
	if cfg.Control.Socket == config.DefaultSocket {
		return s.defaultSocket()
	}
	return cfg.Control.Socket
}

// open notes what the life begins with, tries all that the configuration names at the
// start, and opens the doors.
func (s *service) open(ctx context.Context) error {
	if err := s.tellTakenOver(); err != nil {
		return err
	}
	if s.command == "run" {
		var problems translate.Problems
		if s.judging, problems = prepare(s.cfg, nil); len(problems) > 0 {
			return problems
		}
	}
	t := s.try(ctx, s.cfg, nil, s.judging)
	if len(t.problems) > 0 {
		t.close()
		return t.problems
	}
	s.enter(t, s.cfg)
	return nil
}

// enter has what was opened for a configuration take the place of what there was.
func (s *service) enter(t *tried, cfg *config.Config) {
	d := &s.doors
	s.enterSamples(t.samples, cfg)
	if t.metrics != nil || cfg.Metrics.Listen == "" {
		if d.metrics != nil {
			go func(old *metrics.Server) { _ = old.Stop() }(d.metrics) // who asks at the moment waits for this goroutine
			d.metrics = nil
		}
		if t.metrics != nil {
			d.metrics = s.serveMetrics(t.metrics, cfg)
		}
	}
	if socket := s.socketOf(cfg); t.control != nil || socket == "" {
		if old := d.control; old != nil {
			go func() { _ = old.Close() }() // it may be the one that asked, and waits for the answer
			d.control, d.socket = nil, ""
		}
		if t.control != nil {
			d.control, d.socket = control.Serve(t.control, (*asked)(s), s.Log), socket
		}
	}
}

// tryFile finds out whether a file can be written, and leaves it as it is. It is written
// beside its place and renamed, unless it is something else than a file.
func tryFile(name string) error {
	if name == "" || name == "-" {
		return nil
	}
	if info, err := os.Stat(name); err == nil && !info.Mode().IsRegular() {
		if info.IsDir() {
			return fmt.Errorf("%s is a folder: name a file in it", name)
		}
		return unix.Access(name, unix.W_OK)
	}
	f, err := os.CreateTemp(filepath.Dir(name), ".verdictd-*")
	if err != nil {
		return err
	}
	return errors.Join(f.Close(), os.Remove(f.Name()))
}

// tryCPU finds out whether a thread can be pinned to a CPU.
func tryCPU(cpu int) error {
	tried := make(chan error, 1)
	go func() {
		runtime.LockOSThread() // and never unlocked: the thread ends with its CPU
		var set unix.CPUSet
		set.Set(cpu)
		tried <- unix.SchedSetaffinity(0, &set)
	}()
	if err := <-tried; err != nil {
		return fmt.Errorf("pin to CPU %d: %w: not a CPU that this process may use", cpu, err)
	}
	return nil
}

// serveMetrics answers scrapes until the server is stopped.
func (s *service) serveMetrics(l net.Listener, cfg *config.Config) *metrics.Server {
	return s.metrics.Serve(l, metrics.Config{WebConfig: cfg.Metrics.WebConfig, Live: s.live, Ready: s.ready, Log: s.Log})
}

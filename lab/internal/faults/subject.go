package faults

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"time"

	"github.com/prometheus/procfs"
	"golang.org/x/sys/unix"

	"verdictd/internal/config"
	"verdictd/internal/netlab"
	"verdictd/internal/report"
	"verdictd/internal/vocabulary"
	"verdictd/lab/internal/testbed"
)

// A subject is the program that judges, with whoever starts it once more when it has ended: its keeper, or the lab.
type subject struct {
	testbed.Programs
	program   string
	reference string
	keeper    bool
	guard     string
	settled   bool
	group     *testbed.Group
	ns        *netlab.NetNS
	policing  bool // the policy drops what goes to portSwitched

	process *testbed.Process // the keeper, or the program
}

// start starts the program and waits until it is ready. The configuration drops what goes to portSwitched, or not.
func (s *subject) start() (err error) {
	if s.program == report.ProgramLibrary {
		args := []string{"--queue", "0", "--max-length", strconv.Itoa(queueLength), "--receive-buffer",
			strconv.Itoa(receiveBuffer), "--drop-port", strconv.Itoa(portPoliced)}
		if s.policing {
			args = append(args, "--drop-port", strconv.Itoa(portSwitched))
		}
		s.process, err = s.group.StartService(s.ns, s.reference, args...)
	} else {
		var path string
		if path, err = s.group.WriteConfig("verdictd.yaml", s.config()); err != nil {
			return err
		}
		args := []string{"run", "--config", path}
		if s.keeper {
			args = append([]string{"supervise", "--"}, args...)
		}
		s.process, err = s.group.StartService(s.ns, s.Verdictd, args...)
	}
	if err == nil {
		s.process.Expect()
	}
	return err
}

// config is verdictd's.
func (s *subject) config() *config.Config {
	c := config.Default()
	c.Queues.MaxLength, c.Queues.ReceiveBuffer, c.Queues.ReceiveBufferMax = queueLength, receiveBuffer, receiveBuffer
	c.Guard.Mode = vocabulary.GuardMode(s.guard)
	c.Guard.Settled = s.settled
	c.Rules.Placement = vocabulary.PlacementForward
	c.Rules.Families = []vocabulary.Family{vocabulary.IPv4}
	c.Rules.DestinationPorts = []uint16{portAccepted, portPoliced, portSwitched, portOverload}
	drop := func(name string, port uint16) config.Rule {
		return config.Rule{Name: name, Action: vocabulary.Drop,
			Match: config.Match{DestinationPorts: []config.Ports{{PortRange: vocabulary.Ports(port, port)}}}}
	}
	c.Policy.Rules = []config.Rule{drop("policed", portPoliced)}
	if s.policing {
		c.Policy.Rules = append(c.Policy.Rules, drop("switched", portSwitched))
	}
	c.Statistics.File = filepath.Join(s.group.Dir, "statistics.json")
	c.Control.Socket = filepath.Join(s.group.Dir, "control.sock")
	return c
}

// worker is the process that judges.
func (s *subject) worker() (pid int, err error) {
	parent := s.process.Cmd.Process.Pid
	if !s.keeper {
		return parent, nil
	}
	all, err := procfs.AllProcs()
	if err != nil {
		return 0, fmt.Errorf("find the keeper's child: %w", err)
	}
	i := slices.IndexFunc(all, func(p procfs.Proc) bool {
		stat, err := p.Stat()
		return err == nil && stat.PPID == parent && stat.State != "Z"
	})
	if i < 0 {
		return 0, errors.New("the keeper has no child")
	}
	return all[i].PID, nil
}

// anotherThan waits until a worker with another process id is there.
func (s *subject) anotherThan(before int) error {
	for end := time.Now().Add(patience); time.Now().Before(end); time.Sleep(5 * time.Millisecond) {
		if s.process.Over() {
			return fmt.Errorf("the keeper has ended%s", s.process.Stderr.Quote(testbed.Quoted))
		}
		if pid, err := s.worker(); err == nil && pid != before {
			return nil
		}
	}
	return fmt.Errorf("no other process has come within %v%s", patience, s.process.Stderr.Quote(4*testbed.Quoted))
}

// reload gives the program another policy. One that cannot reload is started once more.
func (s *subject) reload() error {
	s.policing = !s.policing
	if s.program == report.ProgramLibrary {
		return s.restart()
	}
	if _, err := s.group.WriteConfig("verdictd.yaml", s.config()); err != nil {
		return err
	}
	return s.signal(s.process.Cmd.Process.Pid, unix.SIGHUP)
}

// restart replaces the program in order.
func (s *subject) restart() error {
	if !s.keeper {
		return errors.Join(s.stop(), s.start())
	}
	before, err := s.worker()
	if err != nil {
		return err
	}
	return errors.Join(s.signal(s.process.Cmd.Process.Pid, unix.SIGUSR2), s.anotherThan(before))
}

// kill has the program die, and come back after a time.
func (s *subject) kill(gap time.Duration) error {
	before, err := s.worker()
	if err != nil {
		return err
	}
	if !s.keeper {
		err := s.signal(before, unix.SIGKILL)
		_ = s.process.Wait(patience) // it says that it was killed
		time.Sleep(gap)
		return errors.Join(err, s.start())
	}
	keeper := s.process.Cmd.Process.Pid
	if gap > 0 {
		// A keeper that stands still is the gap.
		err = s.signal(keeper, unix.SIGSTOP)
	}
	err = errors.Join(err, s.signal(before, unix.SIGKILL))
	if gap > 0 {
		time.Sleep(gap)
		err = errors.Join(err, s.signal(keeper, unix.SIGCONT))
	}
	return errors.Join(err, s.anotherThan(before))
}

// freeze stops the program for a time, and not its keeper.
func (s *subject) freeze(d time.Duration) error {
	pid, err := s.worker()
	if err != nil {
		return err
	}
	err = s.signal(pid, unix.SIGSTOP)
	time.Sleep(d)
	return errors.Join(err, s.signal(pid, unix.SIGCONT))
}

func (s *subject) signal(pid int, sig unix.Signal) error {
	if err := unix.Kill(pid, sig); err != nil {
		return fmt.Errorf("send %s to process %d: %w", unix.SignalName(sig), pid, err)
	}
	return nil
}

// stop ends the program, and its keeper, in order.
func (s *subject) stop() error { return s.process.Stop(unix.SIGTERM) }

// revive starts all of it from the beginning, after a fault that it has not got over.
func (s *subject) revive() error {
	if pid, err := s.worker(); err == nil {
		_ = s.signal(pid, unix.SIGCONT)
	}
	_ = s.process.Cmd.Process.Signal(unix.SIGTERM)
	if s.process.Wait(patience) != nil && !s.process.Over() {
		_ = s.process.Cmd.Process.Signal(os.Kill)
		_ = s.process.Wait(patience)
	}
	return s.start()
}

package supervise

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// workerOOM is added to the daemon's oom_score_adj: where memory ends, the kernel is to take the daemon, whose
// descriptors are safe here, and not its parent.
const workerOOM = 100

// start starts the daemon with what is held.
func (s *supervisor) start() error {
	s.startAt = time.Time{}
	cmd := exec.Command(s.Program, s.Args...)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
	cmd.SysProcAttr = &syscall.SysProcAttr{
		// Whoever types Ctrl-C means both, and the parent passes it on.
		Setpgid: true,
		// Without its parent nobody would start it once more: it ends in order.
		Pdeathsig: unix.SIGTERM,
	}
	cmd.Env = environment(os.Environ(), s.Watchdog)
	handed, err := s.Store.Hand(cmd)
	if err != nil {
		return fmt.Errorf("start %s: %w", s.Program, err)
	}
	defer handed()
	restore, err := raiseOOM()
	if err != nil {
		s.Log.Warn("the daemon is not marked as the first to go where memory ends", "error", err)
	}
	err = cmd.Start()
	restore()
	if err != nil {
		return fmt.Errorf("start %s: %w", s.Program, err)
	}
	s.pid, s.ready, s.restarting = cmd.Process.Pid, false, false
	// reap waits for it.
	if err := cmd.Process.Release(); err != nil {
		return fmt.Errorf("start %s: %w", s.Program, err)
	}
	s.readyBy, s.aliveBy, s.endBy = time.Now().Add(s.StartWithin), time.Time{}, time.Time{}
	s.spared = false
	s.Log.Info("the daemon is started", "pid", s.pid, "descriptors", len(cmd.ExtraFiles))
	return nil
}

// environment is that of the daemon: the caller's, but for the watchdog, which is not the one that watches the caller.
func environment(own []string, watchdog time.Duration) (env []string) {
	for _, entry := range own {
		switch name, _, _ := strings.Cut(entry, "="); name {
		case "WATCHDOG_USEC", "WATCHDOG_PID", "MAINPID":
		default:
			env = append(env, entry)
		}
	}
	if watchdog > 0 {
		env = append(env, "WATCHDOG_USEC="+strconv.FormatInt(watchdog.Microseconds(), 10))
	}
	return env
}

// scoreFile holds how willing the kernel is to kill this process where memory ends (proc_pid_oom_score_adj(5)).
const scoreFile = "/proc/self/oom_score_adj"

// raiseOOM has processes that are started until restore is called inherit a higher score than this one's. Raising needs
// no privilege, and neither does going back. Writing the daemon's own file might: it belongs to root where the binary
// has file capabilities.
func raiseOOM() (restore func(), err error) {
	before, err := os.ReadFile(scoreFile)
	if err != nil {
		return func() {}, err
	}
	score, err := strconv.Atoi(strings.TrimSpace(string(before)))
	if err != nil {
		return func() {}, fmt.Errorf("read %s: %w", scoreFile, err)
	}
	if err := os.WriteFile(scoreFile, []byte(strconv.Itoa(min(score+workerOOM, 1000))), 0); err != nil {
		return func() {}, err
	}
	return func() { _ = os.WriteFile(scoreFile, before, 0) }, nil //nolint:gosec // what the file had
}

// reap collects all children that have ended. Some may not be the daemon: process 1 inherits what others leave.
func (s *supervisor) reap() {
	for {
		var status unix.WaitStatus
		pid, err := unix.Wait4(-1, &status, unix.WNOHANG, nil)
		switch {
		case errors.Is(err, unix.EINTR):
			continue
		case err != nil || pid <= 0:
			return
		case pid == s.pid:
			s.ended(end{status})
		}
	}
}

// reapWorker waits for the daemon, which was killed.
func (s *supervisor) reapWorker() {
	var status unix.WaitStatus
	for {
		if _, err := unix.Wait4(s.pid, &status, 0, nil); !errors.Is(err, unix.EINTR) {
			break
		}
	}
	s.ended(end{status})
}

// ended deals with a daemon that has ended.
func (s *supervisor) ended(e end) {
	// What it has told before its end counts: descriptors for the next one, above all.
	s.catchUp()
	pid := s.pid
	names, _ := s.Store.Names()
	if s.ready {
		// One that has stopped in order has taken its rules out, and back what it gave away.
		s.since, s.left = time.Now(), s.restarting || !e.done() || len(names) > 0
	}
	s.pid, s.ready = 0, false
	s.readyBy, s.endBy, s.aliveBy, s.provenAt = time.Time{}, time.Time{}, time.Time{}, time.Time{}
	switch {
	case s.stopping:
		if !e.ordered() {
			s.Log.Error("the daemon ended before it had stopped in order", "pid", pid, "end", e.String())
		}
		s.release()
		s.over, s.status = true, e.exitStatus()
	case s.restarting && !e.hopeless():
		s.startAt = time.Now()
	case e.final():
		s.release()
		s.over, s.status = true, e.exitStatus()
	default:
		s.again()
		s.Log.Error("the daemon ended, and is started once more", "pid", pid, "end", e.String(), "descriptors", len(names),
			"failures", s.pauses.failures, "pause", time.Until(s.startAt).Round(time.Millisecond))
	}
}

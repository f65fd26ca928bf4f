package failure

import (
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"verdictd/daemon/internal/childtest"
	"verdictd/daemon/internal/guard"
	"verdictd/internal/ruleset"
)

// child is the process that a keeper has started, if it is another one than before.
func child(t *testing.T, keeper *childtest.Child, before int) int {
	t.Helper()
	pid := keeper.Cmd.Process.Pid
	for deadline := time.Now().Add(20 * time.Second); ; time.Sleep(time.Millisecond) {
		// Which thread has started it is not known.
		for _, task := range tasks(pid) {
			b, err := os.ReadFile(fmt.Sprintf("/proc/%d/task/%s/children", pid, task))
			if err != nil {
				continue
			}
			for word := range strings.FieldsSeq(string(b)) {
				if n, err := strconv.Atoi(word); err == nil && n != before {
					return n
				}
			}
		}
		if time.Now().After(deadline) {
			t.Fatal("the keeper starts no daemon")
		}
	}
}

func tasks(pid int) (names []string) {
	entries, _ := os.ReadDir(fmt.Sprintf("/proc/%d/task", pid))
	for _, e := range entries {
		names = append(names, e.Name())
	}
	return names
}

// ends waits for the keeper and checks its status.
func ends(t *testing.T, keeper *childtest.Child, status int) {
	t.Helper()
	_ = keeper.Ended()
	if got := keeper.Cmd.ProcessState.ExitCode(); got != status {
		t.Errorf("the keeper ended with %v, want status %d", keeper.Cmd.ProcessState, status)
	}
}

// TestCrashWithKeeper: what waits, and what comes meanwhile, is judged by the next daemon.
func TestCrashWithKeeper(t *testing.T) {
	for _, sig := range []unix.Signal{unix.SIGKILL, unix.SIGSEGV, unix.SIGUSR2} {
		t.Run(unix.SignalName(sig), func(t *testing.T) {
			eachChoice(t, "analysis: {distribution: fixed, delay: 2ms}", func(t *testing.T, s *site, _ bool) {
				keeper := supervised(t, s)
				pid := child(t, keeper, 0)
				s.send(50)
				if sig == unix.SIGUSR2 {
					keeper.Signal(sig) // a restart
				} else if err := unix.Kill(pid, sig); err != nil {
					t.Fatal(err)
				}
				s.send(50)
				if n := s.arrive(100); n != 100 {
					t.Errorf("%d of 100 packets were judged", n)
				}
				child(t, keeper, pid)
				keeper.Signal(unix.SIGTERM)
				ends(t, keeper, 0)
				if there, err := ruleset.Exists("verdictd"); err != nil || there {
					t.Errorf("the rules are still there (%v)", err)
				}
			})
		})
	}
}

// TestPaused: what comes while keeper and daemon are paused, for longer than the watchdog waits, is judged by the same
// daemon as they go on.
func TestPaused(t *testing.T) {
	eachChoice(t, "", func(t *testing.T, s *site, _ bool) {
		keeper := supervised(t, s, "--watchdog", "4s")
		pid := child(t, keeper, 0)
		keeper.Signal(unix.SIGSTOP)
		err := unix.Kill(pid, unix.SIGSTOP)
		s.send(50)
		time.Sleep(5500 * time.Millisecond)
		keeper.Signal(unix.SIGCONT)
		if err = errors.Join(err, unix.Kill(pid, unix.SIGCONT)); err != nil {
			t.Fatal(err)
		}
		if n := s.arrive(50); n != 50 {
			t.Errorf("%d of 50 packets were judged", n)
		}
		keeper.Signal(unix.SIGTERM)
		ends(t, keeper, 0)
		if n := strings.Count(keeper.Log(), "the daemon is started"); n != 1 {
			t.Errorf("%d daemons were started, want the one", n)
		}
	})
}

// decided checks what the keeper has done for packets that nobody judges any more.
func (s *site) decided(accept bool, waiting int) {
	s.t.Helper()
	if accept {
		if n := s.arrive(waiting); n != waiting {
			s.t.Errorf("%d of %d packets that waited were accepted", n, waiting)
		}
	} else {
		s.none("what waited")
	}
	s.passes("later on", accept)
	there, err := ruleset.Exists("verdictd")
	if err != nil || there == accept {
		s.t.Errorf("the rules are there: %v (%v)", there, err)
	}
}

// TestWrongConfiguration: no daemon comes back over one, and so the choice is carried out at once.
func TestWrongConfiguration(t *testing.T) {
	eachChoice(t, slow, func(t *testing.T, s *site, accept bool) {
		keeper := supervised(t, s)
		s.send(3)
		s.queued(3)
		if err := os.WriteFile(s.file, []byte("queues: {first: no}"), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := unix.Kill(child(t, keeper, 0), unix.SIGKILL); err != nil {
			t.Fatal(err)
		}
		ends(t, keeper, 78)
		s.decided(accept, 3)
	})
}

// TestNoDaemonBack: it is carried out when packets have waited for long enough, and daemons are started all the same.
func TestNoDaemonBack(t *testing.T) {
	eachChoice(t, slow+"\nfailure: {longest_wait: 1s}", func(t *testing.T, s *site, accept bool) {
		keeper := supervised(t, s)
		pid := child(t, keeper, 0)
		s.send(3)
		s.queued(3)
		// No other one can begin while somebody else claims its table, which is before the keeper starts one.
		keeper.Signal(unix.SIGSTOP)
		if err := unix.Kill(pid, unix.SIGKILL); err != nil {
			t.Fatal(err)
		}
		claim := claimSoon(t)
		keeper.Signal(unix.SIGCONT)
		s.unbound()
		s.decided(accept, 3)
		if err := claim(); err != nil {
			t.Fatal(err)
		}
		for deadline := time.Now().Add(20 * time.Second); strings.Count(keeper.Log(), "privileges are given up") < 2; time.Sleep(5 * time.Millisecond) {
			if time.Now().After(deadline) {
				t.Fatal("no daemon comes back")
			}
		}
		keeper.Signal(unix.SIGTERM)
		ends(t, keeper, 0)
	})
}

// claimSoon claims the daemon's table as soon as nobody else does.
func claimSoon(t *testing.T) (release func() error) {
	t.Helper()
	for deadline := time.Now().Add(20 * time.Second); ; {
		if l, err := guard.Claim("verdictd"); err == nil {
			return l.Close
		} else if time.Now().After(deadline) {
			t.Fatal(err)
		}
	}
}

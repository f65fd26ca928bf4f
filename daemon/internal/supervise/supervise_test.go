package supervise

import (
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

func TestFinalStatus(t *testing.T) {
	for _, status := range []int{0, 64, 78} {
		t.Run(strconv.Itoa(status), func(t *testing.T) {
			s := begin(t, fmt.Sprintf("exit %d", status))
			s.end(status)
			if n := strings.Count(s.log(), "start"); n != 1 {
				t.Errorf("%d starts, want 1", n)
			}
		})
	}
}

// TestRestarts: whatever else ends a daemon, another is started.
func TestRestarts(t *testing.T) {
	s := begin(t, "exit 1")
	s.await("start", 2)
	s.behave("panic")
	s.await("panic", 1)
	s.behave("ready")
	for n, sig := range []syscall.Signal{unix.SIGKILL, unix.SIGSEGV, unix.SIGABRT} {
		if err := unix.Kill(s.pid(n+1), sig); err != nil {
			t.Fatal(err)
		}
	}
	s.pid(4)
	s.signal(unix.SIGTERM)
	s.await("signal terminated", 1)
	s.end(0)
}

func TestSignalsArePassedOn(t *testing.T) {
	s := begin(t, "ready")
	s.pid(1)
	for _, sig := range []syscall.Signal{unix.SIGHUP, unix.SIGUSR1} {
		s.signal(sig)
		s.await("signal "+sig.String(), 1)
	}
	for _, sig := range []syscall.Signal{unix.SIGINT, unix.SIGQUIT} {
		t.Run(sig.String(), func(t *testing.T) {
			s := begin(t, "ready")
			s.pid(1)
			s.signal(sig)
			s.end(0)
			s.await("signal "+sig.String(), 1)
		})
	}
	if n := strings.Count(s.log(), "start"); n != 1 {
		t.Errorf("%d starts, want 1", n)
	}
}

// TestUpgrade: the signal has the daemon replaced by what is at its path then, at once and without a failure counted.
func TestUpgrade(t *testing.T) {
	s := begin(t, "ready", stopVariable+"=2s")
	first := s.pid(1)
	s.signal(unix.SIGUSR2)
	if second := s.pid(2); second == first {
		t.Error("the daemon is the same")
	}
	s.await("signal user defined signal 2", 1)
	s.behave("ready deaf")
	s.signal(unix.SIGUSR2)
	s.pid(3)
	s.behave("ready")
	s.signal(unix.SIGUSR2) // it does not listen, and is killed
	s.pid(4)
	s.signal(unix.SIGUSR2)
	s.pid(5)
	s.behave("exit 78")
	s.signal(unix.SIGUSR2)
	s.end(78)
	s.await("released", 1)
}

// TestDaemonThatFailsForEver is started again and again, but not without a pause; and the supervisor still ends.
func TestDaemonThatFailsForEver(t *testing.T) {
	began := time.Now()
	s := begin(t, "exit 1")
	s.await("start", 5)
	if least := shortestPause * (1 + 2 + 4); time.Since(began) < least {
		t.Errorf("5 starts within %v, want pauses of %v between them", time.Since(began), least)
	}
	s.signal(unix.SIGTERM)
	s.end(anyStatus) // the fifth daemon's, if that has not ended yet
}

// TestNoProgram: a binary that cannot be executed at the first start is an error, later on one more failure.
func TestNoProgram(t *testing.T) {
	begin(t, "", "SUPERVISE_TEST_PROGRAM=/nonexistent").end(1)

	copied := filepath.Join(t.TempDir(), "program")
	link := func() {
		self, err := os.Executable()
		if err != nil {
			t.Fatal(err)
		}
		if err := os.Symlink(self, copied); err != nil {
			t.Fatal(err)
		}
	}
	link()
	s := begin(t, "ready", "SUPERVISE_TEST_PROGRAM="+copied)
	pid := s.pid(1)
	if err := os.Remove(copied); err != nil {
		t.Fatal(err)
	}
	_ = unix.Kill(pid, unix.SIGKILL)
	time.Sleep(300 * time.Millisecond)
	link()
	s.pid(2)
	s.signal(unix.SIGTERM)
	s.end(0)
}

// TestLongestWait: what waits is decided without a daemon, once, when none was ready for so long; also where one hangs
// at its start. The next daemon starts all the same.
func TestLongestWait(t *testing.T) {
	for _, failing := range []string{"exit 1", "hang"} {
		t.Run(failing, func(t *testing.T) {
			// One that hangs, as it began before it was told to be ready, is killed and begins once more.
			s := begin(t, "ready", waitVariable+"=1s", startVariable+"=3s")
			pid := s.pid(1)
			s.behave(failing)
			_ = unix.Kill(pid, unix.SIGKILL)
			s.await("released", 1)
			s.behave("ready")
			pid = s.pid(2)
			if n := strings.Count(s.log(), "released"); n != 1 {
				t.Errorf("released %d times", n)
			}
			s.behave(failing)
			_ = unix.Kill(pid, unix.SIGKILL)
			s.await("released", 2)
			s.signal(unix.SIGTERM)
			s.end(anyStatus)
		})
	}
}

// TestCrashInStop: what the daemon leaves is decided for it.
func TestCrashInStop(t *testing.T) {
	s := begin(t, "ready deaf", stopVariable+"=500ms")
	s.pid(1)
	s.signal(unix.SIGTERM)
	s.end(1)
	s.await("released", 1)
}

// TestStuck: a daemon that says no more that it is well is killed with its stacks on standard error, also while it is
// stopped.
func TestStuck(t *testing.T) {
	for _, behaviour := range []string{"ready", "hang"} {
		t.Run(behaviour, func(t *testing.T) {
			s := begin(t, behaviour, watchdogVariable+"=1s", startVariable+"=1s")
			pid, err := strconv.Atoi(s.await("start", 1)[0])
			if err != nil {
				t.Fatal(err)
			}
			if behaviour == "ready" {
				s.pid(1)
				_ = unix.Kill(pid, unix.SIGSTOP)
			}
			s.behave("ready")
			s.await("start", 2)
			s.signal(unix.SIGTERM)
			s.end(0)
			if stacks := strings.Contains(s.errors.String(), "SIGABRT"); stacks != (behaviour == "hang") {
				t.Errorf("stacks: %v", stacks)
			}
		})
	}
}

// TestPaused: where both were stopped, as in a container that is paused, the daemon is not killed for its silence.
func TestPaused(t *testing.T) {
	s := begin(t, "ready", watchdogVariable+"=3s")
	pid := s.pid(1)
	s.signal(unix.SIGSTOP)
	_ = unix.Kill(pid, unix.SIGSTOP)
	time.Sleep(5 * time.Second)
	s.signal(unix.SIGCONT)
	time.Sleep(100 * time.Millisecond) // it finds its deadline passed, and the daemon has said nothing
	_ = unix.Kill(pid, unix.SIGCONT)
	time.Sleep(time.Second)
	s.signal(unix.SIGTERM)
	s.end(0)
	if n := strings.Count(s.log(), "start "); n != 1 {
		t.Errorf("%d daemons were started, want the one", n)
	}
}

// TestPausedUntilJustAfter: the pause may end a moment after the deadline, too. A daemon that stands on is killed.
func TestPausedUntilJustAfter(t *testing.T) {
	s := begin(t, "ready", watchdogVariable+"=2s")
	pid := s.pid(1)
	time.Sleep(provenAfter + 500*time.Millisecond) // its silence is the next deadline
	_ = unix.Kill(pid, unix.SIGSTOP)
	s.signal(unix.SIGSTOP)
	time.Sleep(2400 * time.Millisecond)
	s.signal(unix.SIGCONT)
	time.Sleep(100 * time.Millisecond)
	_ = unix.Kill(pid, unix.SIGCONT)
	time.Sleep(500 * time.Millisecond)
	if n := strings.Count(s.log(), "start "); n != 1 {
		t.Fatalf("%d daemons were started, want the one", n)
	}
	_ = unix.Kill(pid, unix.SIGSTOP)
	s.await("start", 2)
	s.signal(unix.SIGTERM)
	s.end(0)
}

// TestParentDies: the daemon stops in order.
func TestParentDies(t *testing.T) {
	s := begin(t, "ready")
	s.pid(1)
	if err := s.cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	s.await("signal terminated", 1)
	s.await("end", 1)
}

// TestDescriptorsAreHeld: what a daemon gave away in its last moment is there for the next one, until what waits is
// decided without one.
func TestDescriptorsAreHeld(t *testing.T) {
	s := begin(t, "ready hold text panic", waitVariable+"=3s")
	s.await("start", 1)
	s.behave("held ready")
	s.await("held text", 1)
	pid := s.pid(2)
	s.behave("exit 1")
	_ = unix.Kill(pid, unix.SIGKILL)
	if n := s.await("released", 1); len(n) != 1 || n[0] != "1" {
		t.Errorf("released %v, want one descriptor", n)
	}
	s.behave("held ready")
	s.pid(3)
	s.signal(unix.SIGTERM)
	s.end(0)
	if n := strings.Count(s.log(), "held"); n != 1 {
		t.Errorf("descriptors were there %d times, want 1", n)
	}
}

// TestOuterManager: who started the supervisor hears what concerns it.
func TestOuterManager(t *testing.T) {
	address := filepath.Join(t.TempDir(), "outer")
	c, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: address, Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	s := begin(t, "ready hold x", "NOTIFY_SOCKET="+address, "LISTEN_FDS=3", "WATCHDOG_USEC=60000000")
	b := make([]byte, 4096)
	hear := func() string {
		_ = c.SetReadDeadline(time.Now().Add(20 * time.Second))
		n, err := c.Read(b)
		if err != nil {
			t.Fatal(err)
		}
		return string(b[:n])
	}
	if got := hear(); got != "READY=1" {
		t.Errorf("heard %q, want READY=1", got)
	}
	if got := hear(); got != "WATCHDOG=1" {
		t.Errorf("heard %q, want WATCHDOG=1", got)
	}
	s.signal(unix.SIGTERM)
	for hear() != "STOPPING=1" {
	}
	s.end(0)
}

// TestDeafManager: the manager above reads nothing, and its socket is full at once. The daemon is replaced
// all the same.
func TestDeafManager(t *testing.T) {
	address := filepath.Join(t.TempDir(), "outer")
	c, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: address, Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	s := begin(t, "ready hold x", "NOTIFY_SOCKET="+address, "WATCHDOG_USEC=60000000")
	time.Sleep(time.Second) // dozens of WATCHDOG=1; a socket has room for 10 or so
	s.signal(unix.SIGTERM)
	s.end(0)
}

// TestOOMScore: where memory ends the kernel takes the daemon first.
func TestOOMScore(t *testing.T) {
	s := begin(t, "ready")
	read := func(pid int) int {
		b, err := os.ReadFile(fmt.Sprintf("/proc/%d/oom_score_adj", pid))
		if err != nil {
			t.Fatal(err)
		}
		n, err := strconv.Atoi(strings.TrimSpace(string(b)))
		if err != nil {
			t.Fatal(err)
		}
		return n
	}
	if daemon, parent := read(s.pid(1)), read(s.cmd.Process.Pid); daemon != parent+workerOOM {
		t.Errorf("the daemon's score is %d, its parent's %d", daemon, parent)
	}
	s.signal(unix.SIGTERM)
	s.end(0)
}

// TestOrphansAreReaped: process 1 inherits them; here a subreaper does.
func TestOrphansAreReaped(t *testing.T) {
	s := begin(t, "orphans ready")
	s.pid(1)
	for _, word := range s.await("orphans", 1) {
		path := filepath.Join("/proc", word)
		for deadline := time.Now().Add(10 * time.Second); ; time.Sleep(5 * time.Millisecond) {
			if _, err := os.Stat(path); err != nil {
				break
			}
			if time.Now().After(deadline) {
				t.Fatalf("process %s is still there", word)
			}
		}
	}
	s.signal(unix.SIGTERM)
	s.end(0)
}

// TestFewDescriptors: the supervisor and the start of a daemon need six, and not more with each start.
func TestFewDescriptors(t *testing.T) {
	const spare, starts = 2, 5
	s := begin(t, "ready", descriptorsVariable+"="+strconv.Itoa(6+spare))
	for n := range starts {
		_ = unix.Kill(s.pid(1+n), unix.SIGKILL)
	}
	s.pid(1 + starts)
	s.signal(unix.SIGTERM)
	s.end(0)
}

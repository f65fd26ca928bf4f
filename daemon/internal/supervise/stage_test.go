package supervise

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// stage is a supervisor, which is a process of its own as it reaps all children, and what its daemons write.
type stage struct {
	t      *testing.T
	folder string
	cmd    *exec.Cmd
	errors *bytes.Buffer // to be read when the supervisor has ended
}

// begin starts a supervisor whose daemons behave as told.
func begin(t *testing.T, behaviour string, environment ...string) *stage {
	t.Helper()
	s := &stage{t: t, folder: t.TempDir(), errors: &bytes.Buffer{}}
	s.behave(behaviour)
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	s.cmd = exec.Command(self)
	s.cmd.Env = append(append(os.Environ(), roleVariable+"=supervisor", folderVariable+"="+s.folder), environment...)
	s.cmd.Stdout, s.cmd.Stderr = s.errors, s.errors
	s.cmd.WaitDelay = 10 * time.Second
	if err := s.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if s.cmd.ProcessState == nil {
			_ = s.cmd.Process.Kill()
			_ = s.cmd.Wait()
		}
		if t.Failed() {
			t.Logf("the supervisor's log:\n%s\nits daemons:\n%s", s.errors, s.log())
		}
	})
	return s
}

// behave tells daemons that start from now on what to do (see daemonMain).
func (s *stage) behave(behaviour string) {
	s.t.Helper()
	name := filepath.Join(s.folder, "behaviour")
	if err := os.WriteFile(name+".new", []byte(behaviour), 0o600); err != nil {
		s.t.Fatal(err)
	}
	if err := os.Rename(name+".new", name); err != nil {
		s.t.Fatal(err)
	}
}

func (s *stage) log() string {
	b, _ := os.ReadFile(filepath.Join(s.folder, "log"))
	return string(b)
}

// await waits until the daemons have written a line so often, and returns the last one's words behind it.
func (s *stage) await(line string, times int) []string {
	s.t.Helper()
	for deadline := time.Now().Add(20 * time.Second); ; time.Sleep(5 * time.Millisecond) {
		var found []string
		for l := range strings.Lines(s.log()) {
			if rest, ok := strings.CutPrefix(strings.TrimSuffix(l, "\n"), line); ok {
				found = append(found, rest)
			}
		}
		if len(found) >= times {
			return strings.Fields(found[times-1])
		}
		if time.Now().After(deadline) {
			s.t.Fatalf("%q came %d times, want %d", line, len(found), times)
		}
	}
}

// pid is the process of the nth daemon that was ready.
func (s *stage) pid(nth int) int {
	s.t.Helper()
	pid, err := strconv.Atoi(s.await("ready", nth)[0])
	if err != nil {
		s.t.Fatal(err)
	}
	return pid
}

func (s *stage) signal(sig syscall.Signal) {
	s.t.Helper()
	if err := s.cmd.Process.Signal(sig); err != nil {
		s.t.Fatal(err)
	}
}

// anyStatus is for ends that depend on the moment.
const anyStatus = -2

// end waits for the supervisor and checks its status.
func (s *stage) end(status int) {
	s.t.Helper()
	timer := time.AfterFunc(20*time.Second, func() { _ = s.cmd.Process.Kill() })
	defer timer.Stop()
	_ = s.cmd.Wait()
	if got := s.cmd.ProcessState.ExitCode(); got != status && status != anyStatus {
		s.t.Errorf("the supervisor ended with %v, want status %d", s.cmd.ProcessState, status)
	}
}

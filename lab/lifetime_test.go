package main

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"verdictd/internal/cli"
	"verdictd/internal/netlab"
	"verdictd/lab/internal/fakes"
)

// confineVariable makes the test binary, before it becomes the lab, give up what an ordinary user has not. "forbidden"
// has user namespaces turned off, too.
const confineVariable = "LAB_TEST_CONFINE"

// confine turns this process into one that cannot make network namespaces by itself: without CAP_SYS_ADMIN in the
// bounding set, not even root gets it at exec.
func confine(how string) error {
	if how == "forbidden" {
		// The limit is that of the user namespace which this process is in: one that the test made.
		if err := os.WriteFile("/proc/sys/user/max_user_namespaces", []byte("0"), 0); err != nil {
			return err
		}
	}
	runtime.LockOSThread() // capabilities are a thread's until exec
	if err := unix.Prctl(unix.PR_CAPBSET_DROP, unix.CAP_SYS_ADMIN, 0, 0, 0); err != nil {
		return err
	}
	if err := os.Unsetenv(confineVariable); err != nil {
		return err
	}
	executable, err := os.Executable()
	if err != nil {
		return err
	}
	return syscall.Exec(executable, os.Args, os.Environ())
}

// labProcess is the lab as a process of its own that cannot make namespaces, and so runs itself in a user namespace.
func labProcess(t *testing.T, bin, how string, args ...string) (*exec.Cmd, *bytes.Buffer) {
	t.Helper()
	cmd := exec.Command(filepath.Join(bin, "lab"), oneRow(bin, args...)...)
	cmd.Env = append(os.Environ(), confineVariable+"="+how)
	var output bytes.Buffer
	cmd.Stdout, cmd.Stderr = &output, &output
	return cmd, &output
}

func TestUserNamespaceOfItsOwn(t *testing.T) {
	bin, pids := fakes.Install(t)
	path := filepath.Join(t.TempDir(), "m.json")
	cmd, output := labProcess(t, bin, "confined", "--json", path)
	if err := cmd.Run(); err != nil {
		t.Fatalf("%v\n%s", err, output)
	}
	if rep := readReport(t, path); !rep.Host.UserNamespace || !rep.Verdict.OK || len(rep.Runs) != 1 {
		t.Errorf("report %+v", rep)
	}
	fakes.NothingLeft(t, pids)
}

func TestUserNamespacesForbidden(t *testing.T) {
	bin, pids := fakes.Install(t)
	cmd, output := labProcess(t, bin, "forbidden")
	netlab.InUserNamespace(cmd)
	err := cmd.Run()
	if cmd.ProcessState == nil || cmd.ProcessState.ExitCode() != cli.Failed {
		t.Errorf("ended with %v", err)
	}
	if !strings.Contains(output.String(), "sudo sysctl user.max_user_namespaces=15000") ||
		!strings.Contains(output.String(), "Or run lab as root: sudo ") {
		t.Errorf("it does not say what to do:\n%s", output)
	}
	if ran, err := os.ReadDir(pids); err != nil || len(ran) > 0 {
		t.Errorf("%v, %v ran all the same", err, ran)
	}
}

// TestInterruptFromOutside sends a signal to the outer process only, as `kill` and a service manager do.
func TestInterruptFromOutside(t *testing.T) {
	bin, pids := fakes.Install(t)
	t.Setenv(fakes.MoodVariable+"stress", "hangs")
	path := filepath.Join(t.TempDir(), "m.json")
	cmd, output := labProcess(t, bin, "confined", "--json", path)
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	fakes.WaitFor(t, pids, "stress")
	if err := cmd.Process.Signal(syscall.SIGINT); err != nil {
		t.Error(err)
	}
	if err := cmd.Wait(); cmd.ProcessState.ExitCode() != cli.Failed {
		t.Errorf("ended with %v\n%s", err, output)
	}
	if !strings.Contains(output.String(), "lab: interrupted after 0 of 1 runs; what was measured by then is in "+path) {
		t.Errorf("it does not say that it was interrupted:\n%s", output)
	}
	if rep := readReport(t, path); !rep.Interrupted {
		t.Errorf("report %+v", rep)
	}
	fakes.NothingLeft(t, pids)
}

// TestKilledLabTakesAllWithIt kills the outer process the hard way: the lab inside and every program have to die of it.
func TestKilledLabTakesAllWithIt(t *testing.T) {
	bin, pids := fakes.Install(t)
	t.Setenv(fakes.MoodVariable+"stress", "hangs")
	cmd, _ := labProcess(t, bin, "confined")
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	fakes.WaitFor(t, pids, "stress")
	children := []int{fakes.WaitFor(t, pids, "verdictd"), fakes.WaitFor(t, pids, "conntrackwatch"),
		fakes.WaitFor(t, pids, "stress")}
	if err := cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	if err := cmd.Wait(); err == nil {
		t.Error("a killed lab ended well")
	}
	for deadline := time.Now().Add(time.Minute); ; time.Sleep(5 * time.Millisecond) {
		left := 0
		for _, pid := range children {
			if fakes.Alive(pid) {
				left++
			}
		}
		if left == 0 {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("%d of its programs are still there", left)
		}
	}
}

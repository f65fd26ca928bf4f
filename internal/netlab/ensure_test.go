package netlab_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"verdictd/internal/netlab"
	"verdictd/internal/testkit"
)

// asProgram makes this test binary a program that calls Ensure: first "confined", which it makes itself, then
// "program".
const asProgram = "USERNS_TEST_AS_PROGRAM"

func TestMain(m *testing.M) {
	switch os.Getenv(asProgram) {
	case "":
		testkit.Main(m)
	case "confined":
		fmt.Fprintln(os.Stderr, confine())
		os.Exit(2)
	}
	os.Exit(program())
}

// confine turns this process into one that may not make network namespaces: without CAP_SYS_ADMIN in the bounding set,
// not even root gets it at exec.
func confine() error {
	runtime.LockOSThread() // capabilities are a thread's until exec
	if err := unix.Prctl(unix.PR_CAPBSET_DROP, unix.CAP_SYS_ADMIN, 0, 0, 0); err != nil {
		return err
	}
	if err := os.Setenv(asProgram, "program"); err != nil {
		return err
	}
	executable, err := os.Executable()
	if err != nil {
		return err
	}
	return syscall.Exec(executable, os.Args, os.Environ())
}

// program says that it is ready, and what signals it got, once it got one.
func program() int {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	outside, err := netlab.Ensure(ctx, "program", os.Stdout, os.Stderr)
	if outside {
		fmt.Printf("outside: %v\n", err)
		return 0
	}
	if !netlab.Inside() || err != nil {
		return 3
	}
	signals := make(chan os.Signal, 10)
	signal.Notify(signals, syscall.SIGINT, syscall.SIGTERM)
	fmt.Println("ready")
	fmt.Println(<-signals)
	select {
	case s := <-signals:
		fmt.Println("and", s)
	case <-time.After(500 * time.Millisecond):
	}
	return 0
}

// TestTerminalInterrupts sends the signal to the whole process group, as a terminal does: the program inside gets one.
func TestTerminalInterrupts(t *testing.T) {
	testkit.Require(t)
	executable, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(executable)
	cmd.Env = append(os.Environ(), asProgram+"=confined")
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	var said []string
	for lines := bufio.NewScanner(out); lines.Scan(); {
		said = append(said, lines.Text())
		if lines.Text() != "ready" {
			continue
		}
		if err := unix.Kill(-cmd.Process.Pid, unix.SIGINT); err != nil {
			t.Error(err)
		}
	}
	if err := cmd.Wait(); err != nil {
		t.Error(err)
	}
	if got := strings.Join(said, "; "); got != "ready; terminated; outside: <nil>" {
		t.Errorf("%q, want one signal, passed on from outside, and a good end", got)
	}
}

func TestAdvice(t *testing.T) {
	root := t.TempDir()
	set := func(name, value string) {
		path := filepath.Join(root, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(value+"\n"), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if got := netlab.Advice(root, "lab"); !strings.Contains(got, "container") || !strings.Contains(got, "sudo ") {
		t.Errorf("nothing known: %s", got)
	}
	set("user/max_user_namespaces", "15000")
	set("kernel/unprivileged_userns_clone", "1")
	if got := netlab.Advice(root, "lab"); strings.Contains(got, "sysctl user.") || strings.Contains(got, "sysctl kernel.") {
		t.Errorf("what forbids nothing is blamed: %s", got)
	}
	set("user/max_user_namespaces", "0")
	set("kernel/apparmor_restrict_unprivileged_userns", "1")
	got := netlab.Advice(root, "lab")
	for _, want := range []string{
		"sudo sysctl user.max_user_namespaces=15000",
		"sudo sysctl kernel.apparmor_restrict_unprivileged_userns=0",
		"Or run lab as root: sudo ",
	} {
		if !strings.Contains(got, want) {
			t.Errorf("no %q in: %s", want, got)
		}
	}
	if strings.Contains(got, "container") {
		t.Errorf("a container is blamed, too: %s", got)
	}
}

func TestForbiddenNamesItsCause(t *testing.T) {
	cause := errors.New("operation not permitted")
	if err := netlab.Forbidden("lab", cause); !errors.Is(err, cause) {
		t.Errorf("%v does not wrap its cause", err)
	}
}

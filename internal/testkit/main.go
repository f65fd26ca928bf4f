package testkit

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"syscall"
	"testing"

	"verdictd/internal/netlab"
)

const (
	requireVariable = "VERDICTD_REQUIRE_KERNEL"

	// insideVariable is set in the test process that Main starts, which must
	// not start another one.
	insideVariable = "VERDICTD_TEST_INSIDE_USER_NAMESPACE"
)

// errUnavailable says why this process's tests cannot have namespaces.
var errUnavailable = errors.New("TestMain does not call testkit.Main")

// Main runs a package's tests where they can make network namespaces, and
// exits.
func Main(m *testing.M) {
	errUnavailable = netlab.CanMakeNetNS()
	inside := os.Getenv(insideVariable) != ""
	if inside && errUnavailable == nil {
		errUnavailable = setLoopbackUp()
	}
	if errUnavailable == nil || inside {
		os.Exit(m.Run())
	}
	err := runInUserNamespace()
	var failed *exec.ExitError
	switch {
	case err == nil:
		os.Exit(0)
	case errors.As(err, &failed) && failed.Exited():
		os.Exit(failed.ExitCode())
	case errors.As(err, &failed):
		fmt.Fprintf(os.Stderr, "testkit: the test process ended: %v\n", err)
		os.Exit(1)
	}
	errUnavailable = fmt.Errorf("%w; start in a user namespace: %w", errUnavailable, err)
	os.Exit(m.Run())
}

// setLoopbackUp makes the network namespace that came with the user namespace
// like the machine's, where goroutines outside of a test's namespace talk to
// each other over loopback.
func setLoopbackUp() error {
	// Not /proc/self: that is the process's first thread, which may have been
	// left in another namespace.
	home, err := netlab.OpenNetNS("/proc/thread-self/ns/net")
	if err != nil {
		return err
	}
	return errors.Join(home.SetUp("lo"), home.Close())
}

// runInUserNamespace runs this very test binary once more, with the same
// arguments.
func runInUserNamespace() error {
	executable, err := os.Executable()
	if err != nil {
		return err
	}
	cmd := netlab.InUserNamespace(exec.Command(executable, os.Args[1:]...))
	cmd.Env = append(os.Environ(), insideVariable+"=1")
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
	// A timeout of the go command kills this process only; the signal for the
	// child is sent when the thread that forked it ends.
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	cmd.SysProcAttr.Pdeathsig = syscall.SIGKILL
	return cmd.Run()
}

// Require skips the test where namespaces cannot be made, or fails it where
// they are required.
func Require(t testing.TB) {
	t.Helper()
	switch {
	case errUnavailable == nil:
	case os.Getenv(requireVariable) == "1":
		t.Fatalf("%s=1, but no network namespace can be made: %v", requireVariable, errUnavailable)
	default:
		t.Skipf("no network namespace can be made: %v", errUnavailable)
	}
}

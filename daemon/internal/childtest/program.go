package childtest

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"verdictd/internal/netlab"
	"verdictd/internal/statistics"
)

// Bounds on how long a child may take: the machine may be busy with other tests.
const (
	ReadyWithin = 20 * time.Second
	StopWithin  = 20 * time.Second
)

// programVariable names a daemon that is built already.
const programVariable = "VERDICTD_TEST_PROGRAM"

// Build builds the daemon once; only tests that must not wait for that later call it. The file is unlinked at once and
// started through its descriptor: a test process has no end at which it could remove anything.
var Build = sync.OnceValues(func() (_ *os.File, err error) {
	if ready := os.Getenv(programVariable); ready != "" {
		return os.Open(ready)
	}
	dir, err := os.MkdirTemp("", "verdictd")
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	program := filepath.Join(dir, "verdictd")
	cmd := exec.Command("go", "build", "-buildvcs=false", "-o", program, "verdictd/daemon")
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		return nil, fmt.Errorf("build verdictd: %w\n%s", err, out)
	}
	return os.Open(program)
})

// Program returns a command for the daemon with some arguments.
func Program(t testing.TB, args ...string) *exec.Cmd {
	t.Helper()
	file, err := Build()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command("verdictd", args...)
	// The descriptor is the child's, too, until it is the program.
	cmd.Path, cmd.Err = fmt.Sprintf("/proc/self/fd/%d", file.Fd()), nil
	return cmd
}

// Behind returns a command that ends by running the daemon with some arguments, such as unshare or prlimit: the daemon
// is the last of its words.
func Behind(t testing.TB, wrapper []string, args ...string) *exec.Cmd {
	t.Helper()
	file, err := Build()
	if err != nil {
		t.Fatal(err)
	}
	words := append(append(slices.Clone(wrapper), "/proc/self/fd/3"), args...)
	cmd := exec.Command(words[0], words[1:]...)
	cmd.ExtraFiles = []*os.File{file}
	return cmd
}

// A Child is a program in a namespace. It is gone when the test ends.
type Child struct {
	T    testing.TB
	Cmd  *exec.Cmd
	Done chan struct{} // closed when it has ended
	Err  error         // how, valid then
	File string        // of statistics

	mu  sync.Mutex
	log []string
}

// Start starts a command in a namespace. Its errors go to the test's log.
func Start(t testing.TB, ns *netlab.NetNS, cmd *exec.Cmd) *Child {
	t.Helper()
	c := &Child{T: t, Cmd: cmd, Done: make(chan struct{})}
	if cmd.SysProcAttr == nil {
		cmd.SysProcAttr = &syscall.SysProcAttr{}
	}
	cmd.SysProcAttr.Pdeathsig, cmd.SysProcAttr.Setpgid = syscall.SIGKILL, true
	cmd.WaitDelay = time.Second
	said, says := io.Pipe()
	cmd.Stderr = says
	logged := make(chan struct{})
	go func() {
		defer close(logged)
		c.listen(said)
	}()
	started := make(chan error, 1)
	go func() {
		defer close(c.Done)
		// Do keeps this goroutine on one thread until the child is gone: the end of the thread that forked it would
		// kill it.
		err := ns.Do(func() error {
			err := cmd.Start()
			if started <- err; err == nil {
				c.Err = cmd.Wait()
			}
			return nil
		})
		started <- err // the first value counts
		_ = says.Close()
		<-logged
	}()
	if err := <-started; err != nil {
		t.Fatalf("start %s: %v", cmd.Args[0], err)
	}
	t.Cleanup(c.Kill)
	return c
}

// listen keeps what the child says.
func (c *Child) listen(said io.Reader) {
	for s := bufio.NewScanner(said); s.Scan(); {
		c.T.Logf("%s: %s", filepath.Base(c.Cmd.Args[0]), s.Text())
		c.mu.Lock()
		c.log = append(c.log, s.Text())
		c.mu.Unlock()
	}
}

// Log is what the child has said so far.
func (c *Child) Log() string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return strings.Join(c.log, "\n")
}

// AwaitLog waits until the child has said something.
func (c *Child) AwaitLog(text string) {
	c.T.Helper()
	for until := time.Now().Add(ReadyWithin); !strings.Contains(c.Log(), text); time.Sleep(2 * time.Millisecond) {
		if time.Now().After(until) {
			c.T.Fatalf("%s has not said %q within %v", c.Cmd.Args[0], text, ReadyWithin)
		}
	}
}

// Kill makes sure that the child is gone.
func (c *Child) Kill() {
	_ = c.Cmd.Process.Kill() // it may have ended
	<-c.Done
}

// Signal sends a signal to the child. After SIGSTOP all of its threads stand when it returns: the signal alone leaves
// them the time to judge some packets more.
func (c *Child) Signal(s os.Signal) {
	c.T.Helper()
	err := c.Cmd.Process.Signal(s)
	if err == nil && s == unix.SIGSTOP {
		for err = unix.EINTR; errors.Is(err, unix.EINTR); {
			err = unix.Waitid(unix.P_PID, c.Cmd.Process.Pid, nil, unix.WSTOPPED, nil)
		}
	}
	if err != nil {
		c.T.Fatalf("signal %v to %s: %v", s, c.Cmd.Args[0], err)
	}
}

// Ended waits until the child has ended, and returns how.
func (c *Child) Ended() error {
	c.T.Helper()
	select {
	case <-c.Done:
	case <-time.After(StopWithin):
		c.T.Fatalf("%s has not ended within %v", c.Cmd.Args[0], StopWithin)
	}
	return c.Err
}

// Service starts the daemon in a namespace and waits until it says that it is ready.
func Service(t testing.TB, ns *netlab.NetNS, args ...string) *Child {
	t.Helper()
	return Ready(t, ns, Program(t, args...))
}

// Ready starts a command in a namespace and waits until it says that it is ready.
func Ready(t testing.TB, ns *netlab.NetNS, cmd *exec.Cmd) *Child {
	t.Helper()
	dir, err := os.MkdirTemp("", "n") //nolint:usetesting // t.TempDir holds the test's name, and a socket's path at most 107 bytes
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	socket := filepath.Join(dir, "notify")
	ready, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: socket, Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = ready.Close() })
	if cmd.Env == nil {
		cmd.Env = os.Environ()
	}
	cmd.Env = append(cmd.Env, "NOTIFY_SOCKET="+socket)
	c := Start(t, ns, cmd)
	heard := make(chan error, 1)
	go func() { heard <- awaitReady(ready) }()
	select {
	case err := <-heard:
		if err != nil {
			t.Fatalf("verdictd is not ready: %v", err)
		}
	case <-c.Done:
		t.Fatalf("verdictd %s ended before it was ready: %v", strings.Join(cmd.Args[1:], " "), c.Err)
	}
	return c
}

func awaitReady(conn *net.UnixConn) error {
	if err := conn.SetReadDeadline(time.Now().Add(ReadyWithin)); err != nil {
		return err
	}
	// Read on: who notifies would wait for room.
	defer func() {
		if conn.SetReadDeadline(time.Time{}) == nil {
			go func() { _, _ = io.Copy(io.Discard, conn) }()
		}
	}()
	for buf := make([]byte, 4096); ; {
		n, err := conn.Read(buf)
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

// Daemon starts `verdictd run` with a configuration that names no file of statistics.
func Daemon(t testing.TB, ns *netlab.NetNS, config string) *Child {
	t.Helper()
	return withStatistics(t, ns, config, "run")
}

// Guard starts `verdictd guard`, with a configuration and further arguments.
func Guard(t testing.TB, ns *netlab.NetNS, config string, args ...string) *Child {
	t.Helper()
	return withStatistics(t, ns, config, "guard", args...)
}

func withStatistics(t testing.TB, ns *netlab.NetNS, config, command string, args ...string) *Child {
	t.Helper()
	file := filepath.Join(t.TempDir(), "statistics.json")
	c := Service(t, ns, append([]string{command, "--config", ConfigFile(t, config, file)}, args...)...)
	c.File = file
	return c
}

// ConfigFile writes a configuration that leaves its statistics in a file.
func ConfigFile(t testing.TB, config, file string) string {
	t.Helper()
	name := filepath.Join(t.TempDir(), "verdictd.yaml")
	text := fmt.Sprintf("%s\nstatistics: {file: %q}\n", config, file)
	if !strings.Contains(text, "\ncontrol:") {
		text += "control: {socket: \"\"}\n"
	}
	if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return name
}

// Stop ends the daemon in order, and returns what it counted.
func (c *Child) Stop() Counts {
	c.T.Helper()
	c.Signal(syscall.SIGTERM)
	if err := c.Ended(); err != nil {
		c.T.Fatalf("the daemon: %v", err)
	}
	b, err := os.ReadFile(c.File)
	if err != nil {
		c.T.Fatal(err)
	}
	d, err := statistics.Read(b)
	if err != nil {
		c.T.Fatalf("%v:\n%s", err, b)
	}
	return countsOf(d)
}

// Counts are what a program's statistics say; what it had no part of is zero.
type Counts struct {
	Guard string
	Total statistics.Totals
	Gate  statistics.Gate
}

func countsOf(d *statistics.Document) Counts {
	c := Counts{Guard: d.Guard}
	if d.Total != nil {
		c.Total = *d.Total
	}
	if d.Gate != nil {
		c.Gate = *d.Gate
	}
	return c
}

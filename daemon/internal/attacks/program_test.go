package attacks

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"verdictd/internal/netlab"
	"verdictd/internal/statistics"
	"verdictd/internal/testkit"
)

func TestMain(m *testing.M) { testkit.Main(m) }

// Bounds on how long a child may take: the machine may be busy with other tests.
const (
	readyWithin = 20 * time.Second
	stopWithin  = 20 * time.Second
)

// programVariable names a daemon that is built already, for a machine without go.
const programVariable = "VERDICTD_TEST_PROGRAM"

// verdictd builds the daemon once. The file is unlinked at once and started through its descriptor: a test process has
// no end at which it could remove anything.
var verdictd = sync.OnceValues(func() (_ *os.File, err error) {
	if ready := os.Getenv(programVariable); ready != "" {
		return os.Open(ready)
	}
	dir, err := os.MkdirTemp("", "attacks")
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	program := filepath.Join(dir, "verdictd")
	cmd := exec.Command("go", "build", "-buildvcs=false", "-o", program, "./daemon")
	cmd.Dir = "../../.."
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		return nil, fmt.Errorf("build verdictd: %w\n%s", err, out)
	}
	return os.Open(program)
})

// program returns a command for the daemon with some arguments.
func program(t testing.TB, args ...string) *exec.Cmd {
	t.Helper()
	file, err := verdictd()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command("verdictd", args...)
	// The descriptor is the child's, too, until it is the program.
	cmd.Path, cmd.Err = fmt.Sprintf("/proc/self/fd/%d", file.Fd()), nil
	return cmd
}

// A child is a program of ours in a namespace. It is gone when the test ends.
type child struct {
	t    testing.TB
	cmd  *exec.Cmd
	done chan struct{} // closed when it has ended
	err  error         // how, valid then
	file string        // of statistics
}

// startChild starts a command in a namespace. Its errors go to the test's log.
func startChild(t testing.TB, ns *netlab.NetNS, cmd *exec.Cmd) *child {
	t.Helper()
	c := &child{t: t, cmd: cmd, done: make(chan struct{})}
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL, Setpgid: true}
	cmd.WaitDelay = time.Second
	said, says := io.Pipe()
	cmd.Stderr = says
	logged := make(chan struct{})
	go func() {
		defer close(logged)
		for s := bufio.NewScanner(said); s.Scan(); {
			t.Logf("%s: %s", filepath.Base(cmd.Args[0]), s.Text())
		}
	}()
	started := make(chan error, 1)
	go func() {
		defer close(c.done)
		// Do keeps this goroutine on one thread until the child is gone: the end of the thread that forked it would
		// kill it.
		err := ns.Do(func() error {
			err := cmd.Start()
			if started <- err; err == nil {
				c.err = cmd.Wait()
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
	t.Cleanup(c.kill)
	return c
}

// kill makes sure that the child is gone.
func (c *child) kill() {
	_ = c.cmd.Process.Kill() // it may have ended
	<-c.done
}

// signal sends a signal to the child.
func (c *child) signal(s os.Signal) {
	c.t.Helper()
	if err := c.cmd.Process.Signal(s); err != nil {
		c.t.Fatalf("signal %v to %s: %v", s, c.cmd.Args[0], err)
	}
}

// startService starts the daemon in a namespace and waits until it says that it is ready.
func startService(t testing.TB, ns *netlab.NetNS, args ...string) *child {
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
	cmd := program(t, args...)
	cmd.Env = append(os.Environ(), "NOTIFY_SOCKET="+socket)
	c := startChild(t, ns, cmd)
	heard := make(chan error, 1)
	go func() { heard <- awaitReady(ready) }()
	select {
	case err := <-heard:
		if err != nil {
			t.Fatalf("verdictd is not ready: %v", err)
		}
	case <-c.done:
		t.Fatalf("verdictd %s ended before it was ready: %v", strings.Join(args, " "), c.err)
	}
	return c
}

func awaitReady(conn *net.UnixConn) error {
	if err := conn.SetReadDeadline(time.Now().Add(readyWithin)); err != nil {
		return err
	}
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

// startDaemon starts `verdictd run` with a configuration that names no file of statistics.
func startDaemon(t testing.TB, ns *netlab.NetNS, config string) *child {
	t.Helper()
	file := filepath.Join(t.TempDir(), "statistics.json")
	c := startService(t, ns, "run", "--config", configFile(t, config, file))
	c.file = file
	return c
}

// startGuard starts `verdictd guard`, with a configuration and further arguments.
func startGuard(t testing.TB, ns *netlab.NetNS, config string, args ...string) *child {
	t.Helper()
	file := filepath.Join(t.TempDir(), "statistics.json")
	c := startService(t, ns, append([]string{"guard", "--config", configFile(t, config, file)}, args...)...)
	c.file = file
	return c
}

func configFile(t testing.TB, config, file string) string {
	t.Helper()
	name := filepath.Join(t.TempDir(), "verdictd.yaml")
	text := fmt.Sprintf("%s\nstatistics: {file: %q}\n", config, file)
	if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return name
}

// stop ends the daemon in order, and returns what it counted.
func (c *child) stop() counts {
	c.t.Helper()
	c.signal(syscall.SIGTERM)
	select {
	case <-c.done:
	case <-time.After(stopWithin):
		c.t.Fatalf("the daemon has not ended %v after SIGTERM", stopWithin)
	}
	if c.err != nil {
		c.t.Fatalf("the daemon: %v", c.err)
	}
	b, err := os.ReadFile(c.file)
	if err != nil {
		c.t.Fatal(err)
	}
	d, err := statistics.Read(b)
	if err != nil {
		c.t.Fatalf("%v:\n%s", err, b)
	}
	return countsOf(d)
}

// counts are what a program's statistics say; what it had no part of is zero.
type counts struct {
	Guard string
	Total statistics.Totals
	Gate  statistics.Gate
}

func countsOf(d *statistics.Document) counts {
	c := counts{Guard: d.Guard}
	if d.Total != nil {
		c.Total = *d.Total
	}
	if d.Gate != nil {
		c.Gate = *d.Gate
	}
	return c
}

// shell runs a script in a namespace, as an operator would type it: nft, iptables, ip, tc. It fails the test if the
// script fails, and returns what it printed.
func shell(t testing.TB, ns *netlab.NetNS, script string) string {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	var out []byte
	err := ns.Do(func() (err error) {
		cmd := exec.CommandContext(ctx, "sh", "-euc", script)
		cmd.Env = append(os.Environ(), "PATH="+os.Getenv("PATH")+":/usr/sbin:/sbin")
		cmd.WaitDelay = time.Second
		out, err = cmd.CombinedOutput()
		return err
	})
	if err != nil {
		t.Fatalf("%s: %v\n%s", script, err, out)
	}
	return string(out)
}

// nft loads rules in the language of nft.
func nft(t testing.TB, ns *netlab.NetNS, rules string) {
	t.Helper()
	shell(t, ns, "nft -f - <<'END'\n"+rules+"\nEND")
}

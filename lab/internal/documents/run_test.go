package documents

import (
	"bytes"
	"context"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"verdictd/internal/testkit"
)

// What the test process that is a document's own is told.
const (
	documentVariable = "VERDICTD_TEST_DOCUMENT"
	binVariable      = "VERDICTD_TEST_DOCUMENT_BIN"
)

// within bounds a command that is run. The longest take some 10 s on an idle machine.
const within = 3 * time.Minute

func TestMain(m *testing.M) {
	if os.Getenv(documentVariable) != "" {
		os.Exit(m.Run())
	}
	testkit.Main(m)
}

// runs says whether a command is run as it stands.
func runs(c *command) bool {
	return !c.takesLong() && !c.has(needsService) && !c.has(needsMachine) && !c.has(needsYourFiles)
}

// commandsRun runs the commands of each document one after the other, as somebody who reads it would, in a network
// namespace of its own, with a /run of its own. Documents are run beside each other, as commands mostly wait.
func commandsRun(t *testing.T, bin string) {
	t.Helper()
	testkit.Require(t)
	for _, name := range documents(t) {
		commands := read(t, name)
		if !slices.ContainsFunc(commands, func(c command) bool { return runs(&c) }) {
			continue
		}
		t.Run(filepath.Base(name), func(t *testing.T) {
			t.Parallel()
			apart(t, bin, name)
		})
	}
}

// apart runs a document's commands in namespaces of their own, by this test program.
func apart(t *testing.T, bin, document string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 2*within)
	defer cancel()
	const enter = `mount -t tmpfs none /run && ip link set lo up && exec "$0" -test.run '^TestInside$' -test.v`
	cmd := exec.CommandContext(ctx, "unshare", "--mount", "--net", "--pid", "--fork", "--kill-child", "--mount-proc",
		"bash", "-c", enter, os.Args[0])
	cmd.Env = append(os.Environ(), documentVariable+"="+document, binVariable+"="+bin)
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Errorf("%v\n%s", err, out)
	}
}

// TestInside is a document's.
func TestInside(t *testing.T) {
	document, bin := os.Getenv(documentVariable), os.Getenv(binVariable)
	if document == "" {
		return // commandsRun starts it
	}
	s := shell{dir: stage(t, bin), path: helpers(t) + ":" + bin + ":" + os.Getenv("PATH")}
	if filepath.Base(document) == "README.md" {
		t.Run("strangers", s.strangers)
	}
	for _, c := range read(t, document) {
		if !runs(&c) {
			continue
		}
		t.Run(c.text, func(t *testing.T) {
			switch {
			case c.has(needsDaemon):
				s.fails(t, c.text)
				defer s.start(t, "verdictd run --config configs/verdictd.yaml").stop(t)
				s.run(t, c.text)
			case c.has(needsRules):
				s.fails(t, c.text)
				s.run(t, "verdictd rules apply --config configs/verdictd.yaml")
				s.run(t, c.text)
			case c.has(needsKprobes) && s.refused(t, c.text):
				t.Log("this kernel has no kprobes, or keeps them to itself")
			case c.has(untilCtrlC):
				s.start(t, c.text).stop(t)
			default:
				s.run(t, c.text)
			}
		})
	}
}

// helpers are what a plain machine has, and this one may not: sudo, and a make that finds the programs built.
func helpers(t *testing.T) (dir string) {
	t.Helper()
	dir = openTo(t, t.TempDir())
	script(t, filepath.Join(dir, "sudo"), "exec \"$@\"\n")
	script(t, filepath.Join(dir, "make"), "[[ $* == build ]]\n")
	return dir
}

// shell is where a document's commands are typed.
type shell struct{ dir, path string }

func (s *shell) command(ctx context.Context, line string, environment ...string) (cmd *exec.Cmd, output *bytes.Buffer) {
	cmd = exec.CommandContext(ctx, "bash", "-c", line)
	cmd.Dir = s.dir
	cmd.Env = append(append(os.Environ(), "PATH="+s.path, documentVariable+"="), environment...)
	output = &bytes.Buffer{}
	cmd.Stdout, cmd.Stderr = output, output
	return cmd, output
}

// run runs a line to its end, which has to be a good one. What sends packets and fails where some get lost may do so on
// a machine that has much else to do, but not again and again.
func (s *shell) run(t *testing.T, line string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), within)
	defer cancel()
	tries := 1
	if strings.Contains(line, "--fail-on-") || strings.Contains(line, "stress soak") {
		tries = 3
	}
	for left := tries - 1; ; left-- {
		cmd, output := s.command(ctx, line)
		err := cmd.Run()
		if err == nil {
			return
		}
		if left == 0 {
			t.Errorf("%v\n%s", err, output)
			return
		}
		t.Logf("%v\n%s", err, output)
	}
}

// running is a command that runs until it is told to stop.
type running struct {
	cmd    *exec.Cmd
	output *bytes.Buffer
	ended  chan error
}

// start runs a line until it says that it is ready, as it would to a service manager.
func (s *shell) start(t *testing.T, line string) *running {
	t.Helper()
	folder, err := os.MkdirTemp("/run", "") //nolint:usetesting // a socket's name is short
	if err != nil {
		t.Fatal(err)
	}
	name := filepath.Join(folder, "notify")
	manager, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: name, Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	defer manager.Close()
	cmd, output := s.command(context.WithoutCancel(t.Context()), "exec "+strings.TrimPrefix(line, "sudo "), "NOTIFY_SOCKET="+name)
	r := &running{cmd: cmd, output: output, ended: make(chan error, 1)}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = cmd.Process.Kill() })
	go func() { r.ended <- cmd.Wait() }()
	ready := make(chan error, 1)
	go func() { ready <- awaitReady(manager) }()
	select {
	case err := <-ready:
		if err != nil {
			t.Errorf("not ready: %v", err)
		}
	case err := <-r.ended:
		t.Fatalf("it does not run until it is told to stop: %v\n%s", err, output)
	}
	return r
}

// awaitReady waits for READY=1.
func awaitReady(manager *net.UnixConn) error {
	if err := manager.SetReadDeadline(time.Now().Add(within)); err != nil {
		return err
	}
	for text := make([]byte, 4096); ; {
		n, err := manager.Read(text)
		if err != nil {
			return err
		}
		if bytes.Contains(text[:n], []byte("READY=1")) {
			return nil
		}
	}
}

// stop is Ctrl-C.
func (r *running) stop(t *testing.T) {
	t.Helper()
	if err := r.cmd.Process.Signal(unix.SIGINT); err != nil {
		t.Fatal(err)
	}
	select {
	case err := <-r.ended:
		if err != nil {
			t.Errorf("behind Ctrl-C: %v\n%s", err, r.output)
		}
	case <-time.After(within):
		_ = r.cmd.Process.Signal(unix.SIGQUIT)
		t.Errorf("Ctrl-C does not end it: %v\n%s", <-r.ended, r.output)
	}
}

// fails runs a command without what it needs. Its remark is not true where it does well.
func (s *shell) fails(t *testing.T, line string) {
	t.Helper()
	cmd, output := s.command(t.Context(), line)
	if err := cmd.Run(); err == nil {
		t.Errorf("it needs nothing:\n%s", output)
	}
}

// refused says whether a trace is not possible here, by what trace says of it within a moment.
func (s *shell) refused(t *testing.T, line string) bool {
	t.Helper()
	cmd, output := s.command(t.Context(), line+" --duration 10ms")
	return cmd.Run() != nil && strings.Contains(output.String(), "conntrackwatch: tracing ")
}

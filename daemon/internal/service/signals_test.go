package service

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"verdictd/daemon/internal/childtest"
	"verdictd/internal/statistics"
	"verdictd/internal/testkit"
)

// TestSignals: none ends the daemon but those that ask for the stop in order.
func TestSignals(t *testing.T) {
	ns := testkit.Namespace(t)
	d := childtest.Daemon(t, ns, "rules: {destination_ports: [5300]}\n")
	for range 3 {
		for _, s := range []unix.Signal{unix.SIGHUP, unix.SIGPIPE, unix.SIGUSR1, unix.SIGALRM, unix.SIGWINCH} {
			d.Signal(s)
		}
	}
	eventually(t, "statistics and a reload", func() bool {
		b, err := os.ReadFile(d.File)
		if err != nil {
			return false
		}
		_, err = statistics.Read(b)
		return err == nil && strings.Contains(d.Log(), "msg=reloaded")
	})
	d.Signal(unix.SIGQUIT)
	if err := d.Ended(); err != nil {
		t.Errorf("after SIGQUIT: %v", err)
	}
	for _, want := range []string{"the stacks of all threads", "goroutine 1 ", "service.(*service).serve"} {
		if !strings.Contains(d.Log(), want) {
			t.Errorf("the dump has no %q", want)
		}
	}
}

// TestSignalsAtTheStart: from the first moment on. The configuration is a pipe that
// nobody has written to, so that the program has read none yet.
func TestSignalsAtTheStart(t *testing.T) {
	for name, signals := range map[string][]unix.Signal{
		"stop":  {unix.SIGHUP, unix.SIGUSR1, unix.SIGTERM},
		"quit":  {unix.SIGQUIT},
		"serve": {unix.SIGHUP, unix.SIGUSR1, unix.SIGHUP},
	} {
		t.Run(name, func(t *testing.T) {
			ns := testkit.Namespace(t)
			pipe := filepath.Join(t.TempDir(), "pipe")
			if err := unix.Mkfifo(pipe, 0o600); err != nil {
				t.Fatal(err)
			}
			d := childtest.Start(t, ns, childtest.Program(t, "run", "--config", pipe))
			var w *os.File
			eventually(t, "a reader of the pipe", func() (ok bool) {
				fd, err := unix.Open(pipe, unix.O_WRONLY|unix.O_NONBLOCK|unix.O_CLOEXEC, 0)
				if err == nil {
					w = os.NewFile(uintptr(fd), pipe)
				}
				return err == nil
			})
			for _, s := range signals {
				d.Signal(s)
			}
			if _, err := w.WriteString("control: {socket: \"\"}\nrules: {destination_ports: [5300]}\n"); err != nil {
				t.Fatal(err)
			}
			_ = w.Close()
			if name == "serve" {
				eventually(t, "verdicts", func() bool { return strings.Contains(d.Log(), "verdicts begin") })
				d.Signal(unix.SIGINT)
			}
			if err := d.Ended(); err != nil {
				t.Errorf("it ended with %v", err)
			}
		})
	}
}

// eventually waits for something.
func eventually(t *testing.T, what string, happened func() bool) {
	t.Helper()
	for until := time.Now().Add(20 * time.Second); time.Now().Before(until); time.Sleep(2 * time.Millisecond) {
		if happened() {
			return
		}
	}
	t.Fatalf("within 20 s there was no %s", what)
}

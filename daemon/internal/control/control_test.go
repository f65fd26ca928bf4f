package control

import (
	"context"
	"errors"
	"io/fs"
	"log/slog"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"verdictd/daemon/internal/audit"
	"verdictd/internal/testkit"
)

// fake answers as it is told.
type fake struct {
	fail   error
	reload chan struct{}
}

func (f *fake) Status(context.Context) (*Status, error) {
	return &Status{Schema: Schema, Command: "run", Version: "v<1>"}, f.fail
}
func (f *fake) Effective(context.Context) (*Effective, error) {
	return &Effective{Schema: Schema, YAML: "{}\n"}, f.fail
}
func (f *fake) Audit(context.Context) (*audit.Report, error) { return &audit.Report{}, f.fail }
func (f *fake) Reload(context.Context) (*Reload, error) {
	if f.reload != nil {
		<-f.reload
	}
	return &Reload{Result: Refused, Problems: []Problem{{File: "f", Line: 2, Column: 3, Key: "a.b", Text: "no"}}}, f.fail
}

// socket is a path in a folder of the test's, of a name that is short enough.
func socket(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "c") //nolint:usetesting // t.TempDir holds the test's name, and a socket's path at most 107 bytes
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	return filepath.Join(dir, "run", "c.sock")
}

func serve(t *testing.T, path string, d Daemon) *Server {
	t.Helper()
	l, err := Listen(t.Context(), path)
	if err != nil {
		t.Fatal(err)
	}
	s := Serve(l, d, slog.New(slog.NewTextHandler(t.Output(), nil)))
	t.Cleanup(func() { _ = s.Close() })
	return s
}

func TestQuestions(t *testing.T) {
	path := socket(t)
	f := &fake{}
	s := serve(t, path, f)
	c := NewClient(path)
	if st, err := c.Status(t.Context()); err != nil || st.Command != "run" || st.Version != "v<1>" {
		t.Errorf("status %+v, %v", st, err)
	}
	if e, err := c.Effective(t.Context()); err != nil || e.YAML != "{}\n" {
		t.Errorf("configuration %+v, %v", e, err)
	}
	if r, err := c.Reload(t.Context()); err != nil || r.Problems[0].Error() != "f:2:3: a.b: no" {
		t.Errorf("reload %+v, %v", r, err)
	}
	f.fail = errors.New("the daemon is stopping")
	if _, err := c.Status(t.Context()); err == nil || !strings.Contains(err.Error(), "is stopping") {
		t.Errorf("%v, want what the daemon says", err)
	}
	if err := s.Close(); err != nil {
		t.Error(err)
	}
	if _, err := os.Stat(path); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("the socket is there after the end: %v", err)
	}
	if _, err := c.Status(t.Context()); !errors.Is(err, ErrNoDaemon) || !strings.Contains(err.Error(), path) || !strings.Contains(err.Error(), "systemctl start") {
		t.Errorf("%v, want who does not answer where, and what to do", err)
	}
}

// TestMode: from its first moment on the socket is its owner's alone.
func TestMode(t *testing.T) {
	path := socket(t)
	was := syscall.Umask(0)
	l, err := Listen(t.Context(), path)
	syscall.Umask(was)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = l.Close() }()
	info, err := os.Stat(path)
	if err != nil || info.Mode().Perm() != mode {
		t.Errorf("mode %v, %v; want %o", info.Mode(), err, mode)
	}
}

func TestPaths(t *testing.T) {
	left := func(t *testing.T, path string) {
		t.Helper()
		l, err := net.ListenUnix("unix", &net.UnixAddr{Name: path, Net: "unix"})
		if err != nil {
			t.Fatal(err)
		}
		l.SetUnlinkOnClose(false)
		if err := l.Close(); err != nil {
			t.Fatal(err)
		}
	}
	for name, test := range map[string]struct {
		before func(*testing.T, string)
		want   string
	}{
		"nothing":           {func(*testing.T, string) {}, ""},
		"one that was left": {left, ""},
		"a living one":      {func(t *testing.T, path string) { t.Helper(); serve(t, path, &fake{}) }, ErrInUse.Error()},
		"a file": {func(t *testing.T, path string) {
			t.Helper()
			if err := os.WriteFile(path, []byte("precious"), 0o600); err != nil {
				t.Fatal(err)
			}
		}, "no socket"},
		"a link": {func(t *testing.T, path string) {
			t.Helper()
			if err := os.Symlink("/etc/passwd", path); err != nil {
				t.Fatal(err)
			}
		}, "no socket"},
		"a folder": {func(t *testing.T, path string) {
			t.Helper()
			if err := os.Mkdir(path, 0o700); err != nil {
				t.Fatal(err)
			}
		}, "no socket"},
	} {
		t.Run(name, func(t *testing.T) {
			path := socket(t)
			if err := os.Mkdir(filepath.Dir(path), 0o700); err != nil {
				t.Fatal(err)
			}
			test.before(t, path)
			l, err := Listen(t.Context(), path)
			switch {
			case test.want == "" && err != nil:
				t.Fatal(err)
			case test.want == "":
				_ = l.Close()
			case err == nil || !strings.Contains(err.Error(), test.want):
				t.Errorf("%v, want %s", err, test.want)
			}
		})
	}
}

// TestManyAtOnce: of those who want a path that was left at the same time, one has it.
func TestManyAtOnce(t *testing.T) {
	path := socket(t)
	type result struct {
		l   net.Listener
		err error
	}
	results := make(chan result)
	const many = 8
	for range many {
		go func() {
			l, err := Listen(t.Context(), path)
			results <- result{l, err}
		}()
	}
	had := 0
	for range many {
		r := <-results
		switch {
		case r.err == nil:
			had++
			defer func() { _ = r.l.Close() }()
		case !errors.Is(r.err, ErrInUse):
			t.Error(r.err)
		}
	}
	if had != 1 {
		t.Errorf("%d have the socket, want 1", had)
	}
}

// TestStrangers are turned away, also where the file's mode lets them in.
func TestStrangers(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("another user is needed: run as root")
	}
	path := socket(t)
	serve(t, path, &fake{})
	for _, p := range []string{filepath.Dir(filepath.Dir(path)), filepath.Dir(path), path} {
		if err := os.Chmod(p, 0o777); err != nil {
			t.Fatal(err)
		}
	}
	cmd := exec.Command("/proc/self/exe", "-test.run", "^TestAsStranger$", "-test.v")
	cmd.Env = append(os.Environ(), "VERDICTD_TEST_STRANGER="+path)
	cmd.SysProcAttr, cmd.Dir = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 65534, Gid: 65534}}, "/"
	out, err := cmd.CombinedOutput()
	if err != nil || !strings.Contains(string(out), "refused: ") || !strings.Contains(string(out), "user 65534 may not ask") {
		t.Errorf("%v: %s", err, out)
	}
	if _, err := NewClient(path).Status(t.Context()); err != nil {
		t.Errorf("root is turned away: %v", err)
	}
}

// TestAsStranger is what TestStrangers starts as another user.
func TestAsStranger(t *testing.T) {
	path := os.Getenv("VERDICTD_TEST_STRANGER")
	if path == "" {
		return // this process is no stranger
	}
	s, err := NewClient(path).Status(t.Context())
	if err == nil {
		t.Fatalf("a stranger was told %+v", s)
	}
	t.Logf("refused: %v", err)
}

// TestEndWhileReloading: who waits for an answer does not keep the daemon from ending.
func TestEndWhileReloading(t *testing.T) {
	path := socket(t)
	f := &fake{reload: make(chan struct{})}
	s := serve(t, path, f)
	answered := make(chan error)
	go func() {
		_, err := NewClient(path).Reload(t.Context())
		answered <- err
	}()
	time.Sleep(20 * time.Millisecond)
	if err := s.Close(); err != nil {
		t.Error(err)
	}
	if err := <-answered; err == nil {
		t.Error("a reload was done that never ended")
	}
	close(f.reload)
}

// TestSchemas: the schemas in docs are those of the types.
func TestSchemas(t *testing.T) {
	for name, document := range map[string]any{"verdictd-status": &Status{}, "verdictd-config": &Effective{}, "verdictd-reload": &Reload{}} {
		s := testkit.Of(t, "Answer of a running verdictd: "+strings.TrimPrefix(name, "verdictd-"), document)
		testkit.Const(s, "schema", Schema)
		testkit.Hold(t, testkit.Schema(t, name), s)
	}
}

package control

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// knock opens a connection and says something.
func knock(t *testing.T, path, what string) net.Conn {
	t.Helper()
	c, err := net.Dial("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	if _, err := io.WriteString(c, what); err != nil && !errors.Is(err, unix.EPIPE) {
		t.Fatal(err)
	}
	return c
}

// answers asks as a command does, within the time that an operator has.
func answers(t *testing.T, path, during string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	for {
		_, err := NewClient(path).Status(ctx)
		if err == nil {
			return
		}
		// On a busy machine those that came before take a while.
		if ctx.Err() != nil || !strings.Contains(err.Error(), "ask again later") {
			t.Errorf("%s: %v", during, err)
			return
		}
		time.Sleep(20 * time.Millisecond)
	}
}

// closed waits until the other end has closed a connection.
func closed(t *testing.T, c net.Conn) bool {
	t.Helper()
	if err := c.SetReadDeadline(time.Now().Add(30 * time.Second)); err != nil {
		t.Fatal(err)
	}
	_, err := io.Copy(io.Discard, c)
	return !errors.Is(err, os.ErrDeadlineExceeded)
}

// TestHostileClients: whatever clients do, others are answered, and what the daemon has
// for them is bounded.
func TestHostileClients(t *testing.T) {
	path := socket(t)
	s := serve(t, path, &fake{})
	const whole = "GET /v1/status HTTP/1.1\r\nHost: v\r\n\r\n"

	// Thousands of connections, that say nothing or never come to an end.
	limit := unix.Rlimit{}
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &limit); err != nil {
		t.Fatal(err)
	}
	before := runtime.NumGoroutine()
	many := int(min(3000, limit.Cur/4))
	for i := range many {
		knock(t, path, []string{"", "G", "GET /v1/status HTTP/1.1\r\nX: "}[i%3])
	}
	answers(t, path, "thousands of connections")
	deadline := time.Now().Add(20 * time.Second)
	for runtime.NumGoroutine() > before+4*quietMost && time.Now().Before(deadline) {
		time.Sleep(10 * time.Millisecond)
	}
	if n := runtime.NumGoroutine() - before; n > 4*quietMost {
		t.Errorf("%d goroutines for %d connections that say nothing", n, many)
	}
	s.crowd.mutex.Lock()
	if n := len(s.crowd.quiet); n > quietMost {
		t.Errorf("%d connections are kept, want %d at most", n, quietMost)
	}
	s.crowd.mutex.Unlock()

	connections := map[string]net.Conn{}
	for name, text := range map[string]string{
		"a head without end":   "GET /v1/status HTTP/1.1\r\nX: " + strings.Repeat("x", 1<<20),
		"no HTTP":              "\x00\x01\xff\r\n\r\n",
		"a body of a terabyte": "POST /v1/reload HTTP/1.1\r\nHost: v\r\nContent-Length: 1099511627776\r\n\r\n" + strings.Repeat("x", 1<<20),
		"chunks without end":   "POST /v1/reload HTTP/1.1\r\nHost: v\r\nTransfer-Encoding: chunked\r\n\r\n" + strings.Repeat("1\r\nx\r\n", 1<<16),
		"upgrade":              "GET /v1/status HTTP/1.1\r\nHost: v\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n",
		"another path":         "GET /../../etc/passwd HTTP/1.1\r\nHost: v\r\n\r\n",
		"slowly":               "GET /v1/sta",
	} {
		var memory runtime.MemStats
		connections[name] = knock(t, path, text)
		answers(t, path, name)
		if runtime.ReadMemStats(&memory); memory.HeapInuse > 256<<20 {
			t.Errorf("%s: %d MiB of memory", name, memory.HeapInuse>>20)
		}
	}
	for name, c := range connections {
		if !closed(t, c) {
			t.Errorf("%s: the connection stays", name)
		}
	}
	// One goes while it is answered, one sends but half and stands half open.
	_ = knock(t, path, whole).Close()
	if err := knock(t, path, whole).(*net.UnixConn).CloseWrite(); err != nil {
		t.Error(err)
	}
	answers(t, path, "half open")
}

// big answers with more than a socket's buffer takes.
type big struct{ fake }

func (*big) Effective(context.Context) (*Effective, error) {
	return &Effective{YAML: strings.Repeat("x", 8<<20)}, nil
}

// TestWhoDoesNotRead keeps neither others nor the end of the daemon waiting.
func TestWhoDoesNotRead(t *testing.T) {
	path := socket(t)
	s := serve(t, path, &big{})
	for range 2 * quietMost {
		knock(t, path, "GET /v1/config HTTP/1.1\r\nHost: v\r\n\r\n")
	}
	answers(t, path, "clients that do not read")
	began := time.Now()
	if err := s.Close(); err != nil {
		t.Error(err)
	}
	if took := time.Since(began); took > 10*time.Second {
		t.Errorf("the end took %v", took)
	}
}

// TestManyReloads: those that wait for each other are bounded, and do not keep anybody
// from asking.
func TestManyReloads(t *testing.T) {
	path := socket(t)
	f := &fake{reload: make(chan struct{})}
	serve(t, path, f)
	results := make(chan error)
	for range 3 * reloadsMost {
		go func() {
			_, err := NewClient(path).Reload(t.Context())
			results <- err
		}()
	}
	for range 2 * reloadsMost { // the others wait
		if err := <-results; err == nil || !strings.Contains(err.Error(), errCrowd.Error()) {
			t.Errorf("%v, want %v", err, errCrowd)
		}
	}
	answers(t, path, "reloads that wait")
	close(f.reload)
	for range reloadsMost {
		if err := <-results; err != nil {
			t.Error(err)
		}
	}
}

// TestTakenAway: the daemon goes on without its socket, knows that it has none, and takes
// no other's away at its end.
func TestTakenAway(t *testing.T) {
	path := socket(t)
	s := serve(t, path, &fake{})
	if !s.There() {
		t.Error("it does not find its own socket")
	}
	if err := os.RemoveAll(filepath.Dir(path)); err != nil {
		t.Fatal(err)
	}
	if s.There() {
		t.Error("a socket without a folder is there")
	}
	if _, err := NewClient(path).Status(t.Context()); !errors.Is(err, ErrNoDaemon) {
		t.Errorf("%v, want %v", err, ErrNoDaemon)
	}
	other := serve(t, path, &fake{})
	if s.There() || !other.There() {
		t.Error("another's socket is taken for its own")
	}
	if err := s.Close(); err != nil {
		t.Error(err)
	}
	answers(t, path, "the end of one that had the path before")
}

// TestLockIsNoLink: a link in the lock's place has no file made elsewhere.
func TestLockIsNoLink(t *testing.T) {
	path := socket(t)
	if err := os.Mkdir(filepath.Dir(path), 0o700); err != nil {
		t.Fatal(err)
	}
	victim := filepath.Join(t.TempDir(), "victim")
	if err := os.Symlink(victim, path+".lock"); err != nil {
		t.Fatal(err)
	}
	if l, err := Listen(t.Context(), path); !errors.Is(err, unix.ELOOP) {
		t.Errorf("%v, %v; want %v", l, err, unix.ELOOP)
	}
	if _, err := os.Lstat(victim); err == nil {
		t.Error("a file was made where the link leads")
	}
}

// TestLongPath is refused with words.
func TestLongPath(t *testing.T) {
	path := fmt.Sprintf("%s/%s", t.TempDir(), bytes.Repeat([]byte("x"), 120))
	if _, err := Listen(t.Context(), path); err == nil || !strings.Contains(err.Error(), path) {
		t.Errorf("%v", err)
	}
}

// TestStandsStill: who asks a daemon that is stopped is told so, and does not wait for ever.
func TestStandsStill(t *testing.T) {
	path := socket(t)
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		t.Fatal(err)
	}
	l, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	c := NewClient(path)
	c.within = 50 * time.Millisecond
	for _, ask := range []func() error{
		func() error { _, err := c.Status(t.Context()); return err },
		func() error { _, err := c.Effective(t.Context()); return err },
		func() error { _, err := c.Audit(t.Context()); return err },
	} {
		if err := ask(); err == nil || !strings.Contains(err.Error(), "does not answer: it stands still") {
			t.Errorf("%v; want that it stands still", err)
		}
	}
}

package fdstore

import (
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// asChild has this test's program be the child of a Server.
const asChild = "FDSTORE_TEST_CHILD"

func TestMain(m *testing.M) {
	if task := os.Getenv(asChild); task != "" {
		child(task)
		return
	}
	os.Exit(m.Run())
}

// child says what it received, and puts new descriptors into the store.
func child(task string) {
	received := Received()
	var words []string
	for name, f := range received {
		b := make([]byte, 100)
		n, _ := f.ReadAt(b, 0)
		flags, err := unix.FcntlInt(f.Fd(), unix.F_GETFD, 0)
		words = append(words, fmt.Sprintf("%s=%s closed-in-programs=%v %v", name, b[:n], flags&unix.FD_CLOEXEC != 0, err))
	}
	slices.Sort(words)
	for _, name := range []string{variablePID, variableCount, variableNames, variableKeeper} {
		if v, ok := os.LookupEnv(name); ok {
			words = append(words, name+" is still "+v)
		}
	}
	fmt.Println(strings.Join(words, "\n"))
	c, err := Open()
	if err == nil {
		err = tasks[task](c)
	}
	if err != nil {
		fmt.Println("error", err)
	}
}

var tasks = map[string]func(c *Client) error{
	"nothing": func(*Client) error { return nil },
	"keep": func(c *Client) error {
		var errs []error
		for _, name := range []string{"journal-0", "journal-1"} {
			fd, err := unix.MemfdCreate(name, unix.MFD_CLOEXEC)
			if err != nil {
				return err
			}
			_, err = unix.Pwrite(fd, []byte(name+"'s bytes"), 0)
			errs = append(errs, err, c.Keep(name, fd), c.Keep(name, fd))
		}
		return errors.Join(append(errs, c.send("READY=1\nSTATUS=kept"))...)
	},
	"remove": func(c *Client) error { return errors.Join(c.Remove("journal-0"), c.Remove("never-there")) },
}

func serve(t *testing.T, size int) *Server {
	t.Helper()
	s, err := Listen(filepath.Join(t.TempDir(), "s"), size)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() }) // a test may have closed it
	return s
}

// run starts a child with what the store has, waits for its end, and returns what it said.
func run(t *testing.T, s *Server, task string) (said string, told []Message) {
	t.Helper()
	cmd := exec.Command("/proc/self/exe")
	// The variables of an outer manager must not reach the child.
	cmd.Env = append(os.Environ(), asChild+"="+task, "LISTEN_PID=1", "LISTEN_FDS=7", "NOTIFY_SOCKET=/nowhere")
	done, err := s.Hand(cmd)
	if err != nil {
		t.Fatal(err)
	}
	defer done()
	out, err := cmd.Output()
	if err != nil {
		t.Fatal(err)
	}
	told = s.Drain()
	for _, m := range told {
		if m.PID != cmd.Process.Pid {
			t.Errorf("message %q of process %d, want %d", m.Fields, m.PID, cmd.Process.Pid)
		}
	}
	return strings.TrimSpace(string(out)), told
}

// TestThroughChildren: what one child puts into the store, the next ones begin with,
// until one of them takes it out.
func TestThroughChildren(t *testing.T) {
	s := serve(t, 10)
	said, told := run(t, s, "keep")
	if said != "" {
		t.Errorf("the first child said %q", said)
	}
	if last := told[len(told)-1]; len(told) != 5 || !last.Has("READY=1") || last.Has("FDSTORE=1") {
		t.Errorf("told %v", told)
	} else if v, ok := last.Value("STATUS"); !ok || v != "kept" {
		t.Errorf("status %q", v)
	}
	both := "journal-0=journal-0's bytes closed-in-programs=true <nil>\njournal-1=journal-1's bytes closed-in-programs=true <nil>"
	for _, step := range []struct{ task, want string }{
		{"nothing", both}, {"remove", both}, {"nothing", "journal-1=journal-1's bytes closed-in-programs=true <nil>"},
	} {
		if said, _ := run(t, s, step.task); said != step.want {
			t.Errorf("%s: %q, want %q", step.task, said, step.want)
		}
	}
	s.Release()
	if said, _ := run(t, s, "nothing"); said != "" {
		t.Errorf("after Release: %q", said)
	}
}

func TestBounds(t *testing.T) {
	s := serve(t, 1)
	run(t, s, "keep")
	if names, refused := s.Names(); !slices.Equal(names, []string{"journal-0"}) || refused != 2 {
		t.Errorf("kept %v, refused %d; want room for one", names, refused)
	}
}

func TestClient(t *testing.T) {
	t.Setenv(variableSocket, "")
	if _, err := Open(); !errors.Is(err, ErrNoStore) {
		t.Errorf("without a socket: %v", err)
	}
	s := serve(t, 10)
	t.Setenv(variableSocket, s.path)
	t.Setenv(variableSize, "0")
	if _, err := Open(); !errors.Is(err, ErrNoStore) {
		t.Errorf("with a store of no size: %v", err)
	}
	t.Setenv(variableSize, "10")
	c, err := Open()
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = c.Close() }()
	if n := c.Size(); n != 10 {
		t.Errorf("room for %d, want 10", n)
	}
	if err := c.Barrier(10 * time.Millisecond); err == nil {
		t.Error("a barrier ends while nobody reads")
	}
	s.Drain()
	ended := make(chan error, 1)
	go func() { ended <- c.Barrier(10 * time.Second) }()
	if _, err := s.Receive(); err != nil {
		t.Error(err)
	}
	if err := <-ended; err != nil {
		t.Error(err)
	}
}

// TestHostile: messages that no child of ours sends leave nothing behind.
func TestHostile(t *testing.T) {
	s := serve(t, 10)
	t.Setenv(variableSocket, s.path)
	t.Setenv(variableSize, "10")
	c, err := Open()
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = c.Close() }()
	before := descriptors(t)
	for _, m := range []string{
		"", "=", "\n\n", "FDSTORE=1", "FDNAME=a", "FDSTOREREMOVE=1", "FDSTORE=2\nFDNAME=a", strings.Repeat("x", maxMessage+1),
		"FDSTORE=1\nFDNAME=a\n" + strings.Repeat("y=1\n", maxMessage), "READY=1\nBARRIER=1",
	} {
		var fds []int
		if strings.HasPrefix(m, "FDSTORE=2") || strings.HasPrefix(m, "READY") || len(m) > maxMessage {
			fds = []int{0, 1, 2}
		}
		if err := c.send(m, fds...); err != nil {
			t.Errorf("send %.20q: %v", m, err)
		}
		s.Drain()
	}
	if names, _ := s.Names(); len(names) > 0 {
		t.Errorf("kept %v", names)
	}
	if now := descriptors(t); now != before {
		t.Errorf("%d descriptors are open, before %d", now, before)
	}
	if err := c.Keep("with:colon", 0); err != nil {
		t.Error(err)
	}
	s.Drain()
	if names, _ := s.Names(); !slices.Equal(names, []string{"stored"}) {
		t.Errorf("kept %v", names)
	}
	if err := s.Close(); err != nil {
		t.Error(err)
	}
	if _, err := s.Receive(); !errors.Is(err, net.ErrClosed) {
		t.Errorf("after Close: %v", err)
	}
	if _, err := os.Stat(s.path); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the socket is still there: %v", err)
	}
}

func descriptors(t *testing.T) int {
	t.Helper()
	list, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	return len(list)
}

package journal_test

import (
	"math/rand/v2"
	"net"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"

	"verdictd/internal/testkit"
)

// TestScribbled: another process of the same user has written to what a daemon left,
// between its end and the next start. The daemon begins, with what it can, and judges.
func TestScribbled(t *testing.T) {
	ns := testkit.Namespace(t)
	k := newKeeper(t, ns, settings("hold", 1, ""))
	in := listen(t, ns, port)
	out := dial(t, ns, port)
	random := rand.New(rand.NewPCG(1, 2))
	noise := func(n int) []byte {
		b := make([]byte, n)
		for i := range b {
			b[i] = byte(random.Uint32())
		}
		return b
	}
	const whole = 1 << 14
	scribbles := []struct {
		names []string
		do    func(*os.File) error
	}{
		{[]string{"journal-0", "gate-journal-61440", "gate-held-61440", "restarts-0"}, func(f *os.File) error {
			_, err := f.WriteAt(noise(whole), 0)
			return err
		}},
		// The heads are as they were.
		{[]string{"journal-0", "gate-journal-61440"}, func(f *os.File) error {
			_, err := f.WriteAt(noise(whole), 24)
			return err
		}},
		{[]string{"gate-held-61440"}, func(f *os.File) error {
			_, err := f.WriteAt(noise(whole), 4096)
			return err
		}},
		{[]string{"gate-held-61440"}, func(f *os.File) error {
			_, err := f.WriteAt(noise(64), 16)
			return err
		}},
		{[]string{"journal-0", "gate-held-61440"}, func(f *os.File) error {
			if err := f.Truncate(3); err == nil || !strings.Contains(err.Error(), "not permitted") {
				t.Errorf("made shorter: %v", err)
			}
			return nil
		}},
		{[]string{"journal-0", "gate-journal-61440"}, func(f *os.File) error { return f.Truncate(1 << 30) }},
	}
	for i, s := range scribbles {
		k.end(syscall.SIGKILL)
		for _, name := range s.names {
			k.with(name, s.do)
		}
		k.start()
		passes(t, in, out, i)
	}
	if log := k.child.Log(); strings.Contains(log, "panic") || strings.Contains(log, "SIGSEGV") || strings.Contains(log, "SIGBUS") {
		t.Error(log)
	}
	k.end(syscall.SIGTERM)
	k.clean()
}

// passes sends packets until one arrives.
func passes(t *testing.T, in, out *net.UDPConn, i int) {
	t.Helper()
	for until := time.Now().Add(20 * time.Second); time.Now().Before(until); {
		if _, err := out.Write([]byte("hey")); err != nil {
			t.Fatal(err)
		}
		if err := in.SetReadDeadline(time.Now().Add(100 * time.Millisecond)); err != nil {
			t.Fatal(err)
		}
		if _, err := in.Read(make([]byte, 10)); err == nil {
			return
		}
	}
	t.Errorf("scribble %d: no packet passes the daemon any more", i)
}

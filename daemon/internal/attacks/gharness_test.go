package attacks

import (
	"fmt"
	"strings"
	"sync"
	"testing"

	"golang.org/x/sys/unix"

	"verdictd/daemon/internal/childtest"
	"verdictd/internal/netlab"
	"verdictd/internal/testkit"
)

// before starts `verdictd guard` before the foreign program's queues, or nothing with the guard off.
func (r *run) before(ns *netlab.NetNS, queues string) {
	r.Helper()
	r.ns, r.clashes = ns, clashes(r, ns)
	if r.mode == "off" {
		return
	}
	keys := []string{"mode: " + r.mode}
	if r.guard != "" {
		keys = append(keys, r.guard)
	}
	r.child = childtest.Guard(r, ns, "guard: {"+strings.Join(keys, ", ")+"}", "--queue", queues)
}

// endBefore is end where there may be no daemon.
func (r *run) endBefore(in *sink, expected int) outcome {
	r.Helper()
	if r.child != nil {
		return r.end(in, expected)
	}
	in.await(expected, quiet)
	o := outcome{figures: map[string]float64{}}
	r.sumUp(&o, in, expected)
	return o
}

// bothModes plays what sideBySide would judge too harshly. Both is false where there is no hold to compare with.
func bothModes(t *testing.T, guard string, play func(r *run) outcome) (off, hold outcome, both bool) {
	t.Helper()
	testkit.Require(t)
	for _, mode := range []string{"off", "hold"} {
		if mode == "hold" && !holds(t) {
			t.Log("this daemon cannot hold packets yet")
			return off, hold, false
		}
		var o outcome
		ok := t.Run(mode, func(t *testing.T) {
			o = play(&run{T: t, mode: mode, guard: guard})
			t.Log(o)
		})
		switch {
		case !ok:
			return off, hold, false
		case mode == "off":
			off = o
		default:
			hold = o
		}
	}
	return off, hold, true
}

// A recorder keeps what a child's log says.
type recorder struct {
	testing.TB
	mu    sync.Mutex
	lines []string
}

func (r *recorder) Logf(format string, args ...any) {
	r.TB.Logf(format, args...)
	r.mu.Lock()
	defer r.mu.Unlock()
	r.lines = append(r.lines, fmt.Sprintf(format, args...))
}

// said is how many lines hold a text.
func (r *recorder) said(text string) (n int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, line := range r.lines {
		if strings.Contains(line, text) {
			n++
		}
	}
	return n
}

// needsLargeBuffers skips a test whose load does not fit the receive buffers that an
// ordinary user gets (net.core.rmem_max): programs would lose packets, guard or not.
func needsLargeBuffers(t *testing.T) {
	t.Helper()
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = unix.Close(fd) }()
	if err := unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_RCVBUFFORCE, 1<<20); err != nil {
		t.Skipf("large receive buffers take root: %v", err)
	}
}

package queue

import (
	"os"
	"testing"

	"golang.org/x/sys/unix"

	"verdictd/internal/netlab"
	"verdictd/internal/testkit"
	"verdictd/lab/internal/bench"
	"verdictd/lab/internal/testbed"
)

// inNamespace runs f on a pinned thread in a namespace with conntrack and without a queue.
func inNamespace(t *testing.T, f func(ns *netlab.NetNS) error) {
	t.Helper()
	testkit.Require(t)
	top, err := testbed.NewTopology("output", "ipv4")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { top.Close() })
	cpus, err := testbed.AllowedCPUs()
	if err != nil {
		t.Fatal(err)
	}
	err = bench.OnCPU(cpus[0], func() error { return top.Queue.Do(func() error { return f(top.Queue) }) })
	if err != nil {
		t.Error(err)
	}
}

// entries is how many flows conntrack has in the calling thread's namespace.
func entries(t *testing.T) int {
	t.Helper()
	text, err := os.ReadFile("/proc/thread-self/net/nf_conntrack")
	if err != nil {
		t.Fatal(err)
	}
	n := 0
	for _, c := range text {
		if c == '\n' {
			n++
		}
	}
	return n
}

// TestFlood: each packet is a flow of its own, and there are no more than was said.
func TestFlood(t *testing.T) {
	inNamespace(t, func(*netlab.NetNS) error {
		const most = 300
		f, err := openFlood(most, 64)
		if err != nil {
			return err
		}
		defer f.Close()
		for more := true; more; {
			if more, err = f.one(); err != nil {
				return err
			}
		}
		if n := entries(t); f.sent != most || n != most {
			t.Errorf("%d packets were sent, and are %d flows, want %d", f.sent, n, most)
		}
		from := make([]byte, 64)
		if _, _, err := unix.Recvfrom(f.sink, from, unix.MSG_DONTWAIT); err != nil {
			t.Errorf("the sink got nothing: %v", err)
		}
		return nil
	})
}

// TestManyFlows: a load of many goes round in as many flows as it was told.
func TestManyFlows(t *testing.T) {
	inNamespace(t, func(*netlab.NetNS) error {
		const flows = 200
		l, err := openMany(flows, 64, 64)
		if err != nil {
			return err
		}
		defer l.Close()
		turn := &manyTurn{l, 1000}
		if n, err := turn.run(t.Context()); err != nil || n < 1000 {
			t.Errorf("%d packets, %v", n, err)
		}
		if n := entries(t); n != flows {
			t.Errorf("%d flows, want %d", n, flows)
		}
		return nil
	})
}

// TestBetweenEndsTheSending: what is sent beside ends the turn.
func TestBetweenEndsTheSending(t *testing.T) {
	inNamespace(t, func(*netlab.NetNS) error {
		at := (&comparison{cpus: []int{0}}).under(&variant{})
		target, sources := at.addresses()
		l, err := openPaced(target, sources, 64)
		if err != nil {
			return err
		}
		defer l.Close()
		calls := 0
		l.between = func() (bool, error) { calls++; return calls < 50, nil }
		if err := l.send(t.Context(), 100, 1_000_000, 1); err != nil {
			return err
		}
		if calls != 50 || l.sent > 100 || len(l.waits) > l.sent {
			t.Errorf("%d calls, %d packets sent, %d arrived", calls, l.sent, len(l.waits))
		}
		return nil
	})
}

package queue

import (
	"context"
	"errors"
	"net/netip"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"verdictd/internal/netlab"
	"verdictd/internal/testkit"
	"verdictd/lab/internal/bench"
	"verdictd/lab/internal/testbed"
)

// withLoad runs f with a load in a namespace without a queue.
func withLoad(t *testing.T, window int, f func(*load) error) error {
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
	n := netlab.Networks["ipv4"]
	return bench.OnCPU(cpus[0], func() error {
		return top.Queue.Do(func() error {
			l, err := openLoad(netip.AddrPortFrom(n.Target, testbed.Port), n.SourceList()[:settledFlows], window, 64)
			if err != nil {
				return err
			}
			return errors.Join(f(l), l.Close())
		})
	})
}

func TestLoadArrives(t *testing.T) {
	for _, window := range []int{1, 7, 256, 1024} {
		err := withLoad(t, window, func(l *load) error {
			return errors.Join(l.send(t.Context(), 1), l.send(t.Context(), 3001))
		})
		if err != nil {
			t.Errorf("window %d: %v", window, err)
		}
	}
}

func TestLoadMissesPackets(t *testing.T) {
	err := withLoad(t, 256, func(l *load) error {
		l.patience = 50 * time.Millisecond
		if err := unix.SetsockoptInt(l.sink, unix.SOL_SOCKET, unix.SO_RCVBUF, 1); err != nil {
			return err
		}
		return l.send(t.Context(), 1000)
	})
	if err == nil || !strings.Contains(err.Error(), "have not arrived within 50ms") {
		t.Errorf("the sink has no room for a window: %v", err)
	}
}

func TestLoadEndsWithItsContext(t *testing.T) {
	cause := errors.New("enough")
	ctx, cancel := context.WithCancelCause(t.Context())
	cancel(cause)
	err := withLoad(t, 256, func(l *load) error {
		return errors.Join(unix.SetsockoptInt(l.sink, unix.SOL_SOCKET, unix.SO_RCVBUF, 1), l.send(ctx, 1000))
	})
	if !errors.Is(err, cause) {
		t.Errorf("ended with %v", err)
	}
}

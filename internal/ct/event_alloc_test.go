//go:build !race

package ct

import (
	"net/netip"
	"testing"

	"verdictd/internal/nfnl"
	"verdictd/internal/testkit"
)

// Both are off under the race detector, which allocates itself.
func TestDecodingAllocatesNothing(t *testing.T) {
	for _, src := range []string{"192.0.2.1", "2001:db8::1"} {
		b := newEvent(netip.MustParseAddr(src), 7)
		var e Event
		var counted tallies
		allocs := testing.AllocsPerRun(100, func() {
			m, ok := nfnl.Head(b)
			counted.add(&m)
			if !ok || !e.decode(&m) {
				t.Fatal("no event")
			}
		})
		if allocs != 0 {
			t.Errorf("%v allocations for an event of %s", allocs, src)
		}
	}
}

// TestReceivingAllocatesNothing takes events from the kernel, as Run does.
func TestReceivingAllocatesNothing(t *testing.T) {
	testkit.Namespace(t)
	for name, h := range map[string]Handler{"counted": {}, "decoded": {Event: func(*Event) {}, Batch: func() error { return nil }}} {
		l := listen(t, ListenConfig{})
		l.handle(h)
		socket := udpSocket(t)
		port, received := 20000, 0
		const flows, runs = 20, 50
		warm := func() {
			for range flows {
				port++
				sendFlows(t, socket, port, 1)
			}
		}
		// Sending allocates, so what it allocates is taken off.
		sending := testing.AllocsPerRun(runs, warm)
		for {
			if n, err := l.receive(); err != nil || n == 0 {
				break
			}
		}
		both := testing.AllocsPerRun(runs, func() {
			warm()
			n, err := l.receive()
			if err == nil {
				err = l.alarm.Sleep(0)
			}
			if err != nil {
				t.Fatal(err)
			}
			received += n
		})
		if both != sending {
			t.Errorf("%s: %v allocations to send and receive %d events, %v to send them", name, both, flows, sending)
		}
		if received < flows*runs {
			t.Errorf("%s: received %d events, want %d", name, received, flows*runs)
		}
	}
}

func BenchmarkDecode(b *testing.B) {
	message := newEvent(netip.MustParseAddr("192.0.2.1"), 7)
	b.Run("counted", func(b *testing.B) {
		var counted tallies
		for b.Loop() {
			m, _ := nfnl.Head(message)
			counted.add(&m)
		}
	})
	b.Run("decoded", func(b *testing.B) {
		var e Event
		for b.Loop() {
			m, _ := nfnl.Head(message)
			e.decode(&m)
		}
	})
}

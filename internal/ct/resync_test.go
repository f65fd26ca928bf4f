package ct

import (
	"context"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"verdictd/internal/testkit"
	"verdictd/internal/vocabulary"
)

// tableReader is a Resyncer that notes what it is told.
type tableReader struct {
	entries map[uint16]bool // by destination port
	begun   int
	settled chan int
}

func (r *tableReader) Begin() { r.begun, r.entries = r.begun+1, map[uint16]bool{} }

func (r *tableReader) Entry(e *Event) { r.entries[e.Orig.DstPort] = true }

func (r *tableReader) Settled() { r.settled <- len(r.entries) }

// After a loss the table is read, as far as the filter goes, and the receive buffer is larger.
func TestResyncAfterLoss(t *testing.T) {
	testkit.Namespace(t)
	const flows, larger = 500, 32 << 10
	l := listen(t, ListenConfig{ReceiveBuffer: 4096, MaxReceiveBuffer: larger, Filter: Filter{Protocols: []vocabulary.Protocol{unix.IPPROTO_UDP}}})
	if err := l.OpenResync(); err != nil {
		t.Fatal(err)
	}
	sendRaw(t, "ip4:253", "127.0.0.1", []byte{42}) // in the table, but not what was asked for
	sendFlows(t, udpSocket(t), 20000, flows)

	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	reader := &tableReader{settled: make(chan int, 10)}
	done := make(chan counted, 1)
	var losses []Loss
	go func() {
		counts, err := l.Run(ctx, Handler{Event: func(*Event) {}, Resync: reader, Loss: func(loss Loss) { losses = append(losses, loss) }})
		done <- counted{counts, err}
	}()
	select {
	case n := <-reader.settled:
		if n != flows {
			t.Errorf("%d entries were read, want %d", n, flows)
		}
	case <-time.After(20 * time.Second):
		t.Fatal("the table was not read within 20 s")
	}
	cancel()
	got := await(t, done)
	if got.err != nil {
		t.Fatal(got.err)
	}
	if got.counts.Lost != 1 || len(losses) != 1 || reader.begun != 1 {
		t.Errorf("%d losses, %d told, %d times read; want each once", got.counts.Lost, len(losses), reader.begun)
	}
	if grown := l.ReceiveBuffer(); grown != 8192 || losses[0].ReceiveBuffer != grown {
		t.Errorf("the receive buffer has %d bytes, %d by the loss; want twice the 4096 that overran", grown, losses[0].ReceiveBuffer)
	}
}

func TestReceiveBufferGrowsToItsBound(t *testing.T) {
	testkit.Namespace(t)
	l := listen(t, ListenConfig{ReceiveBuffer: 4096, MaxReceiveBuffer: 12000})
	for _, want := range []int{8192, 12000, 12000} {
		if err := l.grow(); err != nil {
			t.Fatal(err)
		}
		if got := l.ReceiveBuffer(); got != want {
			t.Errorf("%d bytes, want %d", got, want)
		}
	}
}

func TestRestFor(t *testing.T) {
	for buffer, want := range map[int]time.Duration{
		4096:                 10 * time.Microsecond,
		DefaultReceiveBuffer: maxRest,
		1 << 30:              maxRest,
		212992:               553333 * time.Nanosecond,
	} {
		if got := restFor(buffer); got != want {
			t.Errorf("%d bytes: %v, want %v", buffer, got, want)
		}
	}
}

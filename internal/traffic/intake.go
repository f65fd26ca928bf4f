package traffic

import (
	"sync/atomic"
	"time"

	hdr "github.com/HdrHistogram/hdrhistogram-go"
)

// pollInterval bounds how long a receiving thread sleeps before it looks whether it is to stop.
const pollInterval = 20 * time.Millisecond

// receiveBatch is how many datagrams one system call may bring.
const receiveBatch = 64

// intake is what the receiver and the collector of echoes have in common: datagrams into a ledger, the age of
// each into a histogram. Its thread owns it; ledger counters and last may be read meanwhile.
type intake struct {
	clk    clock
	ledger *Ledger
	ages   *hdr.Histogram
	batch  *batch
	fresh  []int // datagrams of the last batch that the ledger had not seen before
	last   atomic.Int64
	icmp   bool // the datagrams are ICMP messages as a raw socket gives them

	stopped atomic.Bool
	until   int64 // on clk, once the thread has seen that it is stopped
}

// drainTime bounds how long a thread that is stopped takes what is there, as somebody else may send without an end.
const drainTime = time.Second

// stopping reports whether the thread is to take no more than what its sockets hold already, and whether it has done so
// for long enough. What has come to a socket has arrived, however late the thread is on a busy machine.
func (in *intake) stopping() (stopping, over bool) {
	if !in.stopped.Load() {
		return false, false
	}
	now := in.clk.now()
	if in.until == 0 {
		in.until = now + int64(drainTime)
	}
	return true, now > in.until
}

func newIntake(clk clock, ledger *Ledger, size int, names bool) *intake {
	return &intake{
		clk: clk, ledger: ledger, ages: newHistogram(),
		// One byte more than a payload: a longer datagram must not pass for one that was cut to size.
		batch: newBatch(receiveBatch, size+1, names),
		fresh: make([]int, 0, receiveBatch),
	}
}

// take enters the first n datagrams of the batch. They all carry the time at which the receive call returned.
func (in *intake) take(n int) {
	now := in.clk.now()
	in.last.Store(now)
	in.fresh = in.fresh[:0]
	for i := range n {
		payload, from := in.batch.payload(i), in.batch.source(i)
		if in.icmp {
			payload, from = echoRequest(payload, from)
		}
		h, outcome := in.ledger.Record(payload, from)
		if outcome == Fresh {
			if in.ledger.reached != nil {
				in.ledger.reach(h.Flow, in.batch.destination(i))
			}
			record(in.ages, now-h.Sent)
			in.fresh = append(in.fresh, i)
		}
	}
}

// maxAge is above what the longest run can see.
const maxAge = MaxTimeout + time.Hour

// newHistogram holds nanoseconds to three significant digits.
func newHistogram() *hdr.Histogram { return hdr.New(1, int64(maxAge), 3) }

// record keeps ns within the histogram's range, which only the send time of a damaged payload that passes its
// checksum can leave.
func record(h *hdr.Histogram, ns int64) {
	_ = h.RecordValue(min(max(1, ns), int64(maxAge)))
}

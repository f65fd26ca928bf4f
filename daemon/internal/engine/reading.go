package engine

import (
	"time"

	"verdictd/internal/nfq"
	"verdictd/internal/vocabulary"
)

// reading tells how much of what has come to a worker's queue was read. Who was stopped, or waited for a CPU, finds
// packets in the socket that came in time, and gives up nothing that waits for one of them.
type reading struct {
	// now is the batch's time, by which packets and names wait, and received what the clock said then.
	now, received int64
	// All that came until past was judged.
	past int64
	// Packets were judged since the socket was read empty, or since as many were judged as the queue takes, which was
	// at a time.
	packets uint32
	since   int64
	// The batch before was received last: a batch's own time may be later than what was read for it.
	last int64
}

// askedStep is the most that counts of a gap between two batches while the gate is asked for what packets wait for,
// which is more often (askAgain). What came while this process was stopped may be in the gate, which goes on no sooner
// than the worker, and of which the worker reads nothing.
const askedStep = int64(25 * time.Millisecond)

// begin takes a batch that is to be judged. asks: the gate was asked for the next packets of what waits.
func (r *reading) begin(b *nfq.Batch, asks bool) {
	passed := b.Received - r.received
	if asks {
		passed = min(passed, askedStep)
	}
	r.now, r.received = r.now+passed, b.Received
}

// left is how long there is until a time.
func (r *reading) left(until int64) time.Duration {
	return time.Duration(max(until-r.now-(nfq.Now()-r.received), 0))
}

// note takes a batch that was judged, of a queue of a length, or of the default one (0).
func (r *reading) note(b *nfq.Batch, length uint32) {
	if length == 0 {
		length = vocabulary.DefaultQueueLength
	}
	r.packets += uint32(len(b.Packets))
	switch {
	case b.All:
		r.past = r.last
	case r.packets >= length:
		r.past = r.since // what waited then had places in the queue
	default:
		r.last = r.now
		return
	}
	r.packets, r.since, r.last = 0, r.now, r.now
}

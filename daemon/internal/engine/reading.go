package engine

import (
	"verdictd/internal/nfq"
	"verdictd/internal/vocabulary"
)

// reading tells how much of what has come to a worker's queue was read. Who was stopped, or waited for a CPU, finds
// packets in the socket that came in time, and gives up nothing that waits for one of them.
type reading struct {
	// All that came until past was judged.
	past int64
	// Packets were judged since the socket was read empty, or since as many were judged as the queue takes, which was
	// at a time.
	packets uint32
	since   int64
	// The batch before was received last: a batch's own time may be later than what was read for it.
	last int64
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
		r.last = b.Received
		return
	}
	r.packets, r.since, r.last = 0, b.Received, b.Received
}

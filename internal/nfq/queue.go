package nfq

import (
	"fmt"
	"time"

	"verdictd/internal/statistics"
	"verdictd/internal/vocabulary"
)

// Queue is one NFQUEUE, bound.
type Queue interface {
	// Run hands batches to handle, on the calling goroutine or on one of its
	// own, until Stop is called and everything that had arrived by then was
	// handled; it then returns nil. An error of handle ends it at once.
	Run(handle func(*Batch) error) error
	// Reply takes the verdict on one packet, once for each. The kernel gets it by
	// the next Flush at the latest. To be called from handle only, which may leave
	// packets for a later call.
	Reply(*Reply) error
	// Flush returns when the kernel has carried the verdicts out: each accepted
	// packet has run through the hooks behind the queue, its conntrack entry is
	// confirmed unless one of them dropped it.
	Flush() error
	// Stop makes Run return. It may be called from any goroutine.
	Stop() error
	// Leave makes Run return when the batch is handled that it has: whatever waits stays
	// for who takes the queue over. It may be called from any goroutine. Without anybody
	// who keeps the socket it is lost at Close.
	Leave() error
	// Close frees the queue. It is unbound then, unless somebody else keeps its socket. Run
	// must have returned.
	Close() error
	// Attach changes what of packets the kernel brings, from any goroutine. Only Mmsg can.
	Attach(Attached) error
	// Tune changes settings of the queue, from any goroutine. Only Mmsg can.
	Tune(Tuned) error
	// Stats is what the queue counted. To be called when Run has returned, or through
	// Config.Window.
	Stats() statistics.Transport
	// ReceiveBuffer is the size in bytes that the kernel granted.
	ReceiveBuffer() int
	// GrowReceiveBuffer asks for another size and returns what the kernel granted. Both
	// may be called from any goroutine, one at a time.
	GrowReceiveBuffer(size int) (granted int, err error)
}

// Open binds a queue with a backend; "" is BackendMmsg. It does so in the network namespace of the calling thread.
//
// Errors: *InUseError where another process holds the queue.
func Open(backend vocabulary.Backend, cfg Config) (Queue, error) {
	switch backend {
	case vocabulary.BackendMmsg, "":
		return OpenMmsg(cfg)
	case vocabulary.BackendGoNFQueue:
		return OpenGonf(cfg)
	}
	return nil, fmt.Errorf("queue %d: no backend %q; there are %s and %s", cfg.Queue, backend, vocabulary.BackendMmsg, vocabulary.BackendGoNFQueue)
}

// Batch is what one receive brought.
type Batch struct {
	// Packets are in the order in which the kernel queued them.
	Packets []Packet
	// Received is when the receive returned (see Now).
	Received int64
	// All that the socket held is in the batch (Mmsg.Next), as far as is known: Gonf has one
	// packet at a time from its library, and says so of each.
	All bool

	notes *notes // nil: nobody takes over
}

var start = time.Now()

// Now is a monotonic clock in nanoseconds, the unit of all times in this
// package. It never is 0.
func Now() int64 { return int64(time.Since(start)) + 1 }

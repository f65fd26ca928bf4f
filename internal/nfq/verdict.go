package nfq

import (
	"errors"
	"fmt"

	"verdictd/internal/vocabulary"
)

// Verdict is what the kernel shall do with a packet (NF_*): 32 bits, of which
// the upper 16 hold the queue to requeue to.
type Verdict uint32

const (
	// Drop frees the packet.
	Drop Verdict = 0
	// Accept lets it go on with the next hook function.
	Accept Verdict = 1
	// Repeat runs the hook that queued it once more, from its first function on.
	// Without a mark or a changed payload that the rules look at, it is queued
	// again for ever.
	Repeat Verdict = 4

	stolen  Verdict = 2
	requeue Verdict = 3
)

// Requeue hands the packet to another queue.
func Requeue(queue uint16) Verdict { return Verdict(queue)<<16 | requeue }

// Errors of Reply.
var (
	ErrStolen  = errors.New("verdict stolen: the kernel refuses it from user space (NF_STOLEN means that a hook function keeps the packet, and user space only has a copy); use drop, and send the copy")
	ErrVerdict = errors.New("no such verdict; there are drop, accept, repeat and requeue")
	// ErrPayloadTooLong: a changed packet must fit a netlink attribute.
	ErrPayloadTooLong = fmt.Errorf("changed payload is longer than the %d bytes that fit a netlink attribute", vocabulary.MaxCopyRange)
	// ErrNoQueue: Reply.Queue is none of this socket's.
	ErrNoQueue = errors.New("no such queue: a reply's is that of its packet")
	// ErrUnsupported: the backend's API has no way to say it.
	ErrUnsupported = errors.New("not supported by this backend")
)

// MaxTag is above all tags: what follows tells the refusals of verdicts on packets that
// another process had.
const (
	MaxTag   = 1 << 30
	tagAgain = 1 << 31
	tagLeft  = 1 << 30
)

// Reply is the verdict on one packet, and what to change about it.
type Reply struct {
	ID uint32
	// Queue is the packet's.
	Queue   uint16
	Verdict Verdict
	// Tag comes back in Config.OnRefused; below MaxTag.
	Tag uint32
	// Again is the packet's: ENOENT is no error then, as it may have been answered before.
	Again bool
	// Mark is set on the packet where SetMark.
	Mark    uint32
	SetMark bool
	// ConnMark is set on the packet's conntrack entry where SetConnMark, in the bits of
	// ConnMarkMask. Needs CONFIG_NETFILTER_NETLINK_GLUE_CT; a kernel without it ignores it.
	ConnMark, ConnMarkMask uint32
	SetConnMark            bool
	// Payload replaces the packet, from the IP header on, unless nil. The caller
	// sees to the checksums. Only borrowed until Reply returns.
	Payload []byte
}

// plain reports whether the reply changes nothing but the mark: a run of such can be sent
// as one message, where the mark is the same.
func (r *Reply) plain() bool { return !r.SetConnMark && r.Payload == nil }

func (r *Reply) validate() error {
	switch r.Verdict & 0xffff {
	case Drop, Accept, Repeat:
		if r.Verdict>>16 != 0 {
			return fmt.Errorf("verdict %#x: %w", uint32(r.Verdict), ErrVerdict)
		}
	case requeue:
	case stolen:
		return ErrStolen
	default:
		return fmt.Errorf("verdict %#x: %w", uint32(r.Verdict), ErrVerdict)
	}
	if len(r.Payload) > vocabulary.MaxCopyRange {
		return fmt.Errorf("%d bytes: %w", len(r.Payload), ErrPayloadTooLong)
	}
	return nil
}

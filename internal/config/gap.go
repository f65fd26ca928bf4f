package config

import (
	"fmt"
	"math/bits"
	"time"

	"verdictd/internal/vocabulary"
)

// A Gap is a time in which no daemon reads, as while one is restarted: packets come at a
// rate, in packets a second, and wait. Bytes is how much of each is copied to the daemon.
type Gap struct {
	Rate   int
	Length time.Duration
	Bytes  int
}

// packets that come within it.
func (g Gap) packets() int64 { return int64(g.Rate) * int64(g.Length) / int64(time.Second) }

// messageCost is at least what the kernel accounts for a packet in a netlink socket's
// receive buffer, in bytes: struct sk_buff and a buffer of a power of two for the packet,
// what is told of it and struct skb_shared_info (nfqnl_build_packet_message, alloc_skb).
// Seen on Linux 6.18: 832 for 100 bytes, 1280 for 400, 2304 for 1000.
func messageCost(bytes int) int64 { return 256 + 1<<bits.Len(uint(bytes+511)) }

// gateLength is how many packets each queue of the gate takes.
const gateLength = 65535

// Room is what a queue needs so that it loses nothing in a gap of which all packets are
// its own: max_length in packets, and receive_buffer in bytes.
func (q *Queues) Room(g Gap) (length, buffer int64) {
	length = g.packets() + int64(q.Batch)
	// The kernel takes twice what it is told.
	return length, (length*messageCost(g.Bytes) + 1) / 2
}

// Bears says in words, one a setting, what has to be changed so that the queues lose
// nothing in a gap: all of its packets may be one queue's. No words: nothing.
func (c *Config) Bears(g Gap) (words []string) {
	q := &c.Queues
	length := int64(q.MaxLength)
	need, buffer := q.Room(g)
	if length == 0 {
		length = vocabulary.DefaultQueueLength
	}
	if length < need {
		words = append(words, fmt.Sprintf("queues.max_length is %d: %d packets come within %v at %d a second; set it to %d", length, g.packets(), g.Length, g.Rate, need))
	}
	if int64(q.ReceiveBuffer) < buffer {
		text := fmt.Sprintf("queues.receive_buffer is %d: %d packets of which %d bytes are copied need %d; set it to that", q.ReceiveBuffer, need, g.Bytes, buffer)
		if q.CopyRange != CopyAuto {
			text += ", or queues.copy_range to auto, with which no more is copied than the policy looks at"
		}
		words = append(words, text)
	}
	if c.Guard.Mode != vocabulary.GuardOff && g.packets() > gateLength {
		words = append(words, fmt.Sprintf("the gate's queues hold %d packets each: where all are of new flows, or guard.settled is false, further ones pass unguarded; more threads (guard.queues) hold more", gateLength))
	}
	return words
}

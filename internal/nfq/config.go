package nfq

import (
	"errors"
	"fmt"
	"slices"
	"time"

	"golang.org/x/sys/unix"

	"verdictd/internal/statistics"
	"verdictd/internal/vocabulary"
)

// CopyMode says how much of a packet the kernel hands over
// (NFQA_CFG_PARAMS).
type CopyMode uint8

const (
	// CopyPacket brings the packet up to Config.CopyRange.
	CopyPacket CopyMode = iota
	// CopyMeta brings no byte of the packet, only what the kernel knows of it.
	CopyMeta
)

// maxQueues bounds the queues of a socket, which are searched for each packet.
const maxQueues = 256

// DefaultBatch is the number of packets that one receive brings at most.
const DefaultBatch = 64

// Config says how a queue is set up. The zero value is queue 0 with the
// kernel's defaults.
type Config struct {
	// Queue is the queue's number.
	Queue uint16
	// MoreQueues are the numbers of further queues with the same socket, so that the
	// packets of all arrive in one order; Packet.Queue tells which one a packet came
	// from. Only Mmsg has them.
	MoreQueues []uint16
	// MaxLength is how many packets the kernel holds for the queue before it
	// drops; 0 means the kernel's default, 1,024.
	MaxLength uint32
	// CopyMode and CopyRange say how much of each packet is brought. CopyRange
	// is in bytes; 0 means vocabulary.MaxCopyRange. A packet that was cut has a CapLen
	// longer than its payload.
	CopyMode  CopyMode
	CopyRange uint32
	// CopyMost is how far Attach may raise CopyRange, in bytes: packets are received into
	// memory that is laid out for it, and of which only what they fill is used. 0: no
	// further than CopyRange. Only Mmsg looks at it.
	CopyMost uint32
	// FailOpen accepts what a full queue, or a full receive buffer, would drop.
	// Neither drop counter moves then (NFQA_CFG_F_FAIL_OPEN, Linux 3.6). Such a
	// packet goes on at once, before all that wait: within a flow it overtakes them,
	// and where the queue is behind conntrack's lookup it is confirmed before the
	// first packet is, which then clashes.
	FailOpen bool
	// GSO takes packets as they are: longer than the MTU, with checksums still to
	// be computed. Without it the kernel segments and computes before it queues
	// (NFQA_CFG_F_GSO, Linux 3.10).
	GSO bool
	// Conntrack attaches the packet's conntrack entry (NFQA_CFG_F_CONNTRACK,
	// Linux 3.6). A kernel without CONFIG_NETFILTER_NETLINK_GLUE_CT refuses it.
	Conntrack bool
	// UIDGID attaches the owner of the socket that sent the packet
	// (NFQA_CFG_F_UID_GID, Linux 3.17).
	UIDGID bool
	// ReceiveBuffer is the socket's receive buffer in bytes; 0 leaves the
	// system's default.
	ReceiveBuffer int
	// Batch is how many packets one receive brings at most; 0 means
	// DefaultBatch. Only Mmsg looks at it.
	Batch int
	// OnThread, if set, is called once on the OS thread that will receive,
	// before the first packet is handled: the place to pin it. Only Mmsg calls it.
	OnThread func() error
	// Wait, if set, is asked on that thread whenever nothing is there to be received, and
	// is how long Run waits for it (nfnl.Forever: without end). When that is over, handle is
	// called with an empty batch. Only Mmsg calls it.
	Wait func() time.Duration
	// OnRefused, if set, is called for a verdict that the kernel refused, with its
	// Reply.Tag: ENOENT says that the packet is gone. That is while the messages
	// behind it are received, before Run or Next hand them over, and must not call the
	// queue. Of verdicts that were joined it is told the highest id and its tag, and
	// nothing where some of the packets were still there. A refusal is lost where the
	// receive buffer is full. Only Mmsg calls it.
	OnRefused func(tag uint32, id uint32, errno unix.Errno)
	// Window lets others look at what the receiving thread owns, Queue.Stats included,
	// while it waits for packets; nil: nobody looks. Run shuts it between; who calls
	// Mmsg.Next instead shuts it before the first call, and opens it behind the last.
	Window *statistics.Window

	// Socket is the descriptor of a socket that another process has bound to the queues;
	// 0: they are to be bound. Only Mmsg takes one over.
	Socket int
	// Memory is where packets are while they are judged; nil: in memory that goes with
	// the process. With Socket it holds those that the other process has read: they are
	// handed out first. The queue closes it. Only Mmsg looks at it.
	Memory Memory
	// OnDeadly, if set, is called on the thread that receives with a packet at whose
	// judging two processes ended, one after the other. It is dropped and not handed out.
	OnDeadly func(*Packet)
}

// numbers are those of all queues.
func (c *Config) numbers() []uint16 { return append([]uint16{c.Queue}, c.MoreQueues...) }

func (c *Config) flags() uint32 {
	var f uint32
	for _, o := range c.options() {
		if o.on {
			f |= o.flag
		}
	}
	return f
}

// option ties a flag to the words of an error about it.
type option struct {
	on    bool
	flag  uint32
	name  string
	since string
}

func (c *Config) options() [4]option {
	return [4]option{
		{c.FailOpen, cfgFailOpen, "FailOpen (NFQA_CFG_F_FAIL_OPEN)", "Linux 3.6 or later"},
		{c.GSO, cfgGSO, "GSO (NFQA_CFG_F_GSO)", "Linux 3.10 or later"},
		{c.Conntrack, cfgConntrack, "Conntrack (NFQA_CFG_F_CONNTRACK)", "CONFIG_NETFILTER_NETLINK_GLUE_CT and the module nf_conntrack_netlink"},
		{c.UIDGID, cfgUIDGID, "UIDGID (NFQA_CFG_F_UID_GID)", "Linux 3.17 or later"},
	}
}

// copyRange is how many bytes a number means.
func copyRange(n uint32) uint32 {
	if n == 0 {
		return vocabulary.MaxCopyRange
	}
	return n
}

// room is how many bytes of a packet are received.
func (c *Config) room() int { return int(max(copyRange(c.CopyRange), c.CopyMost)) }

func (c *Config) batch() int {
	if c.Batch == 0 {
		return DefaultBatch
	}
	return c.Batch
}

// Validate returns every problem of the configuration.
func (c *Config) Validate() error {
	var errs []error
	if c.CopyMode > CopyMeta {
		errs = append(errs, fmt.Errorf("copy mode %d: only CopyPacket and CopyMeta are verdicts' modes; the kernel drops what is queued with NFQNL_COPY_NONE", c.CopyMode))
	}
	if n := max(c.CopyRange, c.CopyMost); n > vocabulary.MaxCopyRange {
		errs = append(errs, fmt.Errorf("copy range %d: at most %d bytes fit a netlink attribute", n, vocabulary.MaxCopyRange))
	}
	if c.Batch < 0 || c.Batch > vocabulary.MaxBatch {
		errs = append(errs, fmt.Errorf("batch of %d packets: recvmmsg takes 1 to %d", c.Batch, vocabulary.MaxBatch))
	}
	numbers := c.numbers()
	for i, n := range numbers {
		if slices.Contains(numbers[:i], n) {
			errs = append(errs, fmt.Errorf("queue %d is named twice", n))
		}
	}
	if len(numbers) > maxQueues {
		errs = append(errs, fmt.Errorf("%d queues: at most %d", len(numbers), maxQueues))
	}
	if c.ReceiveBuffer < 0 {
		errs = append(errs, fmt.Errorf("receive buffer of %d bytes: must not be negative", c.ReceiveBuffer))
	}
	return errors.Join(errs...)
}

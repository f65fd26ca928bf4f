package nfq

import (
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"sync/atomic"

	"github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"

	"verdictd/internal/nfnl"
)

// Messages of the queue subsystem.
var (
	typePacket       = nfnl.Type(unix.NFNL_SUBSYS_QUEUE, nfqnlMsgPacket)
	typeVerdict      = nfnl.Type(unix.NFNL_SUBSYS_QUEUE, nfqnlMsgVerdict)
	typeConfig       = nfnl.Type(unix.NFNL_SUBSYS_QUEUE, nfqnlMsgConfig)
	typeVerdictBatch = nfnl.Type(unix.NFNL_SUBSYS_QUEUE, nfqnlMsgVerdictBatch)
)

// messageOverhead is room for everything in a packet message besides the
// payload: headers, some 20 fixed attributes, the conntrack entry, a security
// context.
const messageOverhead = 4096

// flushAt is the length in bytes at which replies are sent without waiting for
// Flush: well below the smallest usual send buffer (net.core.wmem_default,
// 212,992), over which the kernel refuses a message.
const flushAt = 128 << 10

// Mmsg is the backend that receives and replies in batches.
type Mmsg struct {
	cfg     Config
	numbers []uint16 // of all queues: Queue and Others
	socket  *nfnl.Socket
	recv    *nfnl.Receiver
	filled  int // datagrams that recv holds and Run has not handled yet
	batch   Batch
	// emptyAt is the last moment at which the socket was surely empty.
	emptyAt int64
	stop    atomic.Bool
	stats   Stats

	replies nfnl.Encoder
	// What is laid out in replies, for sending an unbroken run as one message.
	outstanding int // packets of the batch without a reply
	pending     int // replies laid out
	uniform     bool
	first       Verdict
	of          uint8
	lastID      uint32
}

// OpenMmsg binds the queues in the network namespace of the calling thread. It
// returns when the kernel has acknowledged the whole configuration.
//
// Errors: *InUseError where another process holds the queue.
func OpenMmsg(cfg Config) (*Mmsg, error) {
	if err := cfg.Validate(); err != nil {
		return nil, fmt.Errorf("queue %d: %w", cfg.Queue, err)
	}
	socket, err := nfnl.Dial(nfnl.Config{ReceiveBuffer: cfg.ReceiveBuffer})
	if err != nil {
		return nil, fmt.Errorf("queue %d: %w", cfg.Queue, err)
	}
	q := &Mmsg{
		cfg:     cfg,
		numbers: cfg.numbers(),
		socket:  socket,
		recv:    nfnl.NewReceiver(cfg.batch(), int(cfg.copyRange())+messageOverhead),
	}
	q.batch.Packets = make([]Packet, 0, cfg.batch())
	if err := q.bind(); err != nil {
		return nil, errors.Join(err, socket.Close())
	}
	return q, nil
}

// bind sends the whole configuration of a queue as one message. The kernel carries
// it out before it queues anything, so that no packet meets a half-configured
// queue (between bind and copy mode it would be dropped). The messages of all
// queues go together, as a receive for each one's answer could bring packets.
func (q *Mmsg) bind() error {
	var messages []netlink.Message
	for _, number := range q.numbers {
		m, err := configMessage(&q.cfg, number)
		if err != nil {
			return fmt.Errorf("queue %d: lay out configuration: %w", number, err)
		}
		messages = append(messages, m)
	}
	seqs, err := q.socket.Control(messages...)
	if err != nil {
		return fmt.Errorf("queue %d: %w", q.cfg.Queue, err)
	}
	// The kernel answered within Control's system call, so a refusal, or else the
	// acknowledgement of the last message, is there, behind at most those packets
	// that came within these microseconds. Those stay in the receiver, for Run to
	// begin with.
	n, err := q.recv.Receive(q.socket, true)
	if err != nil {
		return fmt.Errorf("queue %d: await acknowledgement: %w", q.cfg.Queue, err)
	}
	for i := range n {
		b, _ := q.recv.Datagram(i)
		m, _, ok := nfnl.Next(b)
		at := slices.Index(seqs, m.Seq)
		if !ok || at < 0 {
			continue
		}
		errno, ok := m.Ack()
		if !ok {
			continue
		}
		if errno != 0 {
			refused := q.cfg
			refused.Queue = q.numbers[at]
			return explainRefusal(&refused, errno)
		}
		q.filled = n
		return nil
	}
	return fmt.Errorf("queue %d: %d packets arrived before the kernel acknowledged the configuration; raise Batch", q.cfg.Queue, n)
}

func configMessage(cfg *Config, queue uint16) (netlink.Message, error) {
	enc := netlink.NewAttributeEncoder()
	enc.ByteOrder = binary.BigEndian
	enc.Bytes(nfqaCfgCmd, []byte{cfgCmdBind, 0, 0, 0})
	mode := byte(copyPacket)
	if cfg.CopyMode == CopyMeta {
		mode = copyMeta
	}
	enc.Bytes(nfqaCfgParams, append(binary.BigEndian.AppendUint32(nil, cfg.copyRange()), mode))
	if cfg.MaxLength != 0 {
		enc.Uint32(nfqaCfgQueueMaxLen, cfg.MaxLength)
	}
	if f := cfg.flags(); f != 0 {
		// Not sent where none is wished: kernels before 3.6 know neither.
		enc.Uint32(nfqaCfgFlags, f)
		enc.Uint32(nfqaCfgMask, f)
	}
	return controlMessage(queue, enc)
}

func controlMessage(queue uint16, enc *netlink.AttributeEncoder) (netlink.Message, error) {
	attrs, err := enc.Encode()
	if err != nil {
		return netlink.Message{}, err
	}
	body := append([]byte{unix.AF_UNSPEC, unix.NFNETLINK_V0, byte(queue >> 8), byte(queue)}, attrs...)
	return netlink.Message{Header: netlink.Header{Type: netlink.HeaderType(typeConfig)}, Data: body}, nil
}

// Run implements Queue.
func (q *Mmsg) Run(handle func(*Batch) error) error {
	if q.cfg.OnThread != nil {
		if err := q.cfg.OnThread(); err != nil {
			return fmt.Errorf("queue %d: %w", q.cfg.Queue, err)
		}
	}
	for {
		more, err := q.receive()
		if err != nil {
			return fmt.Errorf("queue %d: %w", q.cfg.Queue, err)
		}
		if !more {
			return nil
		}
		if len(q.batch.Packets) == 0 {
			continue
		}
		q.stats.Batches++
		q.outstanding = len(q.batch.Packets)
		if err := handle(&q.batch); err != nil {
			return fmt.Errorf("queue %d: %w", q.cfg.Queue, err)
		}
	}
}

// receive fills q.batch; more is false when the queue was stopped and the
// socket is empty.
//
// It first tries without waiting: only of a call that did not wait is it known
// when, at the earliest, it saw the socket empty. A sighting at the end of one
// call holds for the packets of the next.
func (q *Mmsg) receive() (more bool, err error) {
	n := q.filled
	q.filled = 0
	q.batch.EmptyAt = q.emptyAt
	if n == 0 {
		before := Now()
		n, err = q.recv.Receive(q.socket, false)
		if n < q.recv.Len() {
			q.emptyAt = before
		}
		if errors.Is(err, nfnl.ErrWouldBlock) {
			if q.stop.Load() {
				return false, nil
			}
			q.batch.EmptyAt = before
			n, err = q.wait()
		}
		if err != nil {
			return false, err
		}
	}
	q.batch.Received = Now()
	q.decode(n)
	return true, nil
}

func (q *Mmsg) wait() (int, error) {
	if q.cfg.OnWait != nil {
		q.cfg.OnWait(true)
		defer q.cfg.OnWait(false)
	}
	return q.recv.Receive(q.socket, true)
}

// decode turns n datagrams into q.batch.Packets.
func (q *Mmsg) decode(n int) {
	packets := q.batch.Packets[:0]
	for i := range n {
		b, whole := q.recv.Datagram(i)
		m, _, ok := nfnl.Next(b)
		switch {
		case !ok || !whole:
			q.stats.Malformed++
		case m.Type == typePacket:
			packets = packets[:len(packets)+1]
			p := &packets[len(packets)-1]
			if known := p.decode(m.Attributes()); !known || !q.setOf(p, m) {
				packets = packets[:len(packets)-1]
				q.stats.Malformed++
			}
		default:
			// An acknowledgement is Stop's; a refusal concerns a verdict.
			if errno, ok := m.Ack(); ok && errno != 0 {
				q.stats.VerdictErrors++
			}
		}
	}
	q.batch.Packets = packets
}

// setOf finds out which queue a packet came from.
func (q *Mmsg) setOf(p *Packet, m nfnl.Message) bool {
	number, _ := m.Resource()
	for i, n := range q.numbers {
		if n == number {
			p.Of = uint8(i)
			return true
		}
	}
	return false
}

// Reply implements Queue.
func (q *Mmsg) Reply(r *Reply) error {
	if err := r.validate(); err != nil {
		return fmt.Errorf("queue %d: packet %d: %w", q.cfg.Queue, r.ID, err)
	}
	if int(r.Of) >= len(q.numbers) {
		return fmt.Errorf("queue %d: packet %d: %w", q.cfg.Queue, r.ID, ErrNoQueue)
	}
	if q.pending == 0 {
		q.uniform, q.first, q.of = true, r.Verdict, r.Of
	}
	q.uniform = q.uniform && r.plain() && r.Verdict == q.first && r.Of == q.of
	q.pending++
	q.lastID = r.ID

	e := &q.replies
	e.Begin(typeVerdict, unix.AF_UNSPEC, q.numbers[r.Of])
	e.Uint32Pair(nfqaVerdictHdr, uint32(r.Verdict), r.ID)
	if r.SetMark {
		e.Uint32(nfqaMark, r.Mark)
	}
	if r.SetConnMark {
		nest := e.BeginNested(nfqaCT)
		e.Uint32(ctaMark, r.ConnMark)
		e.EndNested(nest)
	}
	if r.Payload != nil {
		e.Raw(nfqaPayload, r.Payload)
	}
	e.End()
	if e.Len() >= flushAt {
		return q.Flush()
	}
	return nil
}

// Flush implements Queue.
//
// Where every packet of the batch is of one queue and got the same plain verdict,
// one message says so: NFQNL_MSG_VERDICT_BATCH applies to all packets of a queue up
// to an id, so it must not be used while an earlier one is to be answered otherwise
// or later.
func (q *Mmsg) Flush() error {
	if q.pending == 0 {
		return nil
	}
	e := &q.replies
	if q.uniform && q.pending == q.outstanding && q.pending > 1 {
		e.Reset()
		e.Begin(typeVerdictBatch, unix.AF_UNSPEC, q.numbers[q.of])
		e.Uint32Pair(nfqaVerdictHdr, uint32(q.first), q.lastID)
		e.End()
	}
	q.outstanding -= q.pending
	q.pending = 0
	err := q.socket.Send(e.Bytes())
	e.Reset()
	if err != nil {
		return fmt.Errorf("queue %d: reply: %w", q.cfg.Queue, err)
	}
	return nil
}

// Stop implements Queue. A command that the kernel acknowledges and else ignores
// (PF_BIND, since Linux 3.8) wakes a receive that waits: a netlink socket cannot
// be shut down, and the acknowledgement takes its place behind the packets that
// have arrived.
func (q *Mmsg) Stop() error {
	q.stop.Store(true)
	enc := netlink.NewAttributeEncoder()
	enc.Bytes(nfqaCfgCmd, []byte{cfgCmdPFBind, 0, 0, 0})
	m, err := controlMessage(q.cfg.Queue, enc)
	if err == nil {
		_, err = q.socket.Control(m)
	}
	if err != nil {
		return fmt.Errorf("queue %d: stop: %w", q.cfg.Queue, err)
	}
	return nil
}

// Close implements Queue.
func (q *Mmsg) Close() error {
	if err := q.socket.Close(); err != nil {
		return fmt.Errorf("queue %d: close: %w", q.cfg.Queue, err)
	}
	return nil
}

// Stats implements Queue.
func (q *Mmsg) Stats() Stats { return q.stats }

// ReceiveBuffer implements Queue.
func (q *Mmsg) ReceiveBuffer() int { return q.socket.ReceiveBuffer() }

package nfq

import (
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"sync/atomic"
	"time"

	"github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"

	"verdictd/internal/nfnl"
	"verdictd/internal/statistics"
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
	cfg    Config
	socket *nfnl.Socket
	recv   *nfnl.Receiver
	filled int // datagrams that recv holds and nobody has seen yet
	batch  Batch
	stop   atomic.Bool
	stats  statistics.Transport

	verdicts verdicts
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
		cfg:    cfg,
		socket: socket,
		recv:   nfnl.NewReceiver(cfg.batch(), int(cfg.copyRange())+messageOverhead),
	}
	q.verdicts = newVerdicts(cfg.numbers())
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
	for _, number := range q.verdicts.numbers {
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
			refused.Queue = q.verdicts.numbers[at]
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
		// Not sent where none is set: kernels before 3.6 know neither.
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
	q.cfg.Window.Shut()
	defer q.cfg.Window.Open()
	if q.cfg.OnThread != nil {
		if err := q.cfg.OnThread(); err != nil {
			return fmt.Errorf("queue %d: %w", q.cfg.Queue, err)
		}
	}
	for {
		some, err := q.receive(false)
		if err == nil && !some {
			if q.stop.Load() {
				return nil
			}
			_, err = q.receive(true)
		}
		if err != nil {
			return fmt.Errorf("queue %d: %w", q.cfg.Queue, err)
		}
		if len(q.batch.Packets) == 0 {
			continue
		}
		if err := handle(&q.batch); err != nil {
			return fmt.Errorf("queue %d: %w", q.cfg.Queue, err)
		}
	}
}

// Next is one turn of Run for who has more to do than to receive. It returns what
// the socket holds; if that is nothing it waits for the next packet, but no longer
// than wait (nfnl.Forever: without end; 0: not at all), nor after wake was rung (nil:
// nobody rings). It may return earlier with a batch that is empty, as refusals of
// verdicts arrive on the same socket. The batch is valid until the next call.
func (q *Mmsg) Next(wake *nfnl.Alarm, wait time.Duration) (*Batch, error) {
	some, err := q.receive(false)
	if err == nil && !some && wait != 0 {
		q.cfg.Window.Open()
		err = q.socket.Wait(wake, wait)
		q.cfg.Window.Shut()
		if err == nil {
			some, err = q.receive(false)
		}
	}
	if err != nil {
		return nil, fmt.Errorf("queue %d: %w", q.cfg.Queue, err)
	}
	if !some {
		q.batch.Packets, q.batch.Received, q.batch.All = q.batch.Packets[:0], Now(), true
	}
	return &q.batch, nil
}

// receive fills q.batch with what the socket holds, and reports whether that was
// anything, be it no packet. With wait it does not return before it was.
func (q *Mmsg) receive(wait bool) (some bool, err error) {
	n := q.filled
	q.filled = 0
	for n == 0 {
		n, err = q.fill(wait)
		switch {
		case err == nil:
		case errors.Is(err, nfnl.ErrWouldBlock):
			return false, nil
		case errors.Is(err, unix.ENOBUFS):
			// The kernel had no memory to say that it refuses a verdict (netlink_ack): it
			// tells so though NETLINK_NO_ENOBUFS is set. Nothing else is lost.
			q.stats.VerdictErrors++
			q.stats.NoBuffers++
		default:
			return false, err
		}
	}
	q.batch.Received, q.batch.All = Now(), n < q.cfg.batch()
	q.decode(n)
	if len(q.batch.Packets) > 0 {
		q.stats.Batches++
	}
	return true, nil
}

// fill has the receiver take datagrams. While it waits, others may look at what the
// thread owns.
func (q *Mmsg) fill(wait bool) (n int, err error) {
	if wait {
		q.cfg.Window.Open()
		defer q.cfg.Window.Shut()
	}
	return q.recv.Receive(q.socket, wait)
}

// decode turns n datagrams into q.batch.Packets.
func (q *Mmsg) decode(n int) {
	q.batch.Packets = q.batch.Packets[:0]
	for i := range n {
		b, whole := q.recv.Datagram(i)
		m, ok := nfnl.Head(b)
		switch {
		case !ok:
			q.stats.Malformed++
			q.verdicts.unknown = true // it may have been a packet
		case m.Type == typePacket:
			_, _, complete := nfnl.Next(b)
			q.take(m, whole && complete)
		default:
			q.refused(m)
		}
	}
}

// take adds the packet in a message to the batch. One that was cut off, or is no
// message that the kernel makes, is handed on with what could be read, as it waits for
// a verdict like any other. There is none only for a packet without an id.
func (q *Mmsg) take(m nfnl.Message, whole bool) {
	packets := q.batch.Packets[:len(q.batch.Packets)+1]
	p := &packets[len(packets)-1]
	decoded := p.decode(m.Attributes())
	p.Queue, _ = m.Resource()
	if !decoded || !q.verdicts.received(p.Queue) {
		q.stats.Malformed++
		q.verdicts.unknown = true
		return
	}
	if !whole {
		q.stats.Malformed++
	}
	q.batch.Packets = packets
}

// refused counts a verdict that the kernel refused. An acknowledgement without a
// refusal is Stop's.
func (q *Mmsg) refused(m nfnl.Message) {
	errno, ok := m.Ack()
	if !ok || errno == 0 {
		return
	}
	q.stats.VerdictErrors++
	if q.cfg.OnRefused == nil {
		return
	}
	sent, ok := m.Echo()
	if !ok || sent.Type != typeVerdict && sent.Type != typeVerdictBatch {
		return
	}
	if id, ok := verdictID(sent.Attributes()); ok {
		q.cfg.OnRefused(sent.Seq, id, errno)
	}
}

// Reply implements Queue.
func (q *Mmsg) Reply(r *Reply) error {
	if err := r.validate(); err != nil {
		return fmt.Errorf("queue %d: packet %d: %w", q.cfg.Queue, r.ID, err)
	}
	if err := q.verdicts.add(r); err != nil {
		return fmt.Errorf("queue %d: packet %d: %w", r.Queue, r.ID, err)
	}
	if q.verdicts.enc.Len() >= flushAt {
		return q.Flush()
	}
	return nil
}

// Flush implements Queue.
func (q *Mmsg) Flush() error {
	if q.verdicts.pending == 0 {
		return nil
	}
	if err := q.socket.Send(q.verdicts.take()); err != nil {
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
func (q *Mmsg) Stats() statistics.Transport { return q.stats }

// ReceiveBuffer implements Queue.
func (q *Mmsg) ReceiveBuffer() int { return q.socket.ReceiveBuffer() }

// GrowReceiveBuffer implements Queue.
func (q *Mmsg) GrowReceiveBuffer(size int) (granted int, err error) {
	if granted, err = q.socket.GrowReceiveBuffer(size); err != nil {
		return granted, fmt.Errorf("queue %d: %w", q.cfg.Queue, err)
	}
	return granted, nil
}

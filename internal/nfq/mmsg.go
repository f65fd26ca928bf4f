package nfq

import (
	"errors"
	"fmt"
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
	// journal has the datagrams: filled of them were not looked at yet, used of them were.
	journal      *journal
	filled, used int
	left         left     // by another process
	changes      []uint32 // numbers of messages that change what was taken over
	batch        Batch
	end          atomic.Int32
	turn         nfnl.Turn
	stats        statistics.Transport

	verdicts verdicts
}

// How Run ends.
const (
	running int32 = iota
	stopping
	leaving
)

// OpenMmsg binds the queues in the network namespace of the calling thread. It
// returns when the kernel has acknowledged the whole configuration. Queues that
// Config.Socket has already are taken over as they are: see takeOver.
//
// Errors: *InUseError where another process holds the queue; ErrNotOurs where
// Config.Socket is none that has the queues; ErrVersion where nobody can tell what is in
// Config.Memory. The descriptor stays open then.
func OpenMmsg(cfg Config) (*Mmsg, error) {
	if err := cfg.Validate(); err != nil {
		return nil, fmt.Errorf("queue %d: %w", cfg.Queue, err)
	}
	if cfg.Memory == nil {
		cfg.Memory = &private{}
	}
	journal, err := openJournal(cfg.Memory, cfg.batch(), cfg.room()+messageOverhead)
	if err != nil {
		return nil, fmt.Errorf("queue %d: %w", cfg.Queue, err)
	}
	q := &Mmsg{cfg: cfg, journal: journal}
	q.verdicts = newVerdicts(cfg.numbers())
	q.batch.Packets, q.batch.notes = make([]Packet, 0, journal.recv.Len()), journal.notes
	if cfg.Socket > 0 {
		return q, q.takeOver()
	}
	q.journal.clear(q.journal.recv.Len()) // it is of queues that are gone
	if q.socket, err = nfnl.Dial(nfnl.Config{ReceiveBuffer: cfg.ReceiveBuffer}); err != nil {
		return nil, fmt.Errorf("queue %d: %w", cfg.Queue, err)
	}
	if err := q.bind(); err != nil {
		return nil, errors.Join(err, q.socket.Close())
	}
	return q, nil
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
		end := q.end.Load()
		if end == leaving {
			q.Handled()
			return nil
		}
		some, err := q.receive(false)
		if err == nil && !some {
			if end == stopping {
				return nil
			}
			some, err = q.await()
		}
		if err != nil {
			return fmt.Errorf("queue %d: %w", q.cfg.Queue, err)
		}
		if some && len(q.batch.Packets) == 0 {
			continue
		}
		if err := handle(&q.batch); err != nil {
			return fmt.Errorf("queue %d: %w", q.cfg.Queue, err)
		}
	}
}

// await fills q.batch with what comes next, and reports whether that was anything before
// the time that Config.Wait says. Else the batch is empty.
func (q *Mmsg) await() (some bool, err error) {
	wait := nfnl.Forever
	if q.cfg.Wait != nil {
		wait = q.cfg.Wait()
	}
	if wait == nfnl.Forever {
		return q.receive(true)
	}
	q.cfg.Window.Open()
	err = q.socket.Wait(nil, wait)
	q.cfg.Window.Shut()
	if err == nil {
		some, err = q.receive(false)
	}
	if !some {
		q.nothing()
	}
	return some, err
}

// nothing empties the batch.
func (q *Mmsg) nothing() {
	q.batch.Packets, q.batch.Received, q.batch.All = q.batch.Packets[:0], Now(), true
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
		q.nothing()
	}
	return &q.batch, nil
}

// receive fills q.batch with what the socket holds, and reports whether that was
// anything, be it no packet. With wait it does not return before it was.
func (q *Mmsg) receive(wait bool) (some bool, err error) {
	if q.left.some {
		return q.answerLeft()
	}
	q.turn.Over(q.batch.Received, Now)
	n := q.filled
	q.filled = 0
	if q.used > 0 {
		q.journal.clear(q.used) // whoever had them has answered or kept them
		q.used = 0
	}
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
	q.used = n
	q.batch.Received, q.batch.All = Now(), n < q.journal.recv.Len()
	if err := q.decode(n); err != nil {
		return false, err
	}
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
	return q.journal.recv.Receive(q.socket, wait)
}

// decode turns n datagrams into q.batch.Packets.
func (q *Mmsg) decode(n int) error {
	q.batch.Packets = q.batch.Packets[:0]
	for i := range n {
		b, whole := q.journal.recv.Datagram(i)
		if typ, queue, attributes, complete := nfnl.Peek(b); typ == typePacket {
			q.take(queue, attributes, whole && complete, i)
			continue
		}
		m, ok := nfnl.Head(b)
		if !ok {
			q.stats.Malformed++
			q.verdicts.unknown = true // it may have been a packet
			continue
		}
		if err := q.refused(m); err != nil {
			return err
		}
	}
	return nil
}

// take adds the packet in a message of a queue to the batch. One that was cut off, or is no
// message that the kernel makes, is handed on with what could be read, as it waits for
// a verdict like any other. There is none only for a packet without an id.
func (q *Mmsg) take(queue uint16, attributes nfnl.Attributes, whole bool, at int) {
	packets := q.batch.Packets[:len(q.batch.Packets)+1]
	p := &packets[len(packets)-1]
	decoded := p.decode(attributes)
	p.Queue, p.place = queue, uint32(at+1)
	if !decoded || !q.verdicts.received(queue) {
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
// refusal is Stop's, or that of what takeOver has changed.
func (q *Mmsg) refused(m nfnl.Message) error {
	errno, ok := m.Ack()
	if !ok || errno == 0 {
		return nil
	}
	sent, ok := m.Echo()
	if ok && sent.Type == typeConfig {
		return q.notChanged(sent, errno)
	}
	tag := sent.Seq
	if errno != unix.ENOENT || tag&tagAgain == 0 {
		q.stats.VerdictErrors++
		if tag&tagLeft != 0 {
			q.stats.LeftVanished++
		}
	}
	if !ok || q.cfg.OnRefused == nil || sent.Type != typeVerdict && sent.Type != typeVerdictBatch {
		return nil
	}
	if id, ok := verdictID(sent.Attributes()); ok {
		q.cfg.OnRefused(tag&^(tagAgain|tagLeft), id, errno)
	}
	return nil
}

// Reply implements Queue.
func (q *Mmsg) Reply(r *Reply) error {
	if err := r.validate(); err != nil {
		return fmt.Errorf("queue %d: packet %d: %w", q.cfg.Queue, r.ID, err)
	}
	if err := q.verdicts.add(r); err != nil {
		return fmt.Errorf("queue %d: packet %d: %w", r.Queue, r.ID, err)
	}
	if q.verdicts.length() >= flushAt {
		return q.Flush()
	}
	return nil
}

// Flush implements Queue.
func (q *Mmsg) Flush() error {
	for !q.verdicts.empty() {
		if err := q.socket.Send(q.verdicts.take()); err != nil {
			return fmt.Errorf("queue %d: reply: %w", q.cfg.Queue, err)
		}
	}
	return nil
}

// Handled tells that nothing is left to do for the packets of the last batch, where no
// call of Next follows.
func (q *Mmsg) Handled() {
	if !q.left.some {
		q.journal.clear(q.used)
		q.used = 0
	}
}

// Stop implements Queue. A command that the kernel acknowledges and else ignores
// (PF_BIND, since Linux 3.8) wakes a receive that waits: a netlink socket cannot
// be shut down, and the acknowledgement takes its place behind the packets that
// have arrived.
func (q *Mmsg) Stop() error {
	return q.wake(stopping)
}

// Leave implements Queue.
func (q *Mmsg) Leave() error { return q.wake(leaving) }

func (q *Mmsg) wake(end int32) error {
	q.end.Store(end)
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
	if err := errors.Join(q.socket.Close(), q.cfg.Memory.Close()); err != nil {
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

package nfq

import (
	"errors"
	"fmt"
	"slices"

	"github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"

	"verdictd/internal/nfnl"
)

// ErrNotOurs says that a socket is not bound to the queues in this network namespace.
var ErrNotOurs = errors.New("the socket does not have the queue in this network namespace")

// left are packets that a process before this one had read: they wait for an answer, and
// come in the journal only.
type left struct {
	some bool
	next int // place to look at
	sent int // those before it may have been answered
}

// takeOver makes the queue of a socket that is bound already.
//
// Packets wait in three places. What the other process had read and not answered is in
// the journal, and is handed out first. What the socket holds comes next, and new
// packets last, so the order stays.
//
// The configuration is sent as it is now. The kernel carries it out before Control
// returns; its refusals come behind packets, and are found when these are received:
// Run or Next fail then.
func (q *Mmsg) takeOver() (err error) {
	defer func() {
		if err != nil {
			err = fmt.Errorf("take over queue %d: %w", q.cfg.Queue, err)
		}
	}()
	q.socket, err = nfnl.Adopt(q.cfg.Socket, nfnl.Config{ReceiveBuffer: q.cfg.ReceiveBuffer})
	if errors.Is(err, nfnl.ErrNotOurs) {
		err = fmt.Errorf("%w: %w", ErrNotOurs, err)
	}
	if err != nil {
		return err
	}
	if err := q.holds(); err != nil {
		return err
	}
	q.left = left{some: true, sent: int(q.journal.sending)}
	var messages []netlink.Message
	for _, number := range q.verdicts.numbers {
		m, err := configMessage(&q.cfg, number, true)
		if err != nil {
			return err
		}
		messages = append(messages, m)
	}
	q.changes, err = q.socket.Control(messages...)
	return err
}

// holds looks whether the kernel knows the socket as that of all queues.
func (q *Mmsg) holds() error {
	queues, err := ReadKernelQueues()
	if err != nil {
		return err
	}
	for _, n := range q.verdicts.numbers {
		if !slices.ContainsFunc(queues, func(k KernelQueue) bool { return k.Queue == n && k.PortID == q.socket.PortID() }) {
			return fmt.Errorf("%w: number %d", ErrNotOurs, n)
		}
	}
	return nil
}

// notChanged is why a queue that was taken over is not as it is configured. Answers to
// the process before have other numbers.
func (q *Mmsg) notChanged(sent nfnl.Message, errno unix.Errno) error {
	if !slices.Contains(q.changes, sent.Seq) {
		return nil
	}
	return fmt.Errorf("change what was taken over: %w", explainRefusal(&q.cfg, errno))
}

// answerLeft makes a batch of the next packet that was left, one at a time: if it ends
// this process as well, those before it are answered.
func (q *Mmsg) answerLeft() (some bool, err error) {
	q.batch.Packets, q.batch.All = q.batch.Packets[:0], false
	q.verdicts.left = tagLeft
	for ; q.left.next < q.journal.recv.Len(); q.left.next++ {
		at := q.left.next
		if !q.journal.left(at) {
			continue
		}
		b, whole := q.journal.recv.Datagram(at)
		typ, queue, attributes, _ := nfnl.Peek(b)
		if typ != typePacket {
			continue // an answer to the other process
		}
		q.take(queue, attributes, whole, at)
		if len(q.batch.Packets) == 0 {
			continue
		}
		p := &q.batch.Packets[0]
		p.Left, p.Again = true, at < q.left.sent
		q.stats.Left++
		if q.journal.attempts[at] < tries {
			q.batch.Received = Now()
			q.left.next++
			return true, nil
		}
		if err := q.refuse(p); err != nil {
			return false, err
		}
		q.batch.Packets = q.batch.Packets[:0]
	}
	q.left.some, q.verdicts.left = false, 0
	clear(q.journal.attempts)
	q.journal.clear(q.journal.recv.Len())
	return q.receive(false)
}

// refuse drops a packet that ended two processes.
func (q *Mmsg) refuse(p *Packet) error {
	q.stats.Deadly++
	if q.cfg.OnDeadly != nil {
		q.cfg.OnDeadly(p)
	}
	if err := q.Reply(&Reply{ID: p.ID, Queue: p.Queue, Verdict: Drop, Again: p.Again}); err != nil {
		return err
	}
	return q.Flush()
}

// Waits tells that a packet of a queue waits for its reply which this process has not
// received, as another one has read it.
func (q *Mmsg) Waits(queue uint16) { q.verdicts.received(queue) }

// Known tells that a packet came that Waits has told of.
func (q *Mmsg) Known(queue uint16) { q.verdicts.open[q.verdicts.place(queue)]-- }

// Descriptor is the socket's, for who keeps it beyond this process. It is valid until
// Close.
func (q *Mmsg) Descriptor() int { return q.socket.Descriptor() }

// Unbind takes queues away from a socket of this network namespace that nobody reads any
// more. The kernel drops what waits in them. What it does not have stays as it is.
func Unbind(socket int, queues ...uint16) error {
	s, err := nfnl.Adopt(socket, nfnl.Config{})
	if err != nil {
		return fmt.Errorf("unbind queues %v: %w", queues, err)
	}
	var messages []netlink.Message
	for _, number := range queues {
		enc := netlink.NewAttributeEncoder()
		enc.Bytes(nfqaCfgCmd, []byte{cfgCmdUnbind, 0, 0, 0})
		m, err := controlMessage(number, enc)
		if err != nil {
			return fmt.Errorf("unbind queue %d: %w", number, err)
		}
		messages = append(messages, m)
	}
	if _, err := s.Control(messages...); err != nil {
		return fmt.Errorf("unbind queues %v: %w", queues, err)
	}
	return nil
}

package nfq

import (
	"github.com/mdlayher/netlink"

	"verdictd/internal/nfnl"
)

// SetBuffers replaces the receive buffers, so that longer messages are cut.
func (q *Mmsg) SetBuffers(count, size int) error {
	journal, err := freshJournal(&private{}, count, size)
	q.journal, q.filled, q.used = journal, 0, 0
	return err
}

// ReportLoss has the socket report refusals that did not fit its receive buffer, as
// the kernel does by itself where it has no memory for one. The buffer is as small as
// the kernel allows.
func (q *Mmsg) ReportLoss() error {
	socket, err := nfnl.Dial(nfnl.Config{ReceiveBuffer: 1, ReportLoss: true})
	if err != nil {
		return err
	}
	old := q.socket
	q.socket = socket
	if err := q.bind(); err == nil {
		return old.Close()
	}
	// The number is free once the old socket is closed.
	if err := old.Close(); err != nil {
		return err
	}
	return q.bind()
}

// Take hands the queue a packet message.
func (q *Mmsg) Take(m netlink.Message) {
	message := nfnl.Message{Body: m.Data}
	queue, _ := message.Resource()
	q.take(queue, message.Attributes(), true, 0)
}

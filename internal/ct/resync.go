package ct

import (
	"context"
	"errors"
	"fmt"
	"time"

	"golang.org/x/sys/unix"

	"verdictd/internal/nfnl"
)

// Resyncer keeps a table of entries by their events, and is told what the kernel's table holds after a loss.
//
// Events go on while the table is read. So an entry that the dump shows may be one whose EventNew is still to come,
// and one that it does not show one whose EventDestroy is: what is amiss is certain only when Settled is called.
type Resyncer interface {
	// Begin says that the table is about to be read. It may come again without Settled in between, where more events
	// were lost meanwhile.
	Begin()
	// Entry says that the table holds e, which is overwritten by the next one.
	Entry(e *Event)
	// Settled says that the whole table was read, and that all events have been handled which happened before its end.
	Settled()
}

// Between two resyncs, and so that reading the table takes a tenth of the time at most.
const (
	minResyncGap = time.Second
	resyncGap    = 10
)

// dumpLen is what a dump's datagrams have at most, however much the reader offers (netlink_recvmsg).
const dumpLen = 32 << 10

// resync reads the table after losses.
type resync struct {
	socket   *nfnl.Socket // nil until Run begins, and where nobody wants it
	recv     *nfnl.Receiver
	enc      nfnl.Encoder
	event    Event
	want     bool
	read     bool // the whole table was read; the events up to there are awaited
	notUntil time.Time
}

// soonest shortens a wait to when there is something to do: the next resync, or the end of one.
func (r *resync) soonest(wait time.Duration) time.Duration {
	if r.read {
		return 0
	}
	if !r.want || r.socket == nil {
		return wait
	}
	due := max(time.Until(r.notUntil), 0)
	if wait == nfnl.Forever {
		return due
	}
	return min(wait, due)
}

// settle is called whenever the receive buffer was seen empty. lost says that events were lost on the way there.
func (r *resync) settle(lost bool, to Resyncer) {
	if r.read && !lost {
		to.Settled()
	}
	r.read, r.want = false, r.want || lost
}

func (r *resync) close() error {
	if r.socket == nil {
		return nil
	}
	return r.socket.Close()
}

// OpenResync opens the socket on which the table is read, in the network namespace of the calling thread. Without it
// Run calls no Resyncer.
func (l *Listener) OpenResync() (err error) {
	r := &l.resync
	if r.socket, err = nfnl.Dial(nfnl.Config{}); err != nil {
		return explain("read the table", err)
	}
	r.recv = nfnl.NewReceiver(1, dumpLen)
	return nil
}

// resyncIfDue reads the table if a loss has made that necessary.
func (l *Listener) resyncIfDue(ctx context.Context) error {
	r := &l.resync
	if !r.want || r.socket == nil || l.handler.Resync == nil || l.losses.open || time.Now().Before(r.notUntil) {
		return nil
	}
	begun, told := time.Now(), l.losses.times
	r.want, r.read = false, false
	l.handler.Resync.Begin()
	if err := l.dump(ctx); err != nil {
		return explain("read the table", err)
	}
	r.notUntil = time.Now().Add(max(minResyncGap, resyncGap*time.Since(begun)))
	r.read = ctx.Err() == nil && l.losses.times == told
	return nil
}

// dump hands every entry of the table that passes the filter to the Resyncer. After each datagram it takes the events
// that have come meanwhile, or they would be lost while a large table is read.
func (l *Listener) dump(ctx context.Context) error {
	r := &l.resync
	r.enc.Reset()
	r.enc.BeginDump(nfnl.Type(unix.NFNL_SUBSYS_CTNETLINK, msgGet), l.cfg.Filter.Family)
	r.enc.End()
	if err := r.socket.Send(r.enc.Bytes()); err != nil {
		return err
	}
	// Where ctx is done, the rest of the answer stays unread, on a socket that is not asked again.
	for ctx.Err() == nil {
		if _, err := r.recv.Receive(r.socket, true); err != nil {
			return err
		}
		b, whole := r.recv.Datagram(0)
		if !whole {
			return fmt.Errorf("a part of the table is longer than %d bytes", dumpLen)
		}
		done, err := l.entries(b)
		if done || err != nil {
			return err
		}
		if _, err := l.receive(); err != nil {
			return err
		}
	}
	return nil
}

// entries hands on the entries of one datagram; done says that it was the last.
func (l *Listener) entries(b []byte) (done bool, err error) {
	r := &l.resync
	for {
		m, rest, ok := nfnl.Next(b)
		if !ok {
			return false, nil
		}
		b = rest
		if errno, refused := m.Ack(); refused {
			return true, fmt.Errorf("refused: %w", errno)
		}
		if m.Type == unix.NLMSG_DONE {
			return true, nil
		}
		if m.Type != typeNew || !r.event.decode(&m) {
			return false, errors.New("the kernel sent something else than entries")
		}
		if l.cfg.Filter.match(&r.event) {
			l.handler.Resync.Entry(&r.event)
		}
	}
}

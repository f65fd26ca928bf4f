package ct

import (
	"context"
	"errors"
	"fmt"
	"time"

	"golang.org/x/sys/unix"

	"verdictd/internal/nfnl"
)

// Sizes of a listener's receive buffer.
const (
	// DefaultReceiveBuffer holds some 10,000 events: one of 200 to 300 bytes takes more than 1 KiB of kernel memory
	// while it waits.
	DefaultReceiveBuffer = 8 << 20
	// DefaultMaxReceiveBuffer is how far it is made larger after losses.
	DefaultMaxReceiveBuffer = 64 << 20
)

const (
	// batchLen is how many events one receive takes at most.
	batchLen = 128
	// eventLen has room for one: some 300 bytes, more with a helper, labels or a security context.
	eventLen = 4096
	// headLen has room for what counting looks at: the headers and the first attribute, the original tuple, of 112
	// bytes at most (ICMPv6 with a zone). The kernel copies no more than there is room for, and copying is most of
	// what it does.
	headLen = 128

	// maxRest is the longest sleep after a receive that has emptied the buffer. To be woken is what costs: for each
	// event it would be most of the work.
	maxRest = 20 * time.Millisecond
	// eventMemory is what the kernel accounts for an event that waits, and fastest how many a second a listener must be
	// ready for: a rest is to fill half of the buffer at most.
	eventMemory, fastest = 1280, 300_000
)

// restFor is how long a listener sleeps that has emptied a receive buffer of some bytes.
func restFor(buffer int) time.Duration {
	// The kernel accounts for twice the buffer's size, and half of that is to be filled.
	return min(maxRest, time.Second*time.Duration(buffer/eventMemory)/fastest)
}

// ListenConfig configures a [Listener]. The zero value works.
type ListenConfig struct {
	// ReceiveBuffer is the size in bytes to ask for; 0 means DefaultReceiveBuffer. After a loss it is doubled, up to
	// MaxReceiveBuffer; 0 means DefaultMaxReceiveBuffer, or ReceiveBuffer where that is more.
	ReceiveBuffer    int
	MaxReceiveBuffer int

	Filter Filter
}

// Handler is what [Listener.Run] calls, all from the goroutine that runs it. Each may be nil.
type Handler struct {
	// Event gets every event; the Event is overwritten by the next one. Without it events are only counted, which is
	// cheaper.
	Event func(*Event)
	// Batch is called after the events of one receive.
	Batch func() error
	// Loss is called when a loss has ended.
	Loss func(Loss)
	// Resync gets the table in the beginning, and after a loss.
	Resync Resyncer
	// Tick is called every so often, if Every is not 0.
	Every time.Duration
	Tick  func(EventCounts) error
}

// Listener receives conntrack events of one network namespace. While it exists, it may make the kernel attach events to
// entries that would have none (see the package's comment). Who opens it closes it.
type Listener struct {
	cfg    ListenConfig
	socket *nfnl.Socket
	recv   *nfnl.Receiver
	alarm  *nfnl.Alarm

	tallies  tallies
	losses   losses
	lastGood time.Time
	full     bool // the receive buffer cannot be made larger
	event    Event
	handler  Handler
	resync   resync
}

// Listen joins the groups of the filter's types in the network namespace of the calling thread. Events are kept from
// its return on.
func Listen(cfg ListenConfig) (_ *Listener, err error) {
	if cfg.ReceiveBuffer == 0 {
		cfg.ReceiveBuffer = DefaultReceiveBuffer
	}
	if cfg.MaxReceiveBuffer == 0 {
		cfg.MaxReceiveBuffer = max(DefaultMaxReceiveBuffer, cfg.ReceiveBuffer)
	}
	if err := cfg.Filter.Validate(); err != nil {
		return nil, fmt.Errorf("conntrack: filter events: %w", err)
	}
	// A group can be joined where there is no ctnetlink, and then nothing ever comes. A question is refused.
	if err := askOnce(); err != nil {
		return nil, err
	}
	l := &Listener{cfg: cfg, lastGood: time.Now()}
	if l.alarm, err = nfnl.NewAlarm(); err != nil {
		return nil, explain("listen for events", err)
	}
	if l.socket, err = nfnl.Dial(nfnl.Config{ReceiveBuffer: cfg.ReceiveBuffer, ReportLoss: true}); err != nil {
		return nil, errors.Join(explain("listen for events", err), l.alarm.Close())
	}
	if err := l.join(); err != nil {
		return nil, errors.Join(explain("listen for events", err), l.Close())
	}
	return l, nil
}

func askOnce() error {
	conn, err := Dial()
	if err != nil {
		return err
	}
	_, err = conn.Snapshot()
	return errors.Join(err, conn.Close())
}

// join has the filter attached first, so that no message that it refuses is there.
func (l *Listener) join() error {
	program, err := l.cfg.Filter.program()
	if err != nil {
		return err
	}
	if program != nil {
		if err := l.socket.SetFilter(program); err != nil {
			return err
		}
	}
	for _, group := range l.cfg.Filter.groups() {
		if err := l.socket.Join(group); err != nil {
			return err
		}
	}
	return nil
}

// ReceiveBuffer returns the size in bytes that the kernel granted: less than was asked for where net.core.rmem_max
// held it down.
func (l *Listener) ReceiveBuffer() int { return l.socket.ReceiveBuffer() }

// Run receives events until ctx is done, and then those that the kernel had sent by then, and returns how many there
// were. A loss does not end it. On an error it returns what was counted up to there. It can be called once.
func (l *Listener) Run(ctx context.Context, h Handler) (EventCounts, error) {
	defer context.AfterFunc(ctx, l.alarm.Ring)()
	l.handle(h)
	l.resync.want = true
	err := l.run(ctx)
	if err == nil {
		err = l.drain()
	}
	return l.counts(), err
}

// handle makes room for as much of each event as is to be looked at.
func (l *Listener) handle(h Handler) {
	l.handler = h
	size := headLen
	if h.Event != nil {
		size = eventLen
	}
	l.recv = nfnl.NewReceiver(batchLen, size)
}

// counts is what was counted so far.
func (l *Listener) counts() EventCounts {
	c := l.tallies.counts()
	c.Lost, c.Losses = l.losses.times, append(c.Losses, l.losses.list...)
	if memory, ok := l.socket.Memory(); ok {
		c.LostEvents = Value{N: uint64(memory.Drops), Sent: true}
	}
	return c
}

func (l *Listener) run(ctx context.Context) error {
	next := time.Now().Add(l.handler.Every)
	for ctx.Err() == nil {
		n, err := l.receive()
		if err != nil {
			return err
		}
		if err := l.resyncIfDue(ctx); err != nil {
			return err
		}
		wait := nfnl.Forever
		if l.handler.Every > 0 {
			if wait = time.Until(next); wait <= 0 {
				if err := l.handler.Tick(l.counts()); err != nil {
					return err
				}
				wait, next = l.handler.Every, time.Now().Add(l.handler.Every)
			}
		}
		switch {
		case n == l.recv.Len(): // there may be more
		case n > 0:
			err = l.alarm.Sleep(restFor(l.socket.ReceiveBuffer()))
		default:
			err = l.socket.Wait(l.alarm, l.resync.soonest(wait))
		}
		if err != nil {
			return explain("listen for events", err)
		}
	}
	return nil
}

// drain leaves the groups, so that nothing more comes, and takes what is in the receive buffer.
func (l *Listener) drain() error {
	for _, group := range l.cfg.Filter.groups() {
		if err := l.socket.Leave(group); err != nil {
			return explain("listen for events", err)
		}
	}
	for {
		// A loss that is told now leaves what came before it in the buffer.
		told := l.losses.times
		n, err := l.receive()
		if err != nil || n == 0 && l.losses.times == told {
			return err
		}
	}
}

// receive takes what the buffer holds, at most a batch, and says how many messages that were.
func (l *Listener) receive() (int, error) {
	n, err := l.recv.Receive(l.socket, false)
	now := time.Now()
	switch {
	case errors.Is(err, unix.ENOBUFS):
		l.losses.begin(l.lastGood)
		return 0, l.grow()
	case errors.Is(err, nfnl.ErrWouldBlock):
		n = 0
	case err != nil:
		return 0, explain("receive events", err)
	}
	for i := range n {
		l.take(i)
	}
	if n < l.recv.Len() { // the buffer was empty
		lost := l.losses.open
		if lost {
			l.endLoss(now)
		}
		l.resync.settle(lost, l.handler.Resync)
	}
	if !l.losses.open {
		l.lastGood = now
	}
	if n > 0 && l.handler.Batch != nil {
		return n, l.handler.Batch()
	}
	return n, nil
}

// take counts the event in a datagram, of which there is one in each, and hands it on.
func (l *Listener) take(datagram int) {
	b, _ := l.recv.Datagram(datagram)
	m, ok := nfnl.Head(b)
	if !ok {
		l.tallies.undecodable++
		return
	}
	l.tallies.add(&m)
	if l.handler.Event != nil && l.event.decode(&m) {
		l.handler.Event(&l.event)
	}
}

// grow doubles the receive buffer, as far as it may be.
func (l *Listener) grow() error {
	size := min(2*l.socket.ReceiveBuffer(), l.cfg.MaxReceiveBuffer)
	before := l.socket.ReceiveBuffer()
	if l.full || size <= before {
		return nil
	}
	granted, err := l.socket.GrowReceiveBuffer(size)
	l.full = granted <= before // net.core.rmem_max
	return err
}

func (l *Listener) endLoss(now time.Time) {
	memory, ok := l.socket.Memory()
	loss := l.losses.end(now, memory.Drops, ok, l.socket.ReceiveBuffer())
	if l.handler.Loss != nil {
		l.handler.Loss(loss)
	}
}

// Close leaves the groups. Not to be called while Run is under way: end that by its context.
func (l *Listener) Close() error {
	err := l.alarm.Close()
	if l.socket != nil {
		err = errors.Join(err, l.socket.Close(), l.resync.close())
	}
	if err != nil {
		return fmt.Errorf("conntrack: close the event socket: %w", err)
	}
	return nil
}

package liverules

import (
	"context"
	"errors"
	"fmt"
	"os"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"

	"verdictd/internal/nfnl"
	"verdictd/internal/nfq"
)

// A Watcher tells that the rules of a network namespace have changed: those of
// nftables as soon as the kernel announces it, those of legacy tables, which are
// announced by nobody, and IPVS and br_netfilter within two seconds.
//
// It does not tell what has changed: a program that changes rules itself reads them
// again and finds nothing to do. Changers tells by whom. What it changes often, such as
// elements of a set, it leaves out by Except.
type Watcher struct {
	changes chan struct{}
	last    atomic.Int64
	chain   atomic.Int64 // when a base chain was added
	except  atomic.Pointer[[]uint32]

	changers changers
	socket   *nfnl.Socket
	lost     bool // announcements, and the buffer was not read empty since
	alarm    *nfnl.Alarm
	stop     context.CancelFunc
	ended    <-chan struct{}
	done     sync.WaitGroup

	mutex  sync.Mutex
	failed error
}

// pollInterval is how often legacy tables are looked at.
const pollInterval = 2 * time.Second

// genMessage is the message that ends the announcement of a transaction, and
// chainMessage is of a chain that it has added or changed.
const (
	genMessage    = unix.NFNL_SUBSYS_NFTABLES<<8 | unix.NFT_MSG_NEWGEN
	chainMessage  = unix.NFNL_SUBSYS_NFTABLES<<8 | unix.NFT_MSG_NEWCHAIN
	chainGone     = unix.NFNL_SUBSYS_NFTABLES<<8 | unix.NFT_MSG_DELCHAIN
	newElement    = unix.NFNL_SUBSYS_NFTABLES<<8 | unix.NFT_MSG_NEWSETELEM
	deleteElement = unix.NFNL_SUBSYS_NFTABLES<<8 | unix.NFT_MSG_DELSETELEM
)

// Watch begins to watch the network namespace of the calling thread. It takes
// CAP_NET_ADMIN, and, where that namespace is not the process's own,
// CAP_SYS_ADMIN too. It ends by Close, or when ctx is done.
func Watch(ctx context.Context) (*Watcher, error) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	w := &Watcher{changes: make(chan struct{}, 1)}
	w.except.Store(new([]uint32))
	var err error
	if w.alarm, err = nfnl.NewAlarm(); err != nil {
		return nil, fmt.Errorf("watch the rules: %w", err)
	}
	if err := w.open(); err != nil {
		return nil, errors.Join(fmt.Errorf("watch the rules: %w", err), w.alarm.Close())
	}
	ctx, w.stop = context.WithCancel(ctx)
	started := make(chan error)
	namespace, err := os.Open("/proc/thread-self/ns/net")
	if err == nil {
		w.done.Go(func() { w.poll(ctx, namespace, started) })
		err = errors.Join(<-started, namespace.Close())
	}
	if err != nil {
		w.stop()
		w.done.Wait()
		return nil, errors.Join(fmt.Errorf("watch the rules: %w", err), w.closeSockets(), w.alarm.Close())
	}
	w.ended = ctx.Done()
	w.done.Go(func() { w.listen(ctx) })
	w.done.Go(func() {
		<-ctx.Done()
		w.alarm.Ring()
	})
	return w, nil
}

// open joins the group of nftables' announcements.
func (w *Watcher) open() error {
	socket, err := nfnl.Dial(nfnl.Config{ReportLoss: true})
	if err != nil {
		return err
	}
	program, err := withoutElements()
	if err == nil {
		err = socket.SetFilter(program)
	}
	if err == nil {
		err = socket.Join(unix.NFNLGRP_NFTABLES)
	}
	if err == nil {
		err = w.changers.begin()
	}
	if err != nil {
		return errors.Join(err, socket.Close())
	}
	w.socket = socket
	return nil
}

// Changes gets a value after each change; several that nobody has taken yet are
// one.
func (w *Watcher) Changes() <-chan struct{} { return w.changes }

// Done is closed when the watcher ends; Err says why.
func (w *Watcher) Done() <-chan struct{} { return w.ended }

// LastChange is when the last change was told, on the clock of [nfq.Now]; 0: there
// was none yet. It is known before the value on Changes is, and may be asked by any
// thread.
func (w *Watcher) LastChange() int64 { return w.last.Load() }

// BaseChainAdded is when somebody last added a base chain, or changed one, on the
// same clock: where that is before another one at a hook, packets that wait for a
// verdict of the latter come to it again.
func (w *Watcher) BaseChainAdded() int64 { return w.chain.Load() }

// Except leaves out what is changed through sockets with these netlink port ids.
func (w *Watcher) Except(ports ...uint32) { w.except.Store(&ports) }

// Err is why the watcher ended by itself; nil after Close and a context that is
// done.
func (w *Watcher) Err() error {
	w.mutex.Lock()
	defer w.mutex.Unlock()
	return w.failed
}

// Close ends the watcher and frees it. It may be called again.
func (w *Watcher) Close() error {
	w.stop()
	w.done.Wait()
	w.mutex.Lock()
	defer w.mutex.Unlock()
	if w.socket == nil {
		return nil
	}
	err := errors.Join(w.closeSockets(), w.alarm.Close())
	w.socket = nil
	return err
}

func (w *Watcher) closeSockets() error {
	return errors.Join(w.socket.Close(), w.changers.asked.Close())
}

// changed tells of a change.
func (w *Watcher) changed() {
	w.last.Store(nfq.Now())
	select {
	case w.changes <- struct{}{}:
	default:
	}
}

// fail ends the watcher.
func (w *Watcher) fail(err error) {
	w.mutex.Lock()
	w.failed = errors.Join(w.failed, err)
	w.mutex.Unlock()
	w.stop()
}

// listen receives announcements until the watcher ends.
func (w *Watcher) listen(ctx context.Context) {
	receiver := nfnl.NewReceiver(16, 16<<10)
	for ctx.Err() == nil {
		err := w.socket.Wait(w.alarm, nfnl.Forever)
		if err == nil {
			err = w.receive(receiver)
		}
		if err != nil && !errors.Is(err, nfnl.ErrWouldBlock) { // a signal, or the alarm
			w.fail(fmt.Errorf("watch the rules of nftables: %w", err))
		}
	}
}

// receive takes what was announced, at most a batch. The kernel says once that the buffer was
// full, and drops all that it would announce until the buffer was read empty
// (netlink_overrun, net/netlink/af_netlink.c): what was lost is told at both times.
func (w *Watcher) receive(receiver *nfnl.Receiver) error {
	n, err := receiver.Receive(w.socket, false)
	for errors.Is(err, unix.ENOBUFS) {
		w.lost = true
		w.missed()
		n, err = receiver.Receive(w.socket, false)
	}
	changed := false
	for i := range n {
		datagram, _ := receiver.Datagram(i)
		changed = w.counts(datagram) || changed
	}
	if changed {
		w.changed()
	}
	if w.lost && n < receiver.Len() { // it is empty
		w.lost = false
		w.missed()
		if failed := w.changers.learn(); failed != nil {
			return failed // and not that the buffer is empty, which is no error
		}
	}
	return err
}

// missed takes it that all has changed.
func (w *Watcher) missed() {
	w.chain.Store(nfq.Now())
	w.changed()
}

// counts reports whether announcements are of a change that was not left out, and
// notes base chains.
func (w *Watcher) counts(datagram []byte) (changed bool) {
	for {
		m, rest, ok := nfnl.Next(datagram)
		if !ok {
			return changed || len(datagram) > 0 // what is not understood
		}
		switch m.Type {
		case chainMessage, chainGone:
			w.changers.chain(m.Type, m.Body)
			if m.Type == chainMessage && isBase(m.Attributes()) {
				w.chain.Store(nfq.Now())
			}
		case genMessage:
			if !slices.Contains(*w.except.Load(), m.PortID) {
				w.changers.committed(m)
				changed = true
			}
		}
		datagram = rest
	}
}

// isBase reports whether a chain has a hook.
func isBase(attributes nfnl.Attributes) bool {
	for {
		kind, _, ok := attributes.Next()
		if !ok || kind == unix.NFTA_CHAIN_HOOK {
			return ok
		}
	}
}

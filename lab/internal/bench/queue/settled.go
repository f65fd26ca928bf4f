package queue

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"time"

	"golang.org/x/sys/unix"

	"verdictd/internal/nfnl"
)

const (
	// settledFlows is how many flows the load has, all of them as old as the warm-up.
	settledFlows = 8

	// deliveredWithin is when a load gives up on packets that do not arrive.
	deliveredWithin = 5 * time.Second
)

// maxChunk is how many packets one send may hold: UDP_MAX_SEGMENTS was 64 at first, and is 128 now.
const maxChunk = 64

// inboxMost is how many packets one receive takes at most: UIO_MAXIOV.
const inboxMost = 1024

// maxDatagram is the longest payload of a UDP datagram over IPv4, in bytes.
const maxDatagram = 65507

// A load is UDP flows in a closed loop, on the thread that opened it: packets are sent as long as no more than a window
// of them is under way, so that none is lost to a full queue, and every daemon has as much to do as it can.
//
// One CPU has to send faster than the fastest daemon judges, or that one is measured half idle, with a wake-up for
// every few packets, and the slower ones are not. Even sendmmsg is too slow for that. So a chunk of packets goes down
// as one with UDP_SEGMENT (Linux 4.18).
//
// The thread polls and never sleeps. Were it to wait in a receive, waking it would be work of the daemon, whose verdict
// delivers the packet, and the more so the faster the daemon is.
type load struct {
	flowSockets
	window  int
	chunk   int    // packets a send
	next    int    // flow to send
	size    int    // of a packet's payload
	payload []byte // of a chunk
	in      *inbox
	meter   cpuMeter

	patience time.Duration // with packets that do not arrive
}

// openLoad makes the sockets in the calling thread's network namespace.
func openLoad(target netip.AddrPort, sources []netip.Addr, window, size int) (*load, error) {
	chunk := min(max(1, window/8), maxChunk, maxDatagram/size)
	l := &load{window: window, chunk: chunk, size: size, payload: make([]byte, chunk*size),
		in: newInbox(min(window, inboxMost), size), patience: deliveredWithin}
	if err := l.meter.open(); err != nil {
		return nil, err
	}
	var err error
	l.flowSockets, err = openFlows(target, sources, size, window)
	return l, err
}

// send sends packets and returns when all of them have arrived.
func (l *load) send(ctx context.Context, packets int) error {
	sent, arrived := 0, 0
	lull := newLull(l.patience)
	for arrived < packets {
		if n := min(l.chunk, packets-sent); n > 0 && sent-arrived+n <= l.window {
			send := func() error { return sendAll(l.flows[l.next], l.payload[:n*l.size]) }
			if err := l.meter.measure(send); err != nil {
				return fmt.Errorf("send packet %d of %d: %w", sent+1, packets, err)
			}
			l.next = (l.next + 1) % len(l.flows)
			sent += n
			continue
		}
		n, err := l.in.receive(l.sink)
		if err != nil {
			return fmt.Errorf("receive packet %d of %d: %w", arrived+1, packets, err)
		}
		arrived += n
		if err := lull.after(ctx, n, sent, arrived); err != nil {
			return err
		}
	}
	if n, err := l.in.receive(l.sink); err != nil || n > 0 {
		return errors.Join(fmt.Errorf("%d packets too many arrived", n), err)
	}
	return nil
}

// sendAll sends a datagram, which may wait for room in the socket's send buffer.
func sendAll(fd int, datagram []byte) error {
	for {
		// The runtime's own signals interrupt it.
		if err := unix.Send(fd, datagram, 0); !errors.Is(err, unix.EINTR) {
			return err
		}
	}
}

// An inbox is the arguments of recvmmsg for datagrams whose bytes nobody reads.
type inbox struct {
	msgs  []nfnl.Mmsghdr
	iov   unix.Iovec
	bytes []byte
}

func newInbox(packets, size int) *inbox {
	in := &inbox{msgs: make([]nfnl.Mmsghdr, packets), bytes: make([]byte, size)}
	in.iov.Base = &in.bytes[0]
	in.iov.SetLen(len(in.bytes))
	for i := range in.msgs {
		in.msgs[i].Hdr.Iov = &in.iov
		in.msgs[i].Hdr.SetIovlen(1)
	}
	return in
}

// receive takes what has arrived, which may be nothing, and says how many datagrams that was.
func (in *inbox) receive(fd int) (int, error) { return receiveAll(fd, in.msgs) }

package traffic

import (
	"errors"
	"fmt"
	"net/netip"
	"sync/atomic"

	"golang.org/x/sys/unix"

	"verdictd/internal/nfnl"
)

// receiver is the far end of all flows. With echo it sends each fresh packet back as it is; duplicates are not
// sent back, so that a duplicate echo is one that the way back made. Its thread is then pinned like those of the
// senders: of packets that one thread sends from several CPUs the order is not defined.
type receiver struct {
	*intake
	fd       int
	buffer   int    // bytes, as the kernel accounts them
	arrivals *event // bumped for each batch
	done     chan error

	echo       []nfnl.Mmsghdr
	echoIovs   []unix.Iovec
	echoSent   atomic.Uint64
	echoErrors errnoCounts
}

// noEcho is the CPU of a receiver that sends nothing back.
const noEcho = -1

// echoCPU is the CPU that echoes are sent from.
func echoCPU(echo bool, cpus []int) int {
	if !echo {
		return noEcho
	}
	return cpus[len(cpus)-1]
}

// startReceiver opens the socket in the namespace and receives, on a thread of its own, until stop. It echoes from the
// given CPU, unless that is noEcho.
func startReceiver(ns netns, target netip.AddrPort, buffer int, in *intake, arrivals *event, echo int) (*receiver,
	error) {
	return receiverSocket{at: target, buffer: buffer}.start(ns, in, arrivals, echo)
}

func (s receiverSocket) start(ns netns, in *intake, arrivals *event, echo int) (*receiver, error) {
	if s.several {
		in.batch.askDestinations()
		in.ledger.watchReached()
	}
	in.icmp = s.protocol == ProtocolICMP
	r := &receiver{intake: in, arrivals: arrivals, done: make(chan error, 1)}
	if echo != noEcho {
		r.echo = make([]nfnl.Mmsghdr, receiveBatch)
		r.echoIovs = make([]unix.Iovec, receiveBatch)
	}
	err := ns.do(func() (err error) {
		r.fd, err = s.open()
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("receiver: %w", err)
	}
	if r.buffer, err = unix.GetsockoptInt(r.fd, unix.SOL_SOCKET, unix.SO_RCVBUF); err != nil {
		_ = unix.Close(r.fd)
		return nil, fmt.Errorf("receiver: read the size of the socket buffer: %w", err)
	}
	onThread(func() {
		if echo != noEcho {
			if err := pin(echo); err != nil {
				r.done <- err
				return
			}
		}
		r.done <- r.run()
	})
	return r, nil
}

func (r *receiver) run() error {
	for {
		flags := unix.MSG_WAITFORONE // block for the first datagram only
		stopping, over := r.stopping()
		if over {
			return nil
		}
		if stopping {
			flags = unix.MSG_DONTWAIT
		}
		n, err := r.batch.recv(r.fd, flags)
		if errors.Is(err, unix.EAGAIN) {
			if stopping {
				return nil
			}
			continue
		}
		if err != nil {
			return fmt.Errorf("receive: %w", err)
		}
		r.take(n)
		r.arrivals.bump()
		if r.echo != nil {
			r.sendBack()
		}
	}
}

func (r *receiver) sendBack() {
	for k, i := range r.fresh {
		payload := r.batch.payload(i)
		r.echoIovs[k].Base = &payload[0]
		r.echoIovs[k].SetLen(len(payload))
		r.echo[k].Hdr = r.batch.msgs[i].Hdr
		r.echo[k].Hdr.Iov = &r.echoIovs[k]
	}
	msgs := r.echo[:len(r.fresh)]
	r.echoSent.Add(uint64(len(msgs)))
	for len(msgs) > 0 {
		n, err := send(r.fd, msgs)
		if err != nil {
			r.echoErrors.count(err)
			n = 1
		}
		msgs = msgs[n:]
	}
}

// stop ends the thread once it has taken what the socket holds, reads the socket's drop counter (nil where the kernel
// has none) and closes it.
func (r *receiver) stop() (dropped *uint64, err error) {
	r.stopped.Store(true)
	err = <-r.done
	if n, derr := SocketDrops(r.fd); derr == nil {
		dropped = &n
	}
	_ = unix.Close(r.fd)
	return dropped, err
}

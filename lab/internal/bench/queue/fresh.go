package queue

import (
	"context"
	"errors"
	"fmt"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"

	"verdictd/internal/nfnl"

	"verdictd/lab/internal/testbed"
)

// A freshLoad is new flows in a closed loop, on the thread that opened it: each is a burst, to an address of
// 127.0.0.0/8 of its own, which are all local. It polls, as load does.
type freshLoad struct {
	source, sink int
	burst, size  int  // packets of a flow, and bytes of a packet's payload
	answers      bool // the sink sends every packet back, and a packet has arrived when its answer has
	window       int  // packets under way at most

	next  int // flow
	cycle int // flows that take turns, each of them with one packet of a burst; 0: each burst is a new one
	out   datagrams
	in    datagrams // of the sink
	back  datagrams // of the source
	meter cpuMeter

	patience time.Duration
}

// openFresh makes the sockets in the calling thread's network namespace.
func openFresh(burst int, answers bool, window, size int) (_ *freshLoad, err error) {
	l := &freshLoad{
		source: -1, sink: -1, burst: burst, size: size, answers: answers, window: max(burst, window), patience: deliveredWithin,
		out: newDatagrams(burst, size), in: newDatagrams(max(burst, window), size),
		back: newDatagrams(max(burst, window), size),
	}
	defer func() {
		if err != nil {
			err = errors.Join(fmt.Errorf("open the load's sockets: %w", err), l.Close())
		}
	}()
	for fd, at := range map[*int]unix.SockaddrInet4{&l.sink: {Port: testbed.Port},
		&l.source: {Addr: [4]byte{127, 0, 0, 1}}} {
		if *fd, err = unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0); err != nil {
			return nil, err
		}
		if err := unix.Bind(*fd, &at); err != nil {
			return nil, err
		}
		if err := roomToReceive(*fd, l.window, size); err != nil {
			return nil, err
		}
	}
	// So that an answer leaves from the address that was asked.
	if err := unix.SetsockoptInt(l.sink, unix.IPPROTO_IP, unix.IP_PKTINFO, 1); err != nil {
		return nil, err
	}
	for i := range l.out.msgs {
		l.out.names[i] = unix.RawSockaddrInet4{Family: unix.AF_INET, Port: testbed.Port<<8 | testbed.Port>>8}
		l.out.address(i, false)
	}
	return l, l.meter.open()
}

// Close closes the sockets.
func (l *freshLoad) Close() error {
	var errs []error
	for _, fd := range []int{l.source, l.sink} {
		if fd >= 0 {
			errs = append(errs, unix.Close(fd))
		}
	}
	return errors.Join(errs...)
}

// packets is how many a flow has, answers included.
func (l *freshLoad) packets() int {
	if l.answers {
		return 2 * l.burst
	}
	return l.burst
}

// send makes so many flows and returns when all of their packets have arrived.
func (l *freshLoad) send(ctx context.Context, flows int) error {
	want, sent, arrived := flows*l.burst, 0, 0
	lull := newLull(l.patience)
	for arrived < want {
		if sent < want && sent-arrived+l.burst <= l.window {
			if err := l.flow(); err != nil {
				return fmt.Errorf("send flow %d of %d: %w", sent/l.burst+1, flows, err)
			}
			sent += l.burst
		}
		n, err := l.receive()
		if err != nil {
			return fmt.Errorf("receive packet %d of %d: %w", arrived+1, want, err)
		}
		arrived += n
		if err := lull.after(ctx, n, sent, arrived); err != nil {
			return err
		}
	}
	return nil
}

// openMany makes a load of so many flows that take turns.
func openMany(flows, window, size int) (*freshLoad, error) {
	const most = 32 // packets a send
	l, err := openFresh(min(most, flows, window), false, window, size)
	if err == nil {
		l.cycle = flows
	}
	return l, err
}

// flow sends the burst of the next one, or a packet of each of the next ones.
func (l *freshLoad) flow() error {
	l.next++
	for i := range l.out.names {
		if l.cycle > 0 && i > 0 {
			l.next++
		}
		if l.cycle > 0 && l.next > l.cycle {
			l.next = 1
		}
		l.out.names[i].Addr = [4]byte{127, byte(1 + l.next>>16), byte(l.next >> 8), byte(l.next)}
	}
	return l.meter.measure(func() error { return sendMessages(l.source, l.out.msgs) })
}

// receive takes what has arrived, which may be nothing.
func (l *freshLoad) receive() (int, error) {
	n, err := l.in.receive(l.sink)
	if err != nil || !l.answers {
		return n, err
	}
	if n > 0 {
		for i := range n {
			l.in.iovs[i].SetLen(l.size)
		}
		if err := l.meter.measure(func() error { return sendMessages(l.sink, l.in.msgs[:n]) }); err != nil {
			return 0, fmt.Errorf("answer: %w", err)
		}
	}
	return l.back.receive(l.source)
}

// datagrams are the arguments of recvmmsg and sendmmsg, with addresses and room for one IP_PKTINFO each.
type datagrams struct {
	msgs     []nfnl.Mmsghdr
	iovs     []unix.Iovec
	names    []unix.RawSockaddrInet4
	controls [][4]uint64
	bytes    []byte
}

func newDatagrams(n, size int) datagrams {
	d := datagrams{
		msgs: make([]nfnl.Mmsghdr, n), iovs: make([]unix.Iovec, n), names: make([]unix.RawSockaddrInet4, n),
		controls: make([][4]uint64, n), bytes: make([]byte, n*size),
	}
	for i := range n {
		d.iovs[i].Base = &d.bytes[i*size]
		d.iovs[i].SetLen(size)
		d.msgs[i].Hdr.Iov = &d.iovs[i]
		d.msgs[i].Hdr.SetIovlen(1)
	}
	return d
}

// address gives a message its name, and room for control data.
func (d *datagrams) address(i int, control bool) {
	h := &d.msgs[i].Hdr
	h.Name, h.Namelen = (*byte)(unsafe.Pointer(&d.names[i])), unix.SizeofSockaddrInet4
	if control {
		h.Control = (*byte)(unsafe.Pointer(&d.controls[i]))
		h.SetControllen(int(unsafe.Sizeof(d.controls[i])))
	}
}

// receive takes what has arrived, which may be nothing, and says how many datagrams that was.
func (d *datagrams) receive(fd int) (int, error) {
	for i := range d.msgs {
		d.address(i, true)
	}
	return receiveAll(fd, d.msgs)
}

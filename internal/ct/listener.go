package ct

import (
	"context"
	"errors"
	"fmt"
	"os"
	"syscall"
	"time"
	"unsafe"

	"github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"
)

// eventGroups are the multicast groups of conntrack events.
var eventGroups = [...]uint32{
	unix.NFNLGRP_CONNTRACK_NEW,
	unix.NFNLGRP_CONNTRACK_UPDATE,
	unix.NFNLGRP_CONNTRACK_DESTROY,
}

// DefaultReceiveBuffer holds some 10,000 events: one of 200 to 300 bytes takes more than 1 KiB of kernel memory while it
// waits.
const DefaultReceiveBuffer = 8 << 20

// ListenConfig configures a [Listener]. The zero value works.
type ListenConfig struct {
	// ReceiveBuffer is the size in bytes to ask for; 0 means DefaultReceiveBuffer.
	ReceiveBuffer int
}

// Listener counts conntrack events of one network namespace. While it exists, it may make the kernel attach events to
// entries that would have none (see the package's comment). Who opens it closes it.
type Listener struct {
	nl     *netlink.Conn
	raw    syscall.RawConn
	buffer int
}

// Listen joins the groups of new, changed and destroyed entries in the network namespace of the calling thread.
// Events are kept from its return on.
func Listen(cfg ListenConfig) (*Listener, error) {
	conn, err := Dial()
	if err != nil {
		return nil, err
	}
	l, err := newListener(conn, cfg)
	if err != nil {
		return nil, errors.Join(err, conn.Close())
	}
	return l, nil
}

func newListener(conn *Conn, cfg ListenConfig) (*Listener, error) {
	// A group can be joined where there is no ctnetlink, and then nothing ever comes. A question is refused.
	if _, err := conn.Snapshot(); err != nil {
		return nil, err
	}
	nl := conn.nl
	raw, err := nl.SyscallConn()
	if err != nil {
		return nil, explain("reach the socket", err)
	}
	size := cfg.ReceiveBuffer
	if size == 0 {
		size = DefaultReceiveBuffer
	}
	// The library tries SO_RCVBUFFORCE first and falls back to SO_RCVBUF, which the kernel cuts down to net.core.rmem_max
	// without a word. So the size is read back.
	if err := nl.SetReadBuffer(size); err != nil {
		return nil, explain(fmt.Sprintf("set a receive buffer of %d bytes", size), err)
	}
	granted, err := nl.ReadBuffer()
	if err != nil {
		return nil, explain("read the receive buffer's size", err)
	}
	for _, group := range eventGroups {
		if err := nl.JoinGroup(group); err != nil {
			return nil, explain(fmt.Sprintf("join event group %d", group), err)
		}
	}
	// The kernel doubles what it is told, for its own overhead (socket(7)).
	return &Listener{nl: nl, raw: raw, buffer: granted / 2}, nil
}

// ReceiveBuffer returns the size in bytes that the kernel granted: less than was asked for where net.core.rmem_max
// held it down.
func (l *Listener) ReceiveBuffer() int { return l.buffer }

// Count counts events until ctx is done, and then those that the kernel had sent by then, and returns all
// of them. A loss does not end it. On an error it returns what was counted up to there. It can be called once.
func (l *Listener) Count(ctx context.Context) (EventCounts, error) {
	woken := make(chan struct{})
	stop := context.AfterFunc(ctx, func() {
		defer close(woken)
		// Wakes a blocked receive. This fails only on a closed socket, where receive fails as well.
		_ = l.nl.SetReadDeadline(time.Unix(1, 0))
	})

	counts := EventCounts{Protocols: make(map[Protocol]Tally)}
	err := l.count(ctx, &counts)
	if !stop() {
		<-woken // or its deadline might come after drain has cleared it
	}
	if err == nil {
		err = l.drain(&counts)
	}
	counts.LostEvents = l.drops()
	return counts, err
}

func (l *Listener) count(ctx context.Context, counts *EventCounts) error {
	for ctx.Err() == nil {
		if err := l.receive(counts); err != nil && !errors.Is(err, os.ErrDeadlineExceeded) {
			return err
		}
	}
	return nil
}

// drain leaves the groups, so that nothing more comes, and counts what is in the receive buffer.
func (l *Listener) drain(counts *EventCounts) error {
	for _, group := range eventGroups {
		if err := l.nl.LeaveGroup(group); err != nil {
			return explain(fmt.Sprintf("leave event group %d", group), err)
		}
	}
	if err := l.nl.SetReadDeadline(time.Time{}); err != nil {
		return explain("clear the receive deadline", err)
	}
	for {
		switch err := l.peek(); {
		case errors.Is(err, unix.EAGAIN):
			return nil
		case errors.Is(err, unix.ENOBUFS): // told once: the receive that follows does not see it again
			counts.Lost++
		case err != nil:
			return explain("look for further events", err)
		default:
			if err := l.receive(counts); err != nil {
				return err
			}
		}
	}
}

// receive waits for one datagram and counts it, or the loss that comes in its place.
func (l *Listener) receive(counts *EventCounts) error {
	messages, err := l.nl.Receive()
	if errors.Is(err, unix.ENOBUFS) {
		counts.Lost++
		return nil
	}
	if err != nil {
		return explain("receive events", err)
	}
	for _, m := range messages {
		counts.add(m)
	}
	return nil
}

// peek returns nil if a datagram is there, EAGAIN if not.
func (l *Listener) peek() error {
	var peekErr error
	err := l.raw.Control(func(fd uintptr) {
		_, _, peekErr = unix.Recvfrom(int(fd), make([]byte, 1), unix.MSG_PEEK|unix.MSG_DONTWAIT)
	})
	return errors.Join(err, peekErr)
}

// drops reads how many messages the kernel dropped instead of queueing them on this socket: one for every event that
// did not fit (netlink_overrun). It is the column Drops of /proc/net/netlink.
func (l *Listener) drops() Value {
	info, ok := l.memInfo()
	if !ok {
		return Value{}
	}
	return Value{N: uint64(info[unix.SK_MEMINFO_DROPS]), Sent: true}
}

// memInfo reads the socket's SO_MEMINFO, which kernels have since 4.12.
func (l *Listener) memInfo() (info [unix.SK_MEMINFO_VARS]uint32, ok bool) {
	size := uint32(unsafe.Sizeof(info))
	var errno syscall.Errno
	err := l.raw.Control(func(fd uintptr) {
		_, _, errno = unix.Syscall6(unix.SYS_GETSOCKOPT, fd, unix.SOL_SOCKET, unix.SO_MEMINFO,
			uintptr(unsafe.Pointer(&info)), uintptr(unsafe.Pointer(&size)), 0)
	})
	return info, err == nil && errno == 0 && uintptr(size) == unsafe.Sizeof(info)
}

// Close leaves the groups and ends a Count that is under way with an error.
func (l *Listener) Close() error {
	if err := l.nl.Close(); err != nil {
		return fmt.Errorf("conntrack: close the event socket: %w", err)
	}
	return nil
}

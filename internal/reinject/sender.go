package reinject

import (
	"errors"
	"fmt"
	"unsafe"

	"golang.org/x/sys/unix"
)

// Errors of Send. Any other is the kernel's refusal, as an errno.
var (
	// ErrFiltered: a rule behind the queue dropped the copy, as it would have
	// dropped the packet.
	ErrFiltered = errors.New("re-inject: dropped by a netfilter rule")
	// ErrTooLong: the copy exceeds the MTU of its path, and so do its fragments.
	ErrTooLong = errors.New("re-inject: longer than the MTU of its path")
	// ErrNoPacket: the bytes are no IP packet.
	ErrNoPacket = errors.New("re-inject: not an IPv4 or IPv6 packet")
	// ErrNoSocket: this machine gave no raw socket for the packet's IP version.
	ErrNoSocket = errors.New("re-inject: no raw socket for this IP version")
)

// loopback is lo's interface index in every network namespace
// (LOOPBACK_IFINDEX, include/net/flow.h).
const loopback = 1

// Sender holds a raw socket per IP version. It belongs to one thread: its mark
// is the sockets' state, and the order of packets is that of its calls.
type Sender struct {
	v4  rawSocket[unix.RawSockaddrInet4, unix.Inet4Pktinfo]
	v6  rawSocket[unix.RawSockaddrInet6, unix.Inet6Pktinfo]
	bit uint32
	// fragment is where fragments are laid out; fragmentID numbers IPv6's.
	fragment   [fragmentRoom]byte
	fragmentID uint32
}

// rawSocket is a socket and all that one sendmsg(2) needs: fields, as they must
// not be allocated for each packet.
type rawSocket[Address, Info any] struct {
	fd   int
	mark uint32 // set last: it rarely changes
	to   Address
	ctl  control[Info]
	iov  unix.Iovec
	msg  unix.Msghdr
}

// control is the control message that chooses the route: source address and
// interface, which the socket would else choose for itself.
type control[Info any] struct {
	hdr  unix.Cmsghdr
	info Info
}

const none = -1

// NewSender opens the sockets in the network namespace of the calling thread.
// markBit is added to the mark of every copy.
//
// Raw sockets need CAP_NET_RAW, marks and foreign source addresses CAP_NET_ADMIN
// in the namespace. A machine without IPv6 gives a Sender for IPv4 alone.
func NewSender(markBit uint32) (*Sender, error) {
	s := &Sender{bit: markBit}
	s.v4.fd, s.v6.fd = none, none
	if err := s.open(); err != nil {
		return nil, errors.Join(fmt.Errorf("open raw sockets for re-injection: %w", err), s.Close())
	}
	return s, nil
}

func (s *Sender) open() error {
	// IPPROTO_RAW has IP_HDRINCL set, and receives nothing (raw(7)).
	if err := s.v4.open(unix.AF_INET, s.bit); err != nil {
		return fmt.Errorf("IPv4: %w", err)
	}
	s.v4.to.Family = unix.AF_INET
	s.v4.ctl.hdr.Level, s.v4.ctl.hdr.Type = unix.SOL_IP, unix.IP_PKTINFO
	switch err := s.v6.open(unix.AF_INET6, s.bit); {
	case errors.Is(err, unix.EAFNOSUPPORT):
		return nil
	case err != nil:
		return fmt.Errorf("IPv6: %w", err)
	}
	s.v6.to.Family = unix.AF_INET6
	s.v6.ctl.hdr.Level, s.v6.ctl.hdr.Type = unix.SOL_IPV6, unix.IPV6_PKTINFO
	// Lets IPV6_PKTINFO name a source address that is not this machine's; IPv4
	// allows that with IP_HDRINCL.
	if err := unix.SetsockoptInt(s.v6.fd, unix.SOL_IPV6, unix.IPV6_TRANSPARENT, 1); err != nil {
		return fmt.Errorf("IPv6: IPV6_TRANSPARENT: %w", err)
	}
	return nil
}

func (r *rawSocket[Address, Info]) open(family int, mark uint32) error {
	fd, err := unix.Socket(family, unix.SOCK_RAW|unix.SOCK_CLOEXEC, unix.IPPROTO_RAW)
	if err != nil {
		if errors.Is(err, unix.EPERM) {
			return fmt.Errorf("%w: needs CAP_NET_RAW", err)
		}
		return err
	}
	r.fd = fd
	if err := r.setMark(mark); err != nil {
		return fmt.Errorf("SO_MARK: %w: needs CAP_NET_ADMIN", err)
	}
	r.ctl.hdr.SetLen(unix.CmsgLen(int(unsafe.Sizeof(r.ctl.info))))
	r.msg.Name = (*byte)(unsafe.Pointer(&r.to))
	r.msg.Namelen = uint32(unsafe.Sizeof(r.to))
	r.msg.Iov = &r.iov
	r.msg.SetIovlen(1)
	r.msg.Control = (*byte)(unsafe.Pointer(&r.ctl))
	r.msg.SetControllen(unix.CmsgSpace(int(unsafe.Sizeof(r.ctl.info))))
	return nil
}

func (r *rawSocket[Address, Info]) setMark(mark uint32) error {
	if err := unix.SetsockoptInt(r.fd, unix.SOL_SOCKET, unix.SO_MARK, int(mark)); err != nil {
		return err
	}
	r.mark = mark
	return nil
}

// Send sends a copy of packet, which was queued with the given mark on its way
// out through the interface dev (0: not on its way out). It returns when the copy
// has left the network stack.
//
// A packet that was longer than the path's MTU was to be fragmented behind the
// queue. Its copy is sent as fragments, which the kernel puts together again
// before it tracks them.
func (s *Sender) Send(packet []byte, mark, dev uint32) error {
	if dev == loopback {
		// Local addresses are routed through lo without being lo's.
		dev = 0
	}
	err := s.send(packet, mark, dev)
	switch {
	case errors.Is(err, ErrTooLong):
		return s.sendFragments(packet, mark, dev)
	case errors.Is(err, unix.EACCES) && dev != 0:
		return s.broadcast(packet, mark, dev)
	}
	return err
}

// broadcast allows one packet to be sent to a broadcast address. The socket
// refuses that otherwise (EACCES), since the copy of a broadcast that was on its
// way in would leave this machine.
func (s *Sender) broadcast(packet []byte, mark, dev uint32) error {
	if err := unix.SetsockoptInt(s.v4.fd, unix.SOL_SOCKET, unix.SO_BROADCAST, 1); err != nil {
		return err
	}
	err := s.send(packet, mark, dev)
	return errors.Join(err, unix.SetsockoptInt(s.v4.fd, unix.SOL_SOCKET, unix.SO_BROADCAST, 0))
}

func (s *Sender) send(packet []byte, mark, dev uint32) error {
	if len(packet) == 0 {
		return ErrNoPacket
	}
	mark |= s.bit
	switch version := packet[0] >> 4; {
	case version == 4 && len(packet) >= ipv4HeaderLen:
		r := &s.v4
		r.ctl.info.Ifindex = int32(dev)
		copy(r.ctl.info.Spec_dst[:], packet[12:16])
		copy(r.to.Addr[:], packet[16:20])
		return r.send(packet, mark)
	case version == 6 && len(packet) >= ipv6HeaderLen:
		r := &s.v6
		r.ctl.info.Ifindex = dev
		copy(r.ctl.info.Addr[:], packet[8:24])
		copy(r.to.Addr[:], packet[24:40])
		r.to.Scope_id = dev
		return r.send(packet, mark)
	}
	return ErrNoPacket
}

func (r *rawSocket[Address, Info]) send(packet []byte, mark uint32) error {
	if r.fd == none {
		return ErrNoSocket
	}
	if mark != r.mark {
		if err := r.setMark(mark); err != nil {
			return err
		}
	}
	r.iov.Base = unsafe.SliceData(packet)
	r.iov.SetLen(len(packet))
	for {
		_, _, errno := unix.Syscall(unix.SYS_SENDMSG, uintptr(r.fd), uintptr(unsafe.Pointer(&r.msg)), 0)
		switch errno {
		case 0:
			return nil
		case unix.EINTR:
			continue
		case unix.EPERM:
			// What nf_hook answers to a raw socket whose packet was dropped.
			return ErrFiltered
		case unix.EMSGSIZE:
			return ErrTooLong
		}
		return errno
	}
}

// Close frees the sockets.
func (s *Sender) Close() error { return errors.Join(s.v4.close(), s.v6.close()) }

func (r *rawSocket[Address, Info]) close() error {
	if r.fd == none {
		return nil
	}
	fd := r.fd
	r.fd = none
	if err := unix.Close(fd); err != nil {
		return fmt.Errorf("close raw socket: %w", err)
	}
	return nil
}

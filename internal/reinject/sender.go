package reinject

import (
	"encoding/binary"
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
	// ErrTooLong: the copy exceeds the MTU of its path.
	ErrTooLong = errors.New("re-inject: longer than the MTU of its path")
	// ErrNoPacket: the bytes are no IP packet.
	ErrNoPacket = errors.New("re-inject: not an IPv4 or IPv6 packet")
	// ErrNoSocket: this machine gave no raw socket for the packet's IP version.
	ErrNoSocket = errors.New("re-inject: no raw socket for this IP version")
)

// Sender holds a raw socket per IP version. It belongs to one thread: its mark
// is the sockets' state, and the order of packets is that of its calls.
type Sender struct {
	v4, v6 rawSocket
	bit    uint32
	// Addresses that the next call sends to; fields, as they must not be
	// allocated for each packet.
	to4 unix.RawSockaddrInet4
	to6 unix.RawSockaddrInet6
}

// rawSocket remembers the mark that was set last: it rarely changes.
type rawSocket struct {
	fd   int
	mark uint32
}

const none = -1

// NewSender opens the sockets in the network namespace of the calling thread.
// markBit is added to the mark of every copy.
//
// Raw sockets need CAP_NET_RAW, marks CAP_NET_ADMIN (or CAP_NET_RAW since Linux
// 5.17) in the namespace. A machine without IPv6 gives a Sender for IPv4 alone.
func NewSender(markBit uint32) (*Sender, error) {
	s := &Sender{
		bit: markBit,
		v4:  rawSocket{fd: none}, v6: rawSocket{fd: none},
		to4: unix.RawSockaddrInet4{Family: unix.AF_INET},
		to6: unix.RawSockaddrInet6{Family: unix.AF_INET6},
	}
	if err := s.open(); err != nil {
		return nil, errors.Join(fmt.Errorf("open raw sockets for re-injection: %w", err), s.Close())
	}
	return s, nil
}

func (s *Sender) open() error {
	if err := s.v4.open(unix.AF_INET, s.bit); err != nil {
		return fmt.Errorf("IPv4: %w", err)
	}
	// IPPROTO_RAW has IP_HDRINCL set, and receives nothing (raw(7)). Broadcasts were allowed when the
	// packet was sent first.
	if err := unix.SetsockoptInt(s.v4.fd, unix.SOL_SOCKET, unix.SO_BROADCAST, 1); err != nil {
		return fmt.Errorf("IPv4: SO_BROADCAST: %w", err)
	}
	if err := s.v6.open(unix.AF_INET6, s.bit); err != nil && !errors.Is(err, unix.EAFNOSUPPORT) {
		return fmt.Errorf("IPv6: %w", err)
	}
	return nil
}

func (r *rawSocket) open(family int, mark uint32) error {
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
	return nil
}

func (r *rawSocket) setMark(mark uint32) error {
	if err := unix.SetsockoptInt(r.fd, unix.SOL_SOCKET, unix.SO_MARK, int(mark)); err != nil {
		return err
	}
	r.mark = mark
	return nil
}

// Send sends a copy of packet, which was queued with the given mark and through
// the given interface. It returns when the copy has left the network stack.
func (s *Sender) Send(packet []byte, mark uint32, outDev uint32) error {
	if len(packet) == 0 {
		return ErrNoPacket
	}
	mark |= s.bit
	switch version := packet[0] >> 4; {
	case version == 4 && len(packet) >= 20:
		copy(s.to4.Addr[:], packet[16:20])
		return s.v4.send(packet, mark, unsafe.Pointer(&s.to4), unix.SizeofSockaddrInet4)
	case version == 6 && len(packet) >= 40:
		copy(s.to6.Addr[:], packet[24:40])
		s.to6.Scope_id = 0
		if needsScope(&s.to6.Addr) {
			s.to6.Scope_id = outDev
		}
		return s.v6.send(packet, mark, unsafe.Pointer(&s.to6), unix.SizeofSockaddrInet6)
	}
	return ErrNoPacket
}

// needsScope reports whether an address means nothing without an interface:
// link-local unicast (fe80::/10) and multicast (ff00::/8).
func needsScope(a *[16]byte) bool {
	return a[0] == 0xff || binary.BigEndian.Uint16(a[:])&0xffc0 == 0xfe80
}

func (r *rawSocket) send(packet []byte, mark uint32, to unsafe.Pointer, toLen uintptr) error {
	if r.fd == none {
		return ErrNoSocket
	}
	if mark != r.mark {
		if err := r.setMark(mark); err != nil {
			return err
		}
	}
	for {
		_, _, errno := unix.Syscall6(unix.SYS_SENDTO, uintptr(r.fd),
			uintptr(unsafe.Pointer(unsafe.SliceData(packet))), uintptr(len(packet)), 0, uintptr(to), toLen)
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
func (s *Sender) Close() error {
	var errs []error
	for _, r := range []*rawSocket{&s.v4, &s.v6} {
		if r.fd == none {
			continue
		}
		if err := unix.Close(r.fd); err != nil {
			errs = append(errs, fmt.Errorf("close raw socket: %w", err))
		}
		r.fd = none
	}
	return errors.Join(errs...)
}

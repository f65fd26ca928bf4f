package queue

import (
	"errors"
	"fmt"
	"net/netip"

	"golang.org/x/sys/unix"

	"verdictd/lab/internal/testbed"
)

// flowSockets are UDP sockets: one that receives, and one a flow that is connected to it.
type flowSockets struct {
	flows []int
	sink  int
}

// openFlows makes them in the calling thread's network namespace. The sink has room for so many packets. What is sent
// is cut into datagrams of a size: a chunk of packets goes down as one, and it is nfnetlink_queue that makes packets of
// it, as it does unless NFQA_CFG_F_GSO is set.
func openFlows(target netip.AddrPort, sources []netip.Addr, size, room int) (_ flowSockets, err error) {
	s := flowSockets{sink: -1}
	defer func() {
		if err != nil {
			err = errors.Join(fmt.Errorf("open the load's sockets: %w", err), s.Close())
		}
	}()
	if s.sink, err = udpSocket(target); err != nil {
		return s, err
	}
	if err := roomToReceive(s.sink, room, size); err != nil {
		return s, err
	}
	for _, source := range sources {
		fd, err := udpSocket(netip.AddrPortFrom(source, 0))
		if err != nil {
			return s, err
		}
		s.flows = append(s.flows, fd)
		if err := unix.Connect(fd, socketAddress(target)); err != nil {
			return s, fmt.Errorf("connect to %v: %w", target, err)
		}
		if err := unix.SetsockoptInt(fd, unix.SOL_UDP, unix.UDP_SEGMENT, size); err != nil {
			return s, fmt.Errorf("set UDP_SEGMENT (needs Linux 4.18): %w", err)
		}
	}
	return s, nil
}

// Close closes the sockets.
func (s *flowSockets) Close() error {
	var errs []error
	for _, fd := range append(s.flows, s.sink) {
		if fd >= 0 {
			errs = append(errs, unix.Close(fd))
		}
	}
	return errors.Join(errs...)
}

// roomToReceive is testbed's, for packets of any size.
func roomToReceive(fd, packets, size int) error {
	const small = 1 << 10
	return testbed.RoomToReceive(fd, packets*(1+size/small))
}

func socketAddress(a netip.AddrPort) unix.Sockaddr {
	if a.Addr().Is4() {
		return &unix.SockaddrInet4{Addr: a.Addr().As4(), Port: int(a.Port())}
	}
	return &unix.SockaddrInet6{Addr: a.Addr().As16(), Port: int(a.Port())}
}

func udpSocket(local netip.AddrPort) (int, error) {
	family := unix.AF_INET
	if local.Addr().Is6() {
		family = unix.AF_INET6
	}
	fd, err := unix.Socket(family, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return -1, err
	}
	if err := unix.Bind(fd, socketAddress(local)); err != nil {
		return -1, errors.Join(fmt.Errorf("bind to %v: %w", local, err), unix.Close(fd))
	}
	return fd, nil
}

package traffic

import (
	"errors"
	"fmt"
	"net/netip"
	"syscall"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// sockaddr holds an address in the form that the unix package takes, so that none is allocated for each flow.
type sockaddr struct {
	v4 unix.SockaddrInet4
	v6 unix.SockaddrInet6
}

func (s *sockaddr) set(ap netip.AddrPort) unix.Sockaddr {
	if ap.Addr().Is4() {
		s.v4.Addr, s.v4.Port = ap.Addr().As4(), int(ap.Port())
		return &s.v4
	}
	s.v6.Addr, s.v6.Port = ap.Addr().As16(), int(ap.Port())
	return &s.v6
}

func udpSocket(addr netip.Addr) (int, error) {
	domain := unix.AF_INET
	if addr.Is6() {
		domain = unix.AF_INET6
	}
	fd, err := unix.Socket(domain, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, unix.IPPROTO_UDP)
	switch {
	case errors.Is(err, unix.EMFILE):
		return -1, fmt.Errorf("open UDP socket: %w (raise the limit with ulimit -n, or lower the flows in flight)", err)
	case errors.Is(err, unix.EAFNOSUPPORT):
		return -1, fmt.Errorf("open UDP socket: %w (this kernel or namespace has no IPv6; use an IPv4 target)", err)
	case err != nil:
		return -1, fmt.Errorf("open UDP socket: %w", err)
	}
	return fd, nil
}

// receiverSocket says which socket all flows go to.
type receiverSocket struct {
	at       netip.AddrPort
	buffer   int
	protocol Protocol
	// several: flows arrive at several addresses, and each packet tells at which. The address of at is then that of
	// all.
	several bool
}

// openReceiver binds the socket that all flows go to. It is bound to the one address, not to all, so that echoes
// leave with the address that the flow was sent to; and it is not connected, so that ICMP errors about late
// echoes do not come back as errors of its next send.
func openReceiver(target netip.AddrPort, buffer int) (int, error) {
	return receiverSocket{at: target, buffer: buffer}.open()
}

func (s receiverSocket) open() (fd int, err error) {
	if s.protocol == ProtocolICMP {
		fd, err = rawICMPSocket(s.at.Addr())
	} else {
		fd, err = udpSocket(s.at.Addr())
	}
	if err != nil {
		return -1, err
	}
	if s.several {
		if err := tellDestinations(fd, s.at.Addr()); err != nil {
			_ = unix.Close(fd)
			return -1, err
		}
	}
	if err := setupReceiver(fd, s.at, s.buffer); err != nil {
		_ = unix.Close(fd)
		return -1, err
	}
	return fd, nil
}

// tellDestinations makes a socket say of each datagram at which address it arrived.
func tellDestinations(fd int, of netip.Addr) error {
	level, option := unix.IPPROTO_IP, unix.IP_PKTINFO
	if of.Is6() {
		level, option = unix.IPPROTO_IPV6, unix.IPV6_RECVPKTINFO
	}
	if err := unix.SetsockoptInt(fd, level, option, 1); err != nil {
		return fmt.Errorf("ask for the addresses that packets arrive at: %w", err)
	}
	return nil
}

func setupReceiver(fd int, target netip.AddrPort, buffer int) error {
	var sa sockaddr
	err := unix.Bind(fd, sa.set(target))
	switch {
	case errors.Is(err, unix.EADDRNOTAVAIL):
		return fmt.Errorf("bind receiver to %s: %w (the address is not on an interface that is up in the receiver's namespace: add it, or name the namespace with --receiver-netns)", target, err)
	case errors.Is(err, unix.EADDRINUSE):
		return fmt.Errorf("bind receiver to %s: %w (choose another --port)", target, err)
	case err != nil:
		return fmt.Errorf("bind receiver to %s: %w", target, err)
	}
	for _, opt := range []int{unix.SO_RCVBUF, unix.SO_SNDBUF} {
		if err := setBuffer(fd, opt, buffer); err != nil {
			return fmt.Errorf("set socket buffer of receiver to %d: %w", buffer, err)
		}
	}
	if err := setTimeout(fd, unix.SO_RCVTIMEO, pollInterval); err != nil {
		return fmt.Errorf("set receive timeout: %w", err)
	}
	if err := setTimeout(fd, unix.SO_SNDTIMEO, pollInterval); err != nil {
		return fmt.Errorf("set send timeout: %w", err)
	}
	return nil
}

// setBuffer sets SO_RCVBUF or SO_SNDBUF past net.core.rmem_max or wmem_max where CAP_NET_ADMIN allows it, and up to
// that bound where not; what came of it is in the result.
func setBuffer(fd, opt, size int) error {
	force := unix.SO_RCVBUFFORCE
	if opt == unix.SO_SNDBUF {
		force = unix.SO_SNDBUFFORCE
	}
	err := unix.SetsockoptInt(fd, unix.SOL_SOCKET, force, size)
	if errors.Is(err, unix.EPERM) {
		err = unix.SetsockoptInt(fd, unix.SOL_SOCKET, opt, size)
	}
	return err
}

func setTimeout(fd, opt int, d time.Duration) error {
	tv := unix.NsecToTimeval(int64(d))
	return unix.SetsockoptTimeval(fd, unix.SOL_SOCKET, opt, &tv)
}

// SocketDrops reads how many datagrams the kernel dropped at the socket, most often because its buffer was full.
// SO_MEMINFO exists since Linux 4.12 (a2d133b1d465).
func SocketDrops(fd int) (uint64, error) {
	const drops = 8 // SK_MEMINFO_DROPS
	var info [drops + 1]uint32
	size := uint32(unsafe.Sizeof(info))
	_, _, errno := syscall.Syscall6(unix.SYS_GETSOCKOPT, uintptr(fd), unix.SOL_SOCKET, unix.SO_MEMINFO,
		uintptr(unsafe.Pointer(&info)), uintptr(unsafe.Pointer(&size)), 0)
	if errno != 0 {
		return 0, fmt.Errorf("read SO_MEMINFO: %w", errno)
	}
	if size < uint32(unsafe.Sizeof(info)) {
		return 0, fmt.Errorf("read SO_MEMINFO: the kernel gives %d bytes and no drop counter", size)
	}
	return uint64(info[drops]), nil
}

// dialer makes the sockets of flows. They are connected: the route is looked up once and not for each packet.
type dialer struct {
	target  netip.AddrPort
	remote  unix.Sockaddr
	local   sockaddr
	reuse   bool // SO_REUSEPORT: several sockets share the flow's 5-tuple
	timeout unix.Timeval

	protocol Protocol
}

// newDialer bounds each send by timeout. A send waits when the packets of the flow that a queue holds fill the
// socket's send buffer.
func newDialer(target netip.AddrPort, reuse bool, timeout time.Duration) *dialer {
	return &dialer{
		target:  target,
		remote:  new(sockaddr).set(target),
		reuse:   reuse,
		timeout: unix.NsecToTimeval(int64(timeout)),
	}
}

func (d *dialer) dial(source netip.AddrPort) (int, error) {
	open := udpSocket
	if d.protocol == ProtocolICMP {
		open = pingSocket
	}
	fd, err := open(source.Addr())
	if err != nil {
		return -1, err
	}
	if err := d.connect(fd, source); err != nil {
		_ = unix.Close(fd)
		return -1, err
	}
	return fd, nil
}

func (d *dialer) connect(fd int, source netip.AddrPort) error {
	if d.reuse {
		if err := unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_REUSEPORT, 1); err != nil {
			return fmt.Errorf("set SO_REUSEPORT: %w", err)
		}
	}
	if err := unix.SetsockoptTimeval(fd, unix.SOL_SOCKET, unix.SO_SNDTIMEO, &d.timeout); err != nil {
		return fmt.Errorf("set send timeout: %w", err)
	}
	err := unix.Bind(fd, d.local.set(source))
	if errors.Is(err, unix.EADDRNOTAVAIL) {
		return fmt.Errorf("bind source %s: %w (the address is not on an interface that is up in the sender's namespace, or its duplicate address detection still runs)", source, err)
	}
	if err != nil {
		return fmt.Errorf("bind source %s: %w", source, err)
	}
	if err := unix.Connect(fd, d.remote); err != nil {
		return fmt.Errorf("connect %s to %s: %w", source, d.target, err)
	}
	return nil
}

// defaultSource asks the kernel which address of the sender's namespace it would use towards the target.
func defaultSource(target netip.AddrPort) (netip.Addr, error) {
	fd, err := udpSocket(target.Addr())
	if err != nil {
		return netip.Addr{}, err
	}
	defer func() { _ = unix.Close(fd) }()
	if err := unix.Connect(fd, new(sockaddr).set(target)); err != nil {
		return netip.Addr{}, fmt.Errorf("find a source address towards %s: %w (name one with --source)", target, err)
	}
	sa, err := unix.Getsockname(fd)
	if err != nil {
		return netip.Addr{}, fmt.Errorf("find a source address towards %s: %w", target, err)
	}
	switch sa := sa.(type) {
	case *unix.SockaddrInet4:
		return netip.AddrFrom4(sa.Addr), nil
	case *unix.SockaddrInet6:
		return netip.AddrFrom16(sa.Addr), nil
	default:
		return netip.Addr{}, fmt.Errorf("find a source address towards %s: unexpected address type %T", target, sa)
	}
}

func closeAll(fds []int) {
	for _, fd := range fds {
		_ = unix.Close(fd) // a UDP socket has nothing to flush
	}
}

package traffic

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"

	"golang.org/x/sys/unix"
)

// Protocol is what flows are made of.
type Protocol string

const (
	ProtocolUDP  Protocol = "udp"
	ProtocolICMP Protocol = "icmp" // echo requests, ICMPv6's over IPv6: a flow is an address and an identifier, which stands in for the port
)

// Protocols are all of them.
var Protocols = []Protocol{ProtocolUDP, ProtocolICMP}

// icmpHeader is type, code, checksum, identifier and sequence.
const icmpHeader = 8

// prefix is what stands in a socket's datagrams before the payload.
func (p Protocol) prefix() int {
	if p == ProtocolICMP {
		return icmpHeader
	}
	return 0
}

// echoType is the type of an echo request.
func echoType(of netip.Addr) byte {
	if of.Is6() {
		return 128
	}
	return 8
}

// pingSocket sends echo requests with the identifier that it is bound to, as its port; the kernel writes that and the
// checksum. Identifiers are the sockets' of all addresses together, unless they share them.
func pingSocket(of netip.Addr) (int, error) {
	domain, protocol := unix.AF_INET, unix.IPPROTO_ICMP
	if of.Is6() {
		domain, protocol = unix.AF_INET6, unix.IPPROTO_ICMPV6
	}
	fd, err := unix.Socket(domain, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, protocol)
	if errors.Is(err, unix.EACCES) {
		return -1, fmt.Errorf("open ping socket: %w (this process's group has to be within net.ipv4.ping_group_range of the sender's namespace)", err)
	}
	if err != nil {
		return -1, fmt.Errorf("open ping socket: %w", err)
	}
	if err := unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_REUSEADDR, 1); err != nil {
		_ = unix.Close(fd)
		return -1, fmt.Errorf("set SO_REUSEADDR of ping socket: %w", err)
	}
	return fd, nil
}

// rawICMPSocket hears echo requests, which the kernel answers besides.
func rawICMPSocket(of netip.Addr) (fd int, err error) {
	domain, protocol := unix.AF_INET, unix.IPPROTO_ICMP
	if of.Is6() {
		domain, protocol = unix.AF_INET6, unix.IPPROTO_ICMPV6
	}
	fd, err = unix.Socket(domain, unix.SOCK_RAW|unix.SOCK_CLOEXEC, protocol)
	if err != nil {
		return -1, fmt.Errorf("open raw ICMP socket (needs CAP_NET_RAW): %w", err)
	}
	// A bit for each type that is left out.
	if of.Is6() {
		var filter unix.ICMPv6Filter
		for i := range filter.Data {
			filter.Data[i] = ^uint32(0)
		}
		filter.Data[echoType(of)/32] &^= 1 << (echoType(of) % 32)
		err = unix.SetsockoptICMPv6Filter(fd, unix.IPPROTO_ICMPV6, unix.ICMPV6_FILTER, &filter)
	} else {
		const icmpFilter = 1 // ICMP_FILTER
		err = unix.SetsockoptInt(fd, unix.SOL_RAW, icmpFilter, ^(1 << echoType(of)))
	}
	if err != nil {
		_ = unix.Close(fd)
		return -1, fmt.Errorf("let only echo requests pass: %w", err)
	}
	return fd, nil
}

// echoRequest is the payload of what a raw socket gave, and the flow's source with the identifier in the port's place.
// IPv4 datagrams come with their IP header.
func echoRequest(datagram []byte, from netip.AddrPort) ([]byte, netip.AddrPort) {
	if from.Addr().Is4() && len(datagram) > 0 {
		datagram = datagram[min(len(datagram), int(datagram[0]&0xf)*4):]
	}
	if len(datagram) < icmpHeader {
		return nil, from
	}
	return datagram[icmpHeader:], netip.AddrPortFrom(from.Addr(), binary.BigEndian.Uint16(datagram[4:]))
}

package traffic

import (
	"encoding/binary"
	"net/netip"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"

	"verdictd/internal/nfnl"
)

// batch is a set of datagrams for recvmmsg and sendmmsg on buffers that are made once.
type batch struct {
	msgs  []nfnl.Mmsghdr
	iovs  []unix.Iovec
	names []unix.RawSockaddrInet6 // large enough for IPv4 too; nil when nobody asks for addresses
	bufs  [][]byte

	controls []control // of each message; nil when nobody asks at which address it arrived
}

// control has room for one IP_PKTINFO or IPV6_PKTINFO, aligned as the kernel writes it.
type control [5]uint64

func newBatch(n, size int, names bool) *batch {
	b := &batch{
		msgs: make([]nfnl.Mmsghdr, n),
		iovs: make([]unix.Iovec, n),
		bufs: make([][]byte, n),
	}
	if names {
		b.names = make([]unix.RawSockaddrInet6, n)
	}
	space := make([]byte, n*size)
	for i := range n {
		b.bufs[i] = space[i*size : (i+1)*size : (i+1)*size]
		b.iovs[i].Base = &b.bufs[i][0]
		b.iovs[i].SetLen(size)
		b.msgs[i].Hdr.Iov = &b.iovs[i]
		b.msgs[i].Hdr.SetIovlen(1)
		if names {
			b.msgs[i].Hdr.Name = (*byte)(unsafe.Pointer(&b.names[i]))
			b.msgs[i].Hdr.Namelen = unix.SizeofSockaddrInet6
		}
	}
	return b
}

// askDestinations makes room for what a socket with IP_PKTINFO or IPV6_RECVPKTINFO tells.
func (b *batch) askDestinations() { b.controls = make([]control, len(b.msgs)) }

// destination is the address at which datagram i of the last receive arrived; the zero Addr where the socket does not
// tell.
func (b *batch) destination(i int) netip.Addr {
	raw := unsafe.Slice((*byte)(unsafe.Pointer(&b.controls[i])), unsafe.Sizeof(b.controls[i]))[:b.msgs[i].Hdr.Controllen]
	if len(raw) < unix.SizeofCmsghdr {
		return netip.Addr{}
	}
	header, data := (*unix.Cmsghdr)(unsafe.Pointer(&raw[0])), raw[unix.CmsgLen(0):]
	switch {
	case header.Level == unix.IPPROTO_IP && header.Type == unix.IP_PKTINFO && len(data) >= unix.SizeofInet4Pktinfo:
		return netip.AddrFrom4([4]byte(data[8:12])) // behind the interface and the local address
	case header.Level == unix.IPPROTO_IPV6 && header.Type == unix.IPV6_PKTINFO && len(data) >= unix.SizeofInet6Pktinfo:
		return netip.AddrFrom16([16]byte(data[:16]))
	}
	return netip.Addr{}
}

// payload is datagram i of the last receive, valid until the next one.
func (b *batch) payload(i int) []byte { return b.bufs[i][:b.msgs[i].Len] }

// source is where datagram i of the last receive came from; the zero AddrPort where nobody asked for addresses.
func (b *batch) source(i int) netip.AddrPort {
	if b.names == nil {
		return netip.AddrPort{}
	}
	name := &b.names[i]
	// Port stands at the same place in both families' addresses, in network byte order.
	port := binary.BigEndian.Uint16((*[2]byte)(unsafe.Pointer(&name.Port))[:])
	if name.Family == unix.AF_INET {
		return netip.AddrPortFrom(netip.AddrFrom4((*unix.RawSockaddrInet4)(unsafe.Pointer(name)).Addr), port)
	}
	return netip.AddrPortFrom(netip.AddrFrom16(name.Addr), port)
}

// recv fills the batch and returns how many datagrams came.
func (b *batch) recv(fd, flags int) (int, error) {
	if b.names != nil {
		for i := range b.msgs {
			b.msgs[i].Hdr.Namelen = unix.SizeofSockaddrInet6 // the kernel wrote the length that it used
		}
	}
	for i := range b.controls {
		b.msgs[i].Hdr.Control = (*byte)(unsafe.Pointer(&b.controls[i]))
		b.msgs[i].Hdr.SetControllen(int(unsafe.Sizeof(b.controls[i])))
	}
	return mmsg(unix.SYS_RECVMMSG, fd, b.msgs, flags)
}

// send hands the datagrams of msgs over and returns how many the kernel took before the first that it refused;
// an error is about msgs[0].
func send(fd int, msgs []nfnl.Mmsghdr) (int, error) { return mmsg(unix.SYS_SENDMMSG, fd, msgs, 0) }

func mmsg(call uintptr, fd int, msgs []nfnl.Mmsghdr, flags int) (int, error) {
	for {
		n, _, errno := syscall.Syscall6(call, uintptr(fd), uintptr(unsafe.Pointer(&msgs[0])), uintptr(len(msgs)),
			uintptr(flags), 0, 0)
		if errno == unix.EINTR { // a socket timeout is set, and so SA_RESTART does not apply
			continue
		}
		if errno != 0 {
			return 0, errno
		}
		return int(n), nil
	}
}

package queue

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"unsafe"

	"golang.org/x/sys/unix"

	"verdictd/lab/internal/testbed"
)

// A flood is packets of new flows from random sources of 127.0.0.0/8, to a socket that nobody reads. It sends on the
// thread that opened it, one packet a call, so that whoever sends besides is behind one of them at most.
type flood struct {
	source, sink int
	most         int // packets
	sent         int
	random       *rand.Rand
	out          datagrams
	control      []byte
}

// floodTarget is where the flood goes to.
var floodTarget = netip.AddrPortFrom(netip.AddrFrom4([4]byte{127, 0, 0, 2}), testbed.Port)

// openFlood makes the sockets in the calling thread's network namespace. Most bounds the flows.
func openFlood(most, size int) (_ *flood, err error) {
	f := &flood{source: -1, sink: -1, most: most, random: rand.New(rand.NewPCG(1, 2)), out: newDatagrams(1, size),
		control: make([]byte, unix.CmsgSpace(unix.SizeofInet4Pktinfo))}
	defer func() {
		if err != nil {
			err = errors.Join(fmt.Errorf("open the flood's sockets: %w", err), f.Close())
		}
	}()
	if f.sink, err = udpSocket(floodTarget); err != nil {
		return f, err
	}
	if f.source, err = udpSocket(netip.AddrPortFrom(netip.IPv4Unspecified(), 0)); err != nil {
		return f, err
	}
	header := (*unix.Cmsghdr)(unsafe.Pointer(&f.control[0]))
	header.Level, header.Type = unix.IPPROTO_IP, unix.IP_PKTINFO
	header.SetLen(unix.CmsgLen(unix.SizeofInet4Pktinfo))
	f.out.names[0] = unix.RawSockaddrInet4{Family: unix.AF_INET, Port: testbed.Port<<8 | testbed.Port>>8,
		Addr: floodTarget.Addr().As4()}
	f.out.address(0, false)
	h := &f.out.msgs[0].Hdr
	h.Control = &f.control[0]
	h.SetControllen(len(f.control))
	return f, nil
}

// Close closes the sockets.
func (f *flood) Close() error {
	var errs []error
	for _, fd := range []int{f.source, f.sink} {
		if fd >= 0 {
			errs = append(errs, unix.Close(fd))
		}
	}
	return errors.Join(errs...)
}

// one sends the packet of one flow, as long as there are any left to send.
func (f *flood) one() (more bool, err error) {
	if f.sent >= f.most {
		return false, nil
	}
	f.sent++
	// 127.1.0.0 and above: nobody else's.
	n := f.random.Uint32()
	source := [4]byte{127, byte(1 + n>>16%254), byte(n >> 8), byte(n)}
	copy(f.control[unix.CmsgLen(0)+4:], source[:]) // ipi_spec_dst, behind the interface's number
	if err := sendMessages(f.source, f.out.msgs); err != nil && !errors.Is(err, unix.EPERM) &&
		!errors.Is(err, unix.ENOBUFS) {
		return false, fmt.Errorf("flood with a flow from %v: %w", netip.AddrFrom4(source), err)
	}
	return true, nil
}

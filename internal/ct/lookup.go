package ct

import (
	"errors"
	"fmt"

	"golang.org/x/sys/unix"

	"verdictd/internal/nfnl"
	"verdictd/internal/packet"
)

// Attributes of a tuple (include/uapi/linux/netfilter/nfnetlink_conntrack.h).
const (
	msgNew = 0 // IPCTNL_MSG_CT_NEW
	msgGet = 1 // IPCTNL_MSG_CT_GET

	ctaTupleOrig  = 1
	ctaTupleIP    = 1
	ctaTupleProto = 2

	ctaIPv4Src = 1
	ctaIPv4Dst = 2
	ctaIPv6Src = 3
	ctaIPv6Dst = 4

	ctaProtoNum        = 1
	ctaProtoSrcPort    = 2
	ctaProtoDstPort    = 3
	ctaProtoICMPID     = 4
	ctaProtoICMPType   = 5
	ctaProtoICMPCode   = 6
	ctaProtoICMPv6ID   = 7
	ctaProtoICMPv6Type = 8
	ctaProtoICMPv6Code = 9
)

// Lookup asks conntrack for single entries. Unlike Conn it allocates nothing, as
// it is asked for packets. It belongs to one goroutine.
type Lookup struct {
	socket *nfnl.Socket
	recv   *nfnl.Receiver
	enc    nfnl.Encoder
}

// NewLookup opens a socket in the network namespace of the calling thread. It
// fails where the kernel has no nf_conntrack_netlink.
func NewLookup() (*Lookup, error) {
	const op = "look up entries"
	socket, err := nfnl.Dial(nfnl.Config{})
	if err != nil {
		return nil, explain(op, err)
	}
	l := &Lookup{socket: socket, recv: nfnl.NewReceiver(1, 4096)}
	if _, err := l.Confirmed(&packet.Key{0: 4, 1: unix.IPPROTO_UDP}); err != nil {
		return nil, errors.Join(explain(op, err), socket.Close())
	}
	return l, nil
}

// Confirmed reports whether the table holds an entry with this tuple, in either
// direction and in no zone: only confirmed entries are in it.
func (l *Lookup) Confirmed(k *packet.Key) (bool, error) {
	l.enc.Reset()
	family := uint8(unix.AF_INET)
	if k[0] == 6 {
		family = unix.AF_INET6
	}
	l.enc.Begin(nfnl.Type(unix.NFNL_SUBSYS_CTNETLINK, msgGet), family, 0)
	tuple := l.enc.BeginNested(ctaTupleOrig)
	l.addresses(k)
	l.protocol(k)
	l.enc.EndNested(tuple)
	l.enc.End()
	if err := l.socket.Send(l.enc.Bytes()); err != nil {
		return false, err
	}
	// The kernel has answered within Send, with the entry or with a refusal.
	if _, err := l.recv.Receive(l.socket, true); err != nil {
		return false, err
	}
	b, _ := l.recv.Datagram(0)
	m, _, ok := nfnl.Next(b)
	if !ok {
		return false, errors.New("conntrack's answer is no netlink message")
	}
	if errno, ok := m.Ack(); ok {
		if errno == unix.ENOENT {
			return false, nil
		}
		return false, errno
	}
	if m.Type != nfnl.Type(unix.NFNL_SUBSYS_CTNETLINK, msgNew) {
		return false, fmt.Errorf("conntrack answered with a message of type %#x", m.Type)
	}
	return true, nil
}

func (l *Lookup) addresses(k *packet.Key) {
	nest := l.enc.BeginNested(ctaTupleIP)
	if k[0] == 6 {
		l.enc.Raw(ctaIPv6Src, k[4:20])
		l.enc.Raw(ctaIPv6Dst, k[20:36])
	} else {
		l.enc.Raw(ctaIPv4Src, k[4:8])
		l.enc.Raw(ctaIPv4Dst, k[20:24])
	}
	l.enc.EndNested(nest)
}

// protocol adds what the key's last four bytes mean for its protocol.
func (l *Lookup) protocol(k *packet.Key) {
	nest := l.enc.BeginNested(ctaTupleProto)
	l.enc.Raw(ctaProtoNum, k[1:2])
	switch k[1] {
	case unix.IPPROTO_ICMP:
		l.enc.Raw(ctaProtoICMPID, k[36:38])
		l.enc.Raw(ctaProtoICMPType, k[38:39])
		l.enc.Raw(ctaProtoICMPCode, k[39:40])
	case unix.IPPROTO_ICMPV6:
		l.enc.Raw(ctaProtoICMPv6ID, k[36:38])
		l.enc.Raw(ctaProtoICMPv6Type, k[38:39])
		l.enc.Raw(ctaProtoICMPv6Code, k[39:40])
	default: // ignored by the tracker of protocols without ports
		l.enc.Raw(ctaProtoSrcPort, k[36:38])
		l.enc.Raw(ctaProtoDstPort, k[38:40])
	}
	l.enc.EndNested(nest)
}

// Close frees the socket.
func (l *Lookup) Close() error { return l.socket.Close() }

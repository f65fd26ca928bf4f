package ct

import (
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"
)

// Message types of ctnetlink (enum cntl_msg_types in linux/netfilter/nfnetlink_conntrack.h).
const (
	msgGetStatsCPU = 4 // IPCTNL_MSG_CT_GET_STATS_CPU
	msgGetStats    = 5 // IPCTNL_MSG_CT_GET_STATS
)

// nfgenmsgLen is the length of struct nfgenmsg: family, version, and a number in network order, which in the per-CPU
// statistics is that of the CPU.
const nfgenmsgLen = 4

// messageBuffer holds any one datagram: a dump's are at most 32 KiB, an event is well under one page. With a fixed size
// the netlink library reads each at once, without asking for its length first.
const messageBuffer = 64 << 10

// Conn asks for conntrack statistics. It belongs to one goroutine. Who dials it closes it.
type Conn struct {
	nl *netlink.Conn
}

// Dial opens a socket in the network namespace of the calling thread.
func Dial() (*Conn, error) {
	nl, err := netlink.Dial(unix.NETLINK_NETFILTER, &netlink.Config{MessageBufferSize: messageBuffer})
	if err != nil {
		return nil, explain("open a netfilter netlink socket", err)
	}
	return &Conn{nl: nl}, nil
}

// Close closes the socket.
func (c *Conn) Close() error {
	if err := c.nl.Close(); err != nil {
		return fmt.Errorf("conntrack: close the netlink socket: %w", err)
	}
	return nil
}

// request builds a request without attributes.
func request(msg uint16, flags netlink.HeaderFlags) netlink.Message {
	return netlink.Message{
		Header: netlink.Header{
			Type:  ctnetlinkType(msg),
			Flags: netlink.Request | flags,
		},
		Data: make([]byte, nfgenmsgLen), // AF_UNSPEC, NFNETLINK_V0, 0
	}
}

func ctnetlinkType(msg uint16) netlink.HeaderType {
	return netlink.HeaderType(unix.NFNL_SUBSYS_CTNETLINK<<8 | msg)
}

// attributes returns a decoder for what follows the nfgenmsg, and that header's number.
func attributes(m netlink.Message) (*netlink.AttributeDecoder, uint16, error) {
	if len(m.Data) < nfgenmsgLen {
		return nil, 0, fmt.Errorf("message of %d bytes is shorter than its header", len(m.Data))
	}
	ad, err := netlink.NewAttributeDecoder(m.Data[nfgenmsgLen:])
	if err != nil {
		return nil, 0, err
	}
	ad.ByteOrder = binary.BigEndian
	return ad, binary.BigEndian.Uint16(m.Data[2:4]), nil
}

// explain adds to a refusal what cures it.
func explain(op string, err error) error {
	err = fmt.Errorf("conntrack: %s: %w", op, err)
	switch {
	case errors.Is(err, unix.EPERM):
		return fmt.Errorf("%w: CAP_NET_ADMIN is needed in this network namespace (root of its user namespace has it): start it by sudo, or from a unit with AmbientCapabilities=CAP_NET_ADMIN", err)
	case errors.Is(err, unix.EINVAL):
		// nfnetlink's answer for a subsystem that is not there and that it could not load.
		return fmt.Errorf("%w: this kernel has no ctnetlink: modprobe nf_conntrack_netlink (CONFIG_NF_CT_NETLINK)", err)
	case errors.Is(err, unix.EPROTONOSUPPORT):
		return fmt.Errorf("%w: this kernel has no netfilter netlink: modprobe nfnetlink (CONFIG_NETFILTER_NETLINK)", err)
	}
	return err
}

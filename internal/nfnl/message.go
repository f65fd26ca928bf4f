package nfnl

import (
	"encoding/binary"

	"golang.org/x/sys/unix"
)

// HeaderLen is the length in bytes of the headers of every nfnetlink message:
// struct nlmsghdr and struct nfgenmsg.
const HeaderLen = unix.SizeofNlMsghdr + 4

// Type joins a subsystem (NFNL_SUBSYS_*) and one of its messages to the type
// field of a netlink header.
func Type(subsystem, message uint16) uint16 { return subsystem<<8 | message }

// Message is one netlink message inside a received datagram; Body begins after
// struct nlmsghdr and borrows the datagram's bytes.
type Message struct {
	Type  uint16
	Flags uint16
	Seq   uint32
	// PortID is the socket that the message answers, or that caused the event; 0
	// is the kernel itself.
	PortID uint32
	Body   []byte
}

// Next splits the first message off b. ok is false at the end of b and where
// what is left is no message.
func Next(b []byte) (m Message, rest []byte, ok bool) {
	if len(b) < unix.SizeofNlMsghdr {
		return m, nil, false
	}
	n := int(binary.NativeEndian.Uint32(b))
	if n < unix.SizeofNlMsghdr || n > len(b) {
		return m, nil, false
	}
	return message(b[:n]), b[min(align(n), len(b)):], true
}

// Head is the message that b begins with, of which the receiver's buffer may
// have cut off the end. ok is false where not even the header is there.
func Head(b []byte) (m Message, ok bool) {
	if len(b) < unix.SizeofNlMsghdr {
		return m, false
	}
	n := int(binary.NativeEndian.Uint32(b))
	if n < unix.SizeofNlMsghdr {
		return m, false
	}
	return message(b[:min(n, len(b))]), true
}

// Peek is Head for who reads many messages: the type of the one that b begins with (0: there is none), its Resource,
// and its Attributes as far as b has them; complete reports that b has all. A Message is put together in memory, which
// takes longer than all that is read of it.
func Peek(b []byte) (typ, resource uint16, attributes Attributes, complete bool) {
	if len(b) < unix.SizeofNlMsghdr {
		return 0, 0, nil, false
	}
	n := int(binary.NativeEndian.Uint32(b))
	if n < unix.SizeofNlMsghdr {
		return 0, 0, nil, false
	}
	typ, complete = binary.NativeEndian.Uint16(b[4:]), n <= len(b)
	if b = b[:min(n, len(b))]; len(b) >= HeaderLen {
		resource, attributes = binary.BigEndian.Uint16(b[unix.SizeofNlMsghdr+2:]), b[HeaderLen:]
	}
	return typ, resource, attributes, complete
}

func message(b []byte) Message {
	return Message{
		Type:   binary.NativeEndian.Uint16(b[4:]),
		Flags:  binary.NativeEndian.Uint16(b[6:]),
		Seq:    binary.NativeEndian.Uint32(b[8:]),
		PortID: binary.NativeEndian.Uint32(b[12:]),
		Body:   b[unix.SizeofNlMsghdr:],
	}
}

// Ack reads an acknowledgement or a refusal: ok is false for any other
// message, and errno is 0 where the kernel has done what it was told.
func (m Message) Ack() (errno unix.Errno, ok bool) {
	if m.Type != unix.NLMSG_ERROR || len(m.Body) < 4 {
		return 0, false
	}
	return unix.Errno(-int32(binary.NativeEndian.Uint32(m.Body))), true
}

// Echo is the message that an acknowledgement or a refusal answers, as far as
// the kernel sent it back: the whole of one that was refused, the header alone
// of one that was carried out (netlink_ack in the kernel).
func (m Message) Echo() (sent Message, ok bool) {
	if m.Type != unix.NLMSG_ERROR || len(m.Body) < 4 {
		return sent, false
	}
	return Head(m.Body[4:])
}

// Resource is the res_id of the message's struct nfgenmsg: for queue messages
// the number of the queue.
func (m Message) Resource() (id uint16, ok bool) {
	if len(m.Body) < 4 {
		return 0, false
	}
	return binary.BigEndian.Uint16(m.Body[2:]), true
}

// Attributes are the message's attributes, after struct nfgenmsg.
func (m Message) Attributes() Attributes {
	if len(m.Body) < 4 {
		return nil
	}
	return m.Body[4:]
}

// Attributes walks a run of netlink attributes in place.
type Attributes []byte

// typeMask takes NLA_F_NESTED and NLA_F_NET_BYTEORDER off an attribute's type.
const typeMask = 0x3fff

// Next returns the first attribute and moves on. ok is false at the end and
// where what is left is no attribute.
func (a *Attributes) Next() (typ uint16, data []byte, ok bool) {
	b := *a
	if len(b) < unix.SizeofNlAttr {
		return 0, nil, false
	}
	n := int(binary.NativeEndian.Uint16(b))
	if n < unix.SizeofNlAttr || n > len(b) {
		return 0, nil, false
	}
	*a = b[min(align(n), len(b)):]
	return binary.NativeEndian.Uint16(b[2:]) & typeMask, b[unix.SizeofNlAttr:n], true
}

// align rounds up to the 4 bytes that netlink messages and attributes align to.
func align(n int) int { return (n + 3) &^ 3 }

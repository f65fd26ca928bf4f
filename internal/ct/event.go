package ct

import (
	"encoding/binary"
	"net/netip"

	"golang.org/x/sys/unix"

	"verdictd/internal/nfnl"
	"verdictd/internal/vocabulary"
)

// EventType is what happened to an entry.
type EventType uint8

// The types of events.
const (
	EventNew EventType = iota + 1
	EventUpdate
	EventDestroy
)

// String returns the type's name, in lower case.
func (t EventType) String() string {
	switch t {
	case EventNew:
		return "new"
	case EventUpdate:
		return "update"
	case EventDestroy:
		return "destroy"
	}
	return "unknown"
}

// MarshalText makes the name stand in JSON.
func (t EventType) MarshalText() ([]byte, error) { return []byte(t.String()), nil }

// Bits of an entry's status (enum ip_conntrack_status in linux/netfilter/nf_conntrack_common.h).
const (
	StatusSeenReply = 1 << 1
	StatusAssured   = 1 << 2
	StatusOffload   = 1 << 14
	StatusHWOffload = 1 << 15
)

// Tuple is one direction of a flow.
type Tuple struct {
	Src, Dst netip.Addr
	Protocol vocabulary.Protocol
	// SrcPort and DstPort are ports, or GRE's keys.
	SrcPort, DstPort             uint16
	ICMPType, ICMPCode           uint8
	ICMPID                       uint16
	Zone                         uint16 // of this direction alone; 0 where the entry's zone is that of both
	Packets, Bytes               uint64
	HasPorts, HasICMP, HasCounts bool
}

// Field says which of an [Event]'s numbers the kernel sent.
type Field uint8

// The fields.
const (
	HasStatus Field = 1 << iota
	HasTimeout
	HasMark
	HasTCPState
	HasSCTPState
	HasDCCPState
	HasStart
	HasStop
)

// Event is one entry of the table, and what happened to it.
type Event struct {
	Type        EventType
	Family      uint8 // AF_INET, AF_INET6
	Orig, Reply Tuple
	ID          uint32
	Status      uint32
	Timeout     uint32 // seconds
	Mark        uint32
	Zone        uint16 // of both directions
	State       uint8  // of TCP, SCTP or DCCP
	Start, Stop uint64 // ns since 1970; sent where net.netfilter.nf_conntrack_timestamp is 1
	PortID      uint32 // of the socket that asked for the change; 0: traffic did it
	Has         Field
	// helper is the name of the program part that reads the flow (ftp, sip), cut off at a
	// zero byte.
	helper [helperLen]byte
}

// helperLen is NF_CT_HELPER_NAME_LEN.
const helperLen = 16

// HelperName is the helper's, empty where the kernel sent none. It is the event's own
// bytes.
func (e *Event) HelperName() []byte {
	for i, c := range e.helper {
		if c == 0 {
			return e.helper[:i]
		}
	}
	return e.helper[:]
}

// Attributes of an entry (include/uapi/linux/netfilter/nfnetlink_conntrack.h), beside those of tuples.
const (
	ctaTupleReply   = 2
	ctaStatus       = 3
	ctaProtoInfo    = 4
	ctaHelp         = 5
	ctaTimeout      = 7
	ctaMark         = 8
	ctaCountersOrig = 9
	ctaCountersRepl = 10
	ctaID           = 12
	ctaZone         = 18
	ctaTimestamp    = 20

	ctaTupleZone = 3

	ctaProtoInfoTCP  = 1
	ctaProtoInfoDCCP = 2
	ctaProtoInfoSCTP = 3
	ctaProtoState    = 1 // in each of them

	ctaHelpName = 1

	ctaCountersPackets = 1
	ctaCountersBytes   = 2

	ctaTimestampStart = 1
	ctaTimestampStop  = 2

	msgDelete = 2 // IPCTNL_MSG_CT_DELETE
)

// The types of messages about entries.
const (
	typeNew    = unix.NFNL_SUBSYS_CTNETLINK<<8 | msgNew
	typeDelete = unix.NFNL_SUBSYS_CTNETLINK<<8 | msgDelete
)

// eventType reads off a message's header what happened; ok is false for a message about something else.
func eventType(m *nfnl.Message) (t EventType, ok bool) {
	switch m.Type {
	case typeNew:
		if m.Flags&(unix.NLM_F_CREATE|unix.NLM_F_EXCL) != 0 {
			return EventNew, true
		}
		return EventUpdate, true
	case typeDelete:
		return EventDestroy, true
	}
	return 0, false
}

// protocolOf finds an event's protocol, which is all that counting needs: it stands in the first of its attributes.
func protocolOf(attrs nfnl.Attributes) (p vocabulary.Protocol, ok bool) {
	tuple, ok := find(attrs, ctaTupleOrig)
	if !ok {
		return 0, false
	}
	proto, ok := find(tuple, ctaTupleProto)
	if !ok {
		return 0, false
	}
	number, ok := find(proto, ctaProtoNum)
	if !ok || len(number) < 1 {
		return 0, false
	}
	return vocabulary.Protocol(number[0]), true
}

func find(attrs nfnl.Attributes, want uint16) (nfnl.Attributes, bool) {
	for {
		typ, data, ok := attrs.Next()
		if !ok {
			return nil, false
		}
		if typ == want {
			return data, true
		}
	}
}

// decode reads a message into e, overwriting all of it. It is false for what is no event about an entry with addresses.
// Nothing of the message's bytes is kept.
func (e *Event) decode(m *nfnl.Message) bool {
	*e = Event{}
	t, ok := eventType(m)
	if !ok || len(m.Body) < nfgenmsgLen {
		return false
	}
	e.Type, e.Family, e.PortID = t, m.Body[0], m.PortID
	for attrs := m.Attributes(); ; {
		typ, data, ok := attrs.Next()
		if !ok {
			break
		}
		switch typ {
		case ctaTupleOrig:
			e.Orig.decode(data)
		case ctaTupleReply:
			e.Reply.decode(data)
		case ctaStatus:
			e.number(&e.Status, HasStatus, data)
		case ctaTimeout:
			e.number(&e.Timeout, HasTimeout, data)
		case ctaMark:
			e.number(&e.Mark, HasMark, data)
		case ctaID:
			e.number(&e.ID, 0, data)
		case ctaZone:
			e.Zone = number16(data)
		case ctaCountersOrig:
			e.Orig.counts(data)
		case ctaCountersRepl:
			e.Reply.counts(data)
		case ctaProtoInfo:
			e.protoInfo(data)
		case ctaTimestamp:
			e.timestamps(data)
		case ctaHelp:
			if name, ok := find(data, ctaHelpName); ok {
				copy(e.helper[:], name)
			}
		}
	}
	return e.Orig.Src.IsValid() && e.Orig.Dst.IsValid()
}

// number reads a number of 32 bits that the kernel may or may not send.
func (e *Event) number(to *uint32, field Field, data []byte) {
	if len(data) >= 4 {
		*to = binary.BigEndian.Uint32(data)
		e.Has |= field
	}
}

// protoInfo reads the state of a TCP, SCTP or DCCP connection.
func (e *Event) protoInfo(info nfnl.Attributes) {
	typ, inner, ok := info.Next()
	if !ok {
		return
	}
	state, ok := find(inner, ctaProtoState)
	if !ok || len(state) < 1 {
		return
	}
	switch typ {
	case ctaProtoInfoTCP:
		e.State, e.Has = state[0], e.Has|HasTCPState
	case ctaProtoInfoSCTP:
		e.State, e.Has = state[0], e.Has|HasSCTPState
	case ctaProtoInfoDCCP:
		e.State, e.Has = state[0], e.Has|HasDCCPState
	}
}

func (e *Event) timestamps(times nfnl.Attributes) {
	if data, ok := find(times, ctaTimestampStart); ok && len(data) >= 8 {
		e.Start, e.Has = binary.BigEndian.Uint64(data), e.Has|HasStart
	}
	if data, ok := find(times, ctaTimestampStop); ok && len(data) >= 8 {
		e.Stop, e.Has = binary.BigEndian.Uint64(data), e.Has|HasStop
	}
}

func (t *Tuple) decode(attrs nfnl.Attributes) {
	for {
		typ, data, ok := attrs.Next()
		if !ok {
			return
		}
		switch typ {
		case ctaTupleIP:
			t.addresses(data)
		case ctaTupleProto:
			t.protocol(data)
		case ctaTupleZone:
			t.Zone = number16(data)
		}
	}
}

func (t *Tuple) addresses(attrs nfnl.Attributes) {
	for {
		typ, data, ok := attrs.Next()
		if !ok {
			return
		}
		address, ok := netip.AddrFromSlice(data)
		switch {
		case !ok:
		case typ == ctaIPv4Src || typ == ctaIPv6Src:
			t.Src = address
		case typ == ctaIPv4Dst || typ == ctaIPv6Dst:
			t.Dst = address
		}
	}
}

func (t *Tuple) protocol(attrs nfnl.Attributes) {
	for {
		typ, data, ok := attrs.Next()
		if !ok {
			return
		}
		switch typ {
		case ctaProtoNum:
			t.Protocol = vocabulary.Protocol(number8(data))
		case ctaProtoSrcPort:
			t.SrcPort, t.HasPorts = number16(data), true
		case ctaProtoDstPort:
			t.DstPort = number16(data)
		case ctaProtoICMPID, ctaProtoICMPv6ID:
			t.ICMPID, t.HasICMP = number16(data), true
		case ctaProtoICMPType, ctaProtoICMPv6Type:
			t.ICMPType = number8(data)
		case ctaProtoICMPCode, ctaProtoICMPv6Code:
			t.ICMPCode = number8(data)
		}
	}
}

// counts reads what net.netfilter.nf_conntrack_acct has counted.
func (t *Tuple) counts(attrs nfnl.Attributes) {
	if data, ok := find(attrs, ctaCountersPackets); ok && len(data) >= 8 {
		t.Packets, t.HasCounts = binary.BigEndian.Uint64(data), true
	}
	if data, ok := find(attrs, ctaCountersBytes); ok && len(data) >= 8 {
		t.Bytes = binary.BigEndian.Uint64(data)
	}
}

func number8(data []byte) uint8 {
	if len(data) < 1 {
		return 0
	}
	return data[0]
}

func number32(data []byte) uint32 {
	if len(data) < 4 {
		return 0
	}
	return binary.BigEndian.Uint32(data)
}

func number16(data []byte) uint16 {
	if len(data) < 2 {
		return 0
	}
	return binary.BigEndian.Uint16(data)
}

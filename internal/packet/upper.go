package packet

import (
	"encoding/binary"

	"golang.org/x/sys/unix"
)

const (
	udpHeaderLen  = 8
	tcpHeaderLen  = 20
	sctpHeaderLen = 12
	dccpHeaderLen = 12
	icmpHeaderLen = 8

	greVersionMask = 0x07
	greVersionPPTP = 1
)

// decodeUpper reads h, the upper layer of a packet or of its first fragment.
// Ports are taken from any four bytes, as nf_ct_get_tuple_ports and nftables
// do: a first fragment too small for its TCP header must not pass by a rule on
// its port. Nor must one that has not even those, the rest following in the next
// fragment behind a long chain of extension headers (RFC 7112): it is refused.
func (v *View) decodeUpper(h []byte) error {
	headerLen := 0
	switch v.Protocol {
	case unix.IPPROTO_UDP:
		headerLen = udpHeaderLen
		v.decodePorts(h)
		if len(h) >= 6 {
			v.UDPLen = binary.BigEndian.Uint16(h[4:])
		}
	case unix.IPPROTO_UDPLITE:
		headerLen = udpHeaderLen
		v.decodePorts(h)
	case unix.IPPROTO_TCP:
		headerLen = tcpHeaderLen
		v.decodePorts(h)
		if len(h) >= 14 {
			v.TCPFlags = h[13]
			headerLen = dataOffset(h[12]>>4, tcpHeaderLen)
		}
	case unix.IPPROTO_SCTP:
		headerLen = sctpHeaderLen
		v.decodePorts(h)
	case unix.IPPROTO_DCCP:
		headerLen = dccpHeaderLen
		v.decodePorts(h)
		if len(h) >= 5 {
			headerLen = dataOffset(h[4], dccpHeaderLen)
		}
	case unix.IPPROTO_ICMP, unix.IPPROTO_ICMPV6:
		headerLen = icmpHeaderLen
		if len(h) >= icmpHeaderLen {
			v.ICMPType, v.ICMPCode = h[0], h[1]
			v.ICMPID = binary.BigEndian.Uint16(h[4:])
		}
	case unix.IPPROTO_GRE:
		if len(h) >= 8 && h[1]&greVersionMask == greVersionPPTP {
			v.GRECallID = binary.BigEndian.Uint16(h[6:])
		}
	}
	if hasPorts(v.Protocol) && !v.ports {
		return v.cut(ErrNoPorts)
	}
	end := v.HeaderLen + headerLen
	if len(h) >= headerLen {
		v.payload = end
		return nil
	}
	if end > MaxHeaders && end <= v.TotalLen {
		return ErrTooLong // it is there, and so is what nobody looks at
	}
	return nil
}

func hasPorts(protocol uint8) bool {
	switch protocol {
	case unix.IPPROTO_UDP, unix.IPPROTO_UDPLITE, unix.IPPROTO_TCP, unix.IPPROTO_SCTP, unix.IPPROTO_DCCP:
		return true
	}
	return false
}

// dataOffset turns a length in 32-bit words into bytes. One below the minimum
// is a lie and becomes a length that no packet has.
func dataOffset(words uint8, least int) int {
	if n := int(words) * 4; n >= least {
		return n
	}
	return 1 << 30
}

func (v *View) decodePorts(h []byte) {
	if len(h) < 4 {
		return
	}
	v.ports = true
	v.SrcPort = binary.BigEndian.Uint16(h)
	v.DstPort = binary.BigEndian.Uint16(h[2:])
}

package nfq

import (
	"encoding/binary"

	"verdictd/internal/nfnl"
)

// Packet is one queued packet. Payload borrows the receive buffer.
type Packet struct {
	ID uint32
	// Queue is the number of the queue that it came from.
	Queue uint16
	// Hook is where it was queued, by the kernel's number (vocabulary.HookAt).
	Hook uint8
	// Mark is the packet's mark (skb->mark).
	Mark uint32
	// InDev and OutDev are interface indices, 0 where the packet has none.
	InDev, OutDev uint32
	// Payload begins with the IP header.
	Payload []byte
	// CapLen is the packet's full length in bytes where Payload was cut to the
	// copy range, else 0.
	CapLen uint32
	// ChecksumNotReady: the checksum is still to be computed, as happens with
	// Config.GSO. GSO: the packet is longer than the MTU and will be segmented.
	ChecksumNotReady, GSO bool
	// UID and GID own the sending socket, where HasUID and HasGID. They are those
	// of the initial user namespace.
	UID, GID       uint32
	HasUID, HasGID bool
	// CTStatus are the IPS_* bits of the packet's conntrack entry, where HasCT, and CTMark
	// is its mark. One that conntrack does not track, or takes for invalid, has none.
	CTStatus, CTMark uint32
	HasCT            bool
	// CTInfo is how the packet stands to the entry (enum ip_conntrack_info), where
	// HasCTInfo: that comes with the entry.
	CTInfo    CTInfo
	HasCTInfo bool
	// Left: another process had it. Again: that may have answered it.
	Left, Again bool

	place uint32 // in the journal
}

// Cut reports that less of the packet was copied than there is.
func (p *Packet) Cut() bool { return p.CapLen != 0 && int(p.CapLen) > len(p.Payload) }

// Length is the packet's whole length in bytes.
func (p *Packet) Length() int {
	if p.Cut() {
		return int(p.CapLen)
	}
	return len(p.Payload)
}

// CTInfo is how a packet stands to its conntrack entry, with the numbers of enum
// ip_conntrack_info (include/uapi/linux/netfilter/nf_conntrack_common.h).
type CTInfo uint32

// What there is. A packet in the direction of the reply has 3 more; none is of the reply
// to a flow that is new.
const (
	CTEstablished      CTInfo = 0
	CTRelated          CTInfo = 1
	CTNew              CTInfo = 2
	CTEstablishedReply CTInfo = 3
	CTRelatedReply     CTInfo = 4
)

// Confirmed reports whether the kernel said that the packet's conntrack entry
// is in the table.
func (p *Packet) Confirmed() bool { return p.HasCT && p.CTStatus&ipsConfirmed != 0 }

func be32(b []byte) uint32 { return binary.BigEndian.Uint32(b) }

// decode reads a packet message's attributes. It reports whether they had a
// packet's header, without which there is nothing to give a verdict on.
func (p *Packet) decode(attrs nfnl.Attributes) bool {
	*p = Packet{}
	found := false
	for {
		typ, data, ok := attrs.Next()
		if !ok {
			return found
		}
		switch typ {
		case nfqaPayload:
			p.Payload = data
			continue
		case nfqaCT:
			p.decodeCT(data)
			continue
		}
		if len(data) < 4 {
			continue
		}
		v := be32(data)
		switch typ {
		case nfqaPacketHdr:
			if len(data) >= 7 {
				p.ID, p.Hook, found = v, data[6], true
			}
		case nfqaMark:
			p.Mark = v
		case nfqaIfindexIndev:
			p.InDev = v
		case nfqaIfindexOutdev:
			p.OutDev = v
		case nfqaCapLen:
			p.CapLen = v
		case nfqaSkbInfo:
			p.setSkbInfo(v)
		case nfqaCTInfo:
			p.CTInfo, p.HasCTInfo = CTInfo(v), true
		case nfqaUID:
			p.UID, p.HasUID = v, true
		case nfqaGID:
			p.GID, p.HasGID = v, true
		}
	}
}

func (p *Packet) setSkbInfo(v uint32) {
	p.ChecksumNotReady, p.GSO = v&skbCsumNotReady != 0, v&skbGSO != 0
}

func (p *Packet) decodeCT(attrs nfnl.Attributes) {
	for {
		typ, data, ok := attrs.Next()
		if !ok {
			return
		}
		if len(data) < 4 {
			continue
		}
		switch typ {
		case ctaStatus:
			p.CTStatus, p.HasCT = be32(data), true
		case ctaMark: // a kernel without CONFIG_NF_CONNTRACK_MARK sends none
			p.CTMark = be32(data)
		}
	}
}

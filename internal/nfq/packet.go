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
	// CTStatus are the IPS_* bits of the packet's conntrack entry, where HasCT.
	CTStatus uint32
	HasCT    bool
	// Left: another process had it. Again: that may have answered it.
	Left, Again bool

	place uint32 // in the journal
}

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
		if typ == ctaStatus && len(data) >= 4 {
			p.CTStatus, p.HasCT = be32(data), true
		}
	}
}

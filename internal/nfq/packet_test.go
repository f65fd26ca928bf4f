package nfq

import (
	"testing"

	"verdictd/internal/nfnl"
)

// TestConntrackOfPacket reads what a kernel with CONFIG_NETFILTER_NETLINK_GLUE_CT sends
// (ctnetlink_glue_build), as not every machine has one.
func TestConntrackOfPacket(t *testing.T) {
	message := func(lay func(*nfnl.Encoder)) *Packet {
		var e nfnl.Encoder
		e.Begin(typePacket, 0, 0)
		e.Raw(nfqaPacketHdr, []byte{0, 0, 0, 9, 8, 0, 3})
		lay(&e)
		e.End()
		m, _, ok := nfnl.Next(e.Bytes())
		p := &Packet{}
		if !ok || !p.decode(m.Attributes()) {
			t.Fatal("no message")
		}
		return p
	}
	entry := func(e *nfnl.Encoder) {
		nest := e.BeginNested(nfqaCT)
		e.Uint32(ctaStatus, ipsConfirmed|1)
		e.Uint32(ctaMark, 0xabcd)
		e.Raw(ctaMark+100, []byte{1}) // some other attribute, and a short one
		e.EndNested(nest)
	}
	p := message(func(e *nfnl.Encoder) { entry(e); e.Uint32(nfqaCTInfo, uint32(CTRelatedReply)) })
	if !p.HasCT || !p.Confirmed() || p.CTStatus != ipsConfirmed|1 || p.CTMark != 0xabcd || !p.HasCTInfo || p.CTInfo != CTRelatedReply {
		t.Errorf("%+v", p)
	}
	if p := message(entry); !p.HasCT || p.HasCTInfo {
		t.Errorf("without CT_INFO: %+v", p)
	}
	if p := message(func(e *nfnl.Encoder) { e.Uint32(nfqaCTInfo, 0) }); p.HasCT || !p.HasCTInfo || p.CTInfo != CTEstablished {
		t.Errorf("without an entry: %+v", p)
	}
	if p := message(func(*nfnl.Encoder) {}); p.HasCT || p.HasCTInfo {
		t.Errorf("of nothing: %+v", p)
	}
}

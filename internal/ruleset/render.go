package ruleset

import (
	"encoding/binary"
	"fmt"
	"strings"

	"github.com/google/nftables"
	"github.com/google/nftables/expr"
	"github.com/google/nftables/userdata"
	"golang.org/x/sys/unix"
)

// registers holds the name of what was loaded into each register. A value is
// named where it is loaded and written down where it is used.
type registers map[uint32]string

// ruleText renders a rule.
func ruleText(r *nftables.Rule) string {
	var words []string
	loaded := registers{}
	for _, e := range r.Exprs {
		if word := loaded.text(e); word != "" {
			words = append(words, word)
		}
	}
	if text, ok := userdata.GetString(r.UserData, userdata.TypeComment); ok {
		words = append(words, fmt.Sprintf("comment %q", text))
	}
	return strings.Join(words, " ")
}

// text renders an expression that uses values, and notes one that loads them.
func (loaded registers) text(e expr.Any) string {
	if kind, q, ok := parseQueueStatement(e); ok {
		if kind == KindXT {
			return q.String() + " (xt NFQUEUE)"
		}
		return q.String()
	}
	switch e := e.(type) {
	case *expr.Meta:
		return loaded.loadOrSet(metaName(e.Key), e.Register, e.SourceRegister)
	case *expr.Ct:
		if e.Register == 0 { // the library does not read from where it is set
			return loaded.loadOrSet(ctName(e.Key), register, true)
		}
		return loaded.loadOrSet(ctName(e.Key), e.Register, e.SourceRegister)
	case *expr.Payload:
		loaded[number(e.DestRegister)] = payloadName(e)
	case *expr.Bitwise:
		text := fmt.Sprintf("%s & %s", loaded[number(e.SourceRegister)], valueText(e.Mask))
		if !isDefault(e.Xor) {
			text += " ^ " + valueText(e.Xor)
		}
		loaded[number(e.DestRegister)] = text
	case *expr.Hash:
		text := fmt.Sprintf("jhash %s mod %d", loaded.concatenated(number(e.SourceRegister), e.Length), e.Modulus)
		clear(loaded)
		loaded[number(e.DestRegister)] = text
	case *expr.Numgen:
		loaded[number(e.Register)] = fmt.Sprintf("numgen inc mod %d", e.Modulus)
	case *expr.Cmp:
		return compareText(e, loaded[number(e.Register)])
	case *expr.Lookup:
		return loaded.lookup(e)
	case *expr.Dynset:
		return dynsetText(e, loaded)
	case *expr.Counter:
		return fmt.Sprintf("counter packets %d bytes %d", e.Packets, e.Bytes)
	case *expr.Notrack:
		return "notrack"
	case *expr.Reject:
		if e.Type == unix.NFT_REJECT_TCP_RST {
			return "reject with tcp reset"
		}
		return "reject"
	case *expr.Verdict:
		return verdictText(e)
	default:
		return fmt.Sprintf("[%s]", strings.TrimPrefix(fmt.Sprintf("%T", e), "*expr."))
	}
	return ""
}

// loadOrSet notes what is loaded, or says what is set.
func (loaded registers) loadOrSet(name string, register uint32, set bool) string {
	if set {
		return fmt.Sprintf("%s set %s", name, loaded[number(register)])
	}
	loaded[number(register)] = name
	return ""
}

// lookup says what is looked up, or notes what was found.
func (loaded registers) lookup(e *expr.Lookup) string {
	operator := ""
	switch {
	case e.IsDestRegSet && e.DestRegister == unix.NFT_REG_VERDICT:
		operator = "vmap "
	case e.IsDestRegSet:
		key := loaded.from(number(e.SourceRegister))
		clear(loaded)
		loaded[number(e.DestRegister)] = "its value"
		return fmt.Sprintf("%s @%s", key, e.SetName)
	case e.Invert:
		operator = "!= "
	}
	return fmt.Sprintf("%s %s@%s", loaded.from(number(e.SourceRegister)), operator, e.SetName)
}

// number counts registers in units of 4 bytes. The kernel names one at a
// multiple of 16 bytes by its old name, 1 to 4.
func number(register uint32) uint32 {
	if register >= unix.NFT_REG32_00 {
		return register - unix.NFT_REG32_00
	}
	return (register - unix.NFT_REG_1) * 4
}

// concatenated names what was loaded into consecutive registers.
func (loaded registers) concatenated(from, length uint32) string {
	var names []string
	for r := from; r < from+length/4; r++ {
		if name, ok := loaded[r]; ok {
			names = append(names, name)
		}
	}
	return strings.Join(names, " . ")
}

// from names what was loaded from a register on: a rule loads nothing else behind
// a key.
func (loaded registers) from(register uint32) string {
	const bytes = 64 // all registers
	return loaded.concatenated(register, bytes-4*register)
}

func metaName(key expr.MetaKey) string {
	switch key {
	case expr.MetaKeyMARK:
		return "meta mark"
	case expr.MetaKeyIIFNAME:
		return "iifname"
	case expr.MetaKeyIIF:
		return "iif"
	case expr.MetaKeyNFPROTO:
		return "meta nfproto"
	case expr.MetaKeyL4PROTO:
		return "meta l4proto"
	}
	return fmt.Sprintf("meta key %d", key)
}

func ctName(key expr.CtKey) string {
	switch key {
	case expr.CtKeySTATUS:
		return "ct status"
	case expr.CtKeySTATE:
		return "ct state"
	case expr.CtKeyZONE:
		return "ct zone"
	case expr.CtKeyMARK:
		return "ct mark"
	}
	return fmt.Sprintf("ct key %d", key)
}

// dynsetText is a change of a set.
func dynsetText(d *expr.Dynset, loaded registers) string {
	operation := map[uint32]string{unix.NFT_DYNSET_OP_ADD: "add", unix.NFT_DYNSET_OP_UPDATE: "update", opDelete: "delete"}[d.Operation]
	key := loaded.from(number(d.SrcRegKey))
	if d.SrcRegData != 0 {
		value := loaded[number(d.SrcRegData)]
		key = strings.TrimSuffix(key, " . "+value) + " : " + value
	}
	if d.Timeout != 0 {
		key += fmt.Sprintf(" timeout %v", d.Timeout)
	}
	return fmt.Sprintf("%s @%s { %s }", operation, d.SetName, key)
}

func payloadName(p *expr.Payload) string {
	for _, f := range families {
		half := f.length / 2
		switch (expr.Payload{Base: p.Base, Offset: p.Offset, Len: p.Len}) {
		case expr.Payload{Base: expr.PayloadBaseNetworkHeader, Offset: f.offset, Len: f.length}:
			return f.keyword + " saddr . " + f.keyword + " daddr"
		case expr.Payload{Base: expr.PayloadBaseNetworkHeader, Offset: f.offset, Len: half}:
			return f.keyword + " saddr"
		case expr.Payload{Base: expr.PayloadBaseNetworkHeader, Offset: f.offset + half, Len: half}:
			return f.keyword + " daddr"
		}
	}
	switch (expr.Payload{Base: p.Base, Offset: p.Offset, Len: p.Len}) {
	case expr.Payload{Base: expr.PayloadBaseTransportHeader, Offset: sourcePort, Len: portLength}:
		return "th sport"
	case expr.Payload{Base: expr.PayloadBaseTransportHeader, Offset: destinationPort, Len: portLength}:
		return "th dport"
	case expr.Payload{Base: expr.PayloadBaseTransportHeader, Offset: sourcePort, Len: portsLength}:
		return "th sport . th dport"
	}
	base := map[expr.PayloadBase]string{
		expr.PayloadBaseLLHeader:        "ll",
		expr.PayloadBaseNetworkHeader:   "nh",
		expr.PayloadBaseTransportHeader: "th",
	}[p.Base]
	return fmt.Sprintf("@%s,%d,%d", base, p.Offset*8, p.Len*8) // nft's raw payload, in bits
}

func compareText(c *expr.Cmp, what string) string {
	value := valueText(c.Data)
	switch what {
	case "iif":
		if index := binary.NativeEndian.Uint32(c.Data); index == loopbackIndex {
			value = `"lo"`
		}
	case "ct state":
		if name, ok := stateNames[binary.NativeEndian.Uint32(c.Data)]; ok {
			value = name
		}
	case "ct zone":
		value = fmt.Sprint(binary.NativeEndian.Uint16(c.Data))
	case "meta l4proto":
		value = fmt.Sprint(c.Data[0])
	case "iifname":
		value = fmt.Sprintf("%q", unix.ByteSliceToString(c.Data))
	case "meta nfproto":
		switch c.Data[0] {
		case unix.NFPROTO_IPV4:
			value = "ipv4"
		case unix.NFPROTO_IPV6:
			value = "ipv6"
		}
	}
	if strings.HasPrefix(what, "numgen ") {
		value = fmt.Sprint(binary.NativeEndian.Uint32(c.Data))
	}
	if strings.Contains(what, " & ") && c.Op == expr.CmpOpEq {
		return fmt.Sprintf("%s == %s", what, value) // as nft: the mask would seem to end in the value
	}
	operator := map[expr.CmpOp]string{
		expr.CmpOpEq: "", expr.CmpOpNeq: "!= ", expr.CmpOpLt: "< ", expr.CmpOpLte: "<= ", expr.CmpOpGt: "> ", expr.CmpOpGte: ">= ",
	}[c.Op]
	return fmt.Sprintf("%s %s%s", what, operator, value)
}

// stateNames are those that the gate's rules compare with.
var stateNames = map[uint32]string{stateInvalid: "invalid", stateUntracked: "untracked", expr.CtStateBitRELATED: "related"}

// valueText renders a value of unknown type; one of 4 bytes is a number.
func valueText(value []byte) string {
	if len(value) == 4 {
		return fmt.Sprintf("%#x", binary.NativeEndian.Uint32(value))
	}
	return fmt.Sprintf("%#x", value)
}

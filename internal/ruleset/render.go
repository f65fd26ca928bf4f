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
		loaded[number(e.Register)] = metaName(e.Key)
	case *expr.Ct:
		loaded[number(e.Register)] = ctName(e.Key)
	case *expr.Payload:
		loaded[number(e.DestRegister)] = payloadName(e)
	case *expr.Bitwise:
		loaded[number(e.DestRegister)] = fmt.Sprintf("%s & %s", loaded[number(e.SourceRegister)], valueText(e.Mask))
	case *expr.Hash:
		loaded[number(e.DestRegister)] = fmt.Sprintf("jhash %s mod %d", loaded.concatenated(number(e.SourceRegister), e.Length), e.Modulus)
	case *expr.Numgen:
		loaded[number(e.Register)] = fmt.Sprintf("numgen inc mod %d", e.Modulus)
	case *expr.Cmp:
		return compareText(e, loaded[number(e.Register)])
	case *expr.Lookup:
		operator := ""
		switch {
		case e.IsDestRegSet:
			operator = "vmap "
		case e.Invert:
			operator = "!= "
		}
		return fmt.Sprintf("%s %s@%s", loaded[number(e.SourceRegister)], operator, e.SetName)
	case *expr.Counter:
		return fmt.Sprintf("counter packets %d bytes %d", e.Packets, e.Bytes)
	case *expr.Notrack:
		return "notrack"
	case *expr.Verdict:
		return verdictText(e)
	default:
		return fmt.Sprintf("[%s]", strings.TrimPrefix(fmt.Sprintf("%T", e), "*expr."))
	}
	return ""
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

func metaName(key expr.MetaKey) string {
	switch key {
	case expr.MetaKeyMARK:
		return "meta mark"
	case expr.MetaKeyIIFNAME:
		return "iifname"
	case expr.MetaKeyNFPROTO:
		return "meta nfproto"
	case expr.MetaKeyL4PROTO:
		return "meta l4proto"
	}
	return fmt.Sprintf("meta key %d", key)
}

func ctName(key expr.CtKey) string {
	if key == expr.CtKeySTATUS {
		return "ct status"
	}
	return fmt.Sprintf("ct key %d", key)
}

func payloadName(p *expr.Payload) string {
	switch (expr.Payload{Base: p.Base, Offset: p.Offset, Len: p.Len}) {
	case expr.Payload{Base: expr.PayloadBaseNetworkHeader, Offset: addressesIPv4.offset, Len: addressesIPv4.length}:
		return "ip saddr . ip daddr"
	case expr.Payload{Base: expr.PayloadBaseNetworkHeader, Offset: addressesIPv6.offset, Len: addressesIPv6.length}:
		return "ip6 saddr . ip6 daddr"
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
	if strings.Contains(what, " & ") && c.Op == expr.CmpOpEq {
		return fmt.Sprintf("%s == %s", what, value) // as nft: the mask would seem to end in the value
	}
	operator := map[expr.CmpOp]string{
		expr.CmpOpEq: "", expr.CmpOpNeq: "!= ", expr.CmpOpLt: "< ", expr.CmpOpLte: "<= ", expr.CmpOpGt: "> ", expr.CmpOpGte: ">= ",
	}[c.Op]
	return fmt.Sprintf("%s %s%s", what, operator, value)
}

// valueText renders a value of unknown type; one of 4 bytes is a number.
func valueText(value []byte) string {
	if len(value) == 4 {
		return fmt.Sprintf("%#x", binary.NativeEndian.Uint32(value))
	}
	return fmt.Sprintf("%#x", value)
}

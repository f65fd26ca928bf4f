package liverules

import (
	"encoding/binary"
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"golang.org/x/sys/unix"

	"verdictd/internal/vocabulary"
)

// A value is what was loaded into a register: its words, and how to write what
// it is compared with.
type value struct {
	name   string
	stable bool // see condition
	spread bool
	format func([]byte) string

	key    valueKey
	fields []valueKey // of a concatenation
	mask   uint32     // of the mark or the state, as far as it was masked
	data   []byte     // what an immediate value is

	// asked are to be set where a condition is about the value. nil: each packet has it.
	asked []*bool
}

// valueKey tells the values that the analysis understands.
type valueKey uint8

const (
	otherValue valueKey = iota
	markValue
	protocolValue
	familyValue
	stateValue
	statusValue
	sourcePortValue
	destinationPortValue
	icmpTypeValue
)

// narrows: comparing the value says what packets there are.
func (k valueKey) narrows() bool {
	return k == protocolValue || k == sourcePortValue || k == destinationPortValue || k == icmpTypeValue
}

// text renders what a value is compared with.
func (v value) text(data []byte) string {
	switch {
	case v.format != nil && len(data) > 0:
		return v.format(data)
	case len(data) == 4:
		return fmt.Sprintf("%#x", binary.NativeEndian.Uint32(data))
	}
	return fmt.Sprintf("%#x", data)
}

// register counts in units of 4 bytes. The kernel names one at a multiple of 16
// bytes by its old name, 1 to 4.
func register(number uint32) uint32 {
	if number >= unix.NFT_REG32_00 {
		return number - unix.NFT_REG32_00
	}
	return (number - unix.NFT_REG_1) * 4
}

// load puts a value into the register that an attribute names; without that
// attribute the expression sets something of the packet instead.
func (t *translation) load(a attributes, destination uint16, v value) {
	if !a.has(destination) {
		return
	}
	at := register(a.u32(destination))
	t.loaded[at] = v
	if at%4 == 0 { // a long value goes over the next ones
		for i := range uint32(3) {
			delete(t.loaded, at+1+i)
		}
	}
}

// mayLoad is load for what not every packet has, such as a map's value: for a packet without it the rule ends, as if a
// condition were not met.
func (t *translation) mayLoad(a attributes, destination uint16, v value) {
	if !a.has(destination) {
		return
	}
	v.asked = []*bool{new(bool)}
	t.uncertain = append(t.uncertain, v)
	t.load(a, destination, v)
}

func (t *translation) at(number uint32) value { return t.loaded[register(number)] }

// asks is the value that a condition is about.
func (t *translation) asks(number uint32) value {
	v := t.at(number)
	v.ask()
	return v
}

func (v value) ask() {
	for _, asked := range v.asked {
		*asked = true
	}
}

// askAll is for a condition of which it is not known what it is about.
func (t *translation) askAll() {
	for _, v := range t.uncertain {
		v.ask()
	}
}

// concatenated is the value in consecutive registers.
func (t *translation) concatenated(number uint32, length int) value {
	from := register(number)
	v := t.loaded[from]
	for r := from + 1; r < from+uint32(length+3)/4 && r < 16; r++ {
		if next, ok := t.loaded[r]; ok {
			fields := v.fields
			if fields == nil {
				fields = []valueKey{v.key}
			}
			v = value{
				name: v.name + " . " + next.name, stable: v.stable && next.stable, spread: v.spread || next.spread,
				fields: append(slices.Clip(fields), next.key), asked: append(slices.Clip(v.asked), next.asked...),
			}
		}
	}
	return v
}

// alwaysThere are what each packet has.
var alwaysThere = []uint32{
	unix.NFT_META_MARK, unix.NFT_META_NFPROTO, unix.NFT_META_PROTOCOL, unix.NFT_META_PRIORITY, unix.NFT_META_LEN, unix.NFT_META_CPU,
	unix.NFT_META_PRANDOM,
}

func metaValue(key uint32) value {
	switch key {
	case unix.NFT_META_MARK:
		return value{name: "meta mark", key: markValue, mask: 0xffffffff}
	case unix.NFT_META_L4PROTO:
		return value{name: "meta l4proto", key: protocolValue, stable: true, format: protocolsText}
	case unix.NFT_META_NFPROTO:
		return value{name: "meta nfproto", key: familyValue, stable: true, format: familyText}
	case unix.NFT_META_PROTOCOL:
		return value{name: "meta protocol", stable: true}
	case unix.NFT_META_IIFNAME:
		return value{name: "iifname", stable: true, format: quoted}
	case unix.NFT_META_OIFNAME:
		return value{name: "oifname", format: quoted}
	case unix.NFT_META_IIF:
		return value{name: "iif", stable: true, format: decimal}
	case unix.NFT_META_OIF:
		return value{name: "oif", format: decimal}
	case unix.NFT_META_SKUID:
		return value{name: "meta skuid", format: decimal}
	case unix.NFT_META_SKGID:
		return value{name: "meta skgid", format: decimal}
	case unix.NFT_META_CPU:
		return value{name: "meta cpu", format: decimal, spread: true}
	}
	return value{name: fmt.Sprintf("meta key %d", key)}
}

func ctValue(key uint32) value {
	switch key {
	case unix.NFT_CT_STATE:
		return value{name: "ct state", key: stateValue, mask: 0xffffffff}
	case unix.NFT_CT_STATUS:
		return value{name: "ct status", key: statusValue, mask: 0xffffffff}
	case unix.NFT_CT_MARK:
		return value{name: "ct mark"}
	}
	return value{name: fmt.Sprintf("ct key %d", key)}
}

// payloadValue names the fields that rules about queues use. In a table for
// one family, ip and ip6 are the network header's; in inet they depend on
// what the rule has matched before, and so does the family assumed here: a
// length of 16 is IPv6's.
func (t *translation) payloadValue(a attributes) value {
	offset, length := a.u32(unix.NFTA_PAYLOAD_OFFSET), a.u32(unix.NFTA_PAYLOAD_LEN)
	base := a.u32(unix.NFTA_PAYLOAD_BASE)
	v := value{stable: true}
	switch base {
	case unix.NFT_PAYLOAD_TRANSPORT_HEADER:
		switch {
		case offset == 0 && length == 2:
			v.name, v.format, v.key = "th sport", port, sourcePortValue
		case offset == 2 && length == 2:
			v.name, v.format, v.key = "th dport", port, destinationPortValue
		case offset == 0 && length == 1:
			v.key = icmpTypeValue // that it is ICMP is asked by another condition
		case offset == 0 && length == 4:
			v.name = "th sport . th dport"
		}
	case unix.NFT_PAYLOAD_NETWORK_HEADER:
		six := t.six()
		switch {
		case six && offset == 8 && length <= 16:
			v.name, v.format = "ip6 saddr", address(16)
		case six && offset == 24 && length <= 16:
			v.name, v.format = "ip6 daddr", address(16)
		case six && offset == 6 && length == 1:
			v.name, v.format = "ip6 nexthdr", protocolsText
		case !six && offset == 12 && length <= 4:
			v.name, v.format = "ip saddr", address(4)
		case !six && offset == 16 && length <= 4:
			v.name, v.format = "ip daddr", address(4)
		case !six && offset == 9 && length == 1:
			v.name, v.format, v.key = "ip protocol", protocolsText, protocolValue
		}
	}
	if v.name == "" {
		name := map[uint32]string{
			unix.NFT_PAYLOAD_LL_HEADER: "ll", unix.NFT_PAYLOAD_NETWORK_HEADER: "nh", unix.NFT_PAYLOAD_TRANSPORT_HEADER: "th",
		}[base]
		v.name = fmt.Sprintf("@%s,%d,%d", name, offset*8, length*8) // nft's raw payload, in bits
	}
	return v
}

// six reports whether the network header is IPv6's, as far as the table and the
// rule's conditions so far say so.
func (t *translation) six() bool {
	for _, c := range t.rule.conditions {
		if c.family != "" {
			return c.family == IPv6
		}
	}
	return t.family == IPv6
}

// bitwise applies a mask, or describes other operations by their name.
func (t *translation) bitwise(a attributes) value {
	v := t.at(a.u32(unix.NFTA_BITWISE_SREG))
	mask, xor := a.data(unix.NFTA_BITWISE_MASK), a.data(unix.NFTA_BITWISE_XOR)
	if a.u32(bitwiseOperation) != 0 || len(mask) == 0 || strings.Trim(string(xor), "\x00") != "" {
		return value{name: v.name + " (changed)", spread: v.spread, asked: v.asked}
	}
	v.data = nil
	if (v.key == markValue || v.key == stateValue || v.key == statusValue) && len(mask) == 4 {
		v.mask &= binary.NativeEndian.Uint32(mask)
	} else {
		v.key = otherValue
	}
	if v.name == "ip saddr" || v.name == "ip daddr" || v.name == "ip6 saddr" || v.name == "ip6 daddr" {
		v.format = func(data []byte) string { return prefixText(data, mask) }
		return v
	}
	v.name = fmt.Sprintf("%s & %s", v.name, value{}.text(mask))
	return v
}

// bitwiseOperation is NFTA_BITWISE_OP; 0 is mask and xor.
const bitwiseOperation = 6

// compare translates a comparison.
func (t *translation) compare(a attributes) condition {
	v := t.asks(a.u32(unix.NFTA_CMP_SREG))
	data, op := a.data(unix.NFTA_CMP_DATA), a.u32(unix.NFTA_CMP_OP)
	operators := []string{"", "!= ", "< ", "<= ", "> ", ">= "} // enum nft_cmp_ops
	operator := fmt.Sprintf("op %d ", op)
	if int(op) < len(operators) {
		operator = operators[op]
	}
	if operator == "" && strings.Contains(v.name, " & ") {
		operator = "== "
	}
	c := condition{text: fmt.Sprintf("%s %s%s", v.name, operator, v.text(data)), stable: v.stable}
	equal := op == unix.NFT_CMP_EQ
	switch {
	case len(data) == 4 && v.key == markValue && op <= unix.NFT_CMP_NEQ:
		c.text = markText(v.mask, binary.NativeEndian.Uint32(data), !equal)
	case len(data) == 4 && v.key == stateValue:
		state := binary.NativeEndian.Uint32(data)
		// Either `ct state established`, which nft writes as a mask that leaves
		// something, or the whole value compared.
		c.established = v.mask == stateEstablished && op == unix.NFT_CMP_NEQ && state == 0 ||
			v.mask&stateEstablished != 0 && equal && state == stateEstablished
		if c.established {
			c.text = "ct state established"
		}
		c.limits = stateLimits(v.mask, state, op)
	case len(data) == 4 && v.key == statusValue:
		// `ct status confirmed`, likewise.
		c.confirmed = v.mask == statusConfirmed && op == unix.NFT_CMP_NEQ && binary.NativeEndian.Uint32(data) == 0
		if c.confirmed {
			c.text = "ct status confirmed"
		}
	case v.key.narrows():
		c.limits = v.compared(data, op)
	case len(data) == 1 && equal && v.key == familyValue:
		c.family = map[byte]Family{unix.NFPROTO_IPV4: IPv4, unix.NFPROTO_IPV6: IPv6}[data[0]]
	}
	return c
}

// stateEstablished is NF_CT_STATE_BIT(IP_CT_ESTABLISHED), statusConfirmed
// IPS_CONFIRMED.
const (
	stateEstablished = 1 << 1
	statusConfirmed  = 1 << 3
)

// text renders a set: the elements of a small anonymous one, else its name.
func (s set) text(v value) string {
	const most = 16
	if !s.anonymous || len(s.elements) > most || v.format == nil {
		return "@" + s.name
	}
	var words []string
	for _, e := range s.elements {
		if !e.plain || len(e.key) == 0 {
			return "@" + s.name
		}
		word := v.text(e.key)
		if e.verdict != nil {
			word += " : " + e.verdict.String()
		}
		words = append(words, word)
	}
	slices.Sort(words) // the kernel has them in the order of a hash
	return "{ " + strings.Join(words, ", ") + " }"
}

func quoted(b []byte) string {
	if len(b) < unix.IFNAMSIZ && b[len(b)-1] != 0 {
		return fmt.Sprintf("%q", string(b)+"*")
	}
	return fmt.Sprintf("%q", unix.ByteSliceToString(b))
}

func decimal(b []byte) string {
	if len(b) != 4 {
		return fmt.Sprintf("%#x", b)
	}
	return fmt.Sprint(binary.NativeEndian.Uint32(b))
}

func port(b []byte) string {
	if len(b) != 2 {
		return fmt.Sprintf("%#x", b)
	}
	return fmt.Sprint(binary.BigEndian.Uint16(b))
}

func protocolsText(b []byte) string { return vocabulary.Protocol(b[0]).NFT() }

func familyText(b []byte) string {
	switch b[0] {
	case unix.NFPROTO_IPV4:
		return "ipv4"
	case unix.NFPROTO_IPV6:
		return "ipv6"
	}
	return fmt.Sprint(b[0])
}

// address renders an address or, as nft writes prefixes of whole bytes, its
// beginning.
func address(length int) func([]byte) string {
	return func(b []byte) string {
		if len(b) > length {
			return fmt.Sprintf("%#x", b)
		}
		whole := make([]byte, length)
		copy(whole, b)
		a, _ := netip.AddrFromSlice(whole)
		if len(b) == length {
			return a.String()
		}
		return fmt.Sprintf("%v/%d", a, 8*len(b))
	}
}

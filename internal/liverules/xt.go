package liverules

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"slices"
	"strings"
)

// Extensions of xtables come in two ways, from legacy tables and through
// nft_compat, with the same structures: fields in host order unless they are
// ports, which are too.

// Flags of struct xt_NFQ_info_v3.
const (
	nfqBypass    = 1 << 0 // NFQ_FLAG_BYPASS
	nfqCPUFanout = 1 << 1 // NFQ_FLAG_CPU_FANOUT
)

// xtQueue decodes the NFQUEUE target: 16 bits each are the first queue
// (revision 0), the number of queues (1), bypass (2) or flags (3).
func xtQueue(revision uint32, info []byte) (Queue, bool) {
	fields := 1 + min(int(revision), 2)
	if len(info) < 2*fields {
		return Queue{}, false
	}
	field := func(i int) uint16 {
		if i >= fields {
			return 0
		}
		return binary.NativeEndian.Uint16(info[2*i:])
	}
	flags := field(2)
	if revision == 2 && flags != 0 {
		flags = nfqBypass
	}
	return newQueue("NFQUEUE", field(0), max(field(1), 1), flags&nfqBypass != 0, flags&nfqCPUFanout != 0), true
}

// newQueue makes a queue statement from its first queue and their number.
func newQueue(statement string, first, total uint16, bypass, cpu bool) Queue {
	q := Queue{Statement: statement, First: first, Last: uint16(min(int(first)+int(total)-1, 0xffff)), Bypass: bypass, Fanout: FanoutNone}
	switch {
	case q.First == q.Last:
	case cpu:
		q.Fanout = FanoutCPU
	default:
		q.Fanout = FanoutBalance
	}
	return q
}

// Verdicts of linux/netfilter.h that are not only nftables' or xtables'.
const (
	verdictDrop      = 0
	verdictAccept    = 1
	verdictQueue     = 3
	verdictRepeat    = 4
	verdictMask      = 0xff
	verdictBypass    = 0x8000 // NF_VERDICT_FLAG_QUEUE_BYPASS
	verdictQueueBits = 16     // the queue's number is above
)

// verdictReturn is XT_RETURN.
const verdictReturn = verdictRepeat

// bareQueue is the verdict NF_QUEUE.
func bareQueue(code uint32) Queue {
	return newQueue("QUEUE", uint16(code>>verdictQueueBits), 1, code&verdictBypass != 0, false)
}

// xtTracking are matches and targets that activate conntrack.
var xtTracking = []string{
	"conntrack", "state", "connmark", "connlabel", "connbytes", "connlimit", "helper", "cluster",
	"CONNMARK", "CONNSECMARK", "SNAT", "DNAT", "MASQUERADE", "REDIRECT", "NETMAP", "SYNPROXY", "CT",
}

// xtRewrites are the targets that give packets another destination.
var xtRewrites = map[string]string{"DNAT": "dnat", "REDIRECT": "redirect", "NETMAP": "netmap", "TPROXY": "tproxy"}

// xtGoesOn are targets after which the next rule is looked at (XT_CONTINUE).
var xtGoesOn = []string{
	"LOG", "NFLOG", "MARK", "CONNMARK", "CONNSECMARK", "SECMARK", "DSCP", "TOS", "TTL", "HL", "ECN", "TCPMSS", "TCPOPTSTRIP",
	"CHECKSUM", "CLASSIFY", "CT", "NOTRACK", "TRACE", "SET", "TEE", "AUDIT", "HMARK", "IDLETIMER", "LED", "RATEEST",
}

// applyXTTarget notes what a target does.
func (r *rule) applyXTTarget(name string, revision uint32, info []byte) {
	r.rewrite = xtRewrites[name]
	r.tracks = r.tracks || slices.Contains(xtTracking, name)
	r.outcomes |= absorbed
	switch {
	case name == "NFQUEUE":
		q, ok := xtQueue(revision, info)
		if !ok {
			q = Queue{Statement: name, Computed: true, Fanout: FanoutNone}
		}
		r.queue = &q
	case name == "CT" && len(info) >= 2 && binary.NativeEndian.Uint16(info)&1 != 0: // XT_CT_NOTRACK
		r.tracks, r.notrack = false, true
		r.outcomes = goesOn
	case name == "CT":
		r.zone = xtZone(info)
		r.outcomes = goesOn
	case name == "NOTRACK":
		r.notrack = true
		r.outcomes = goesOn
	case name == "DNAT" || name == "REDIRECT" || name == "SNAT" || name == "MASQUERADE" || name == "REJECT":
	case slices.Contains(xtGoesOn, name):
		r.outcomes = goesOn
	default:
		r.outcomes |= goesOn
	}
}

// xtZone reads struct xt_ct_target_info: flags and the zone, 16 bits each. The
// zone may also be that of the packet's mark (XT_CT_ZONE_MARK).
func xtZone(info []byte) bool {
	const zoneFromMark = 1 << 4
	return len(info) >= 4 && (binary.NativeEndian.Uint16(info)&zoneFromMark != 0 || binary.NativeEndian.Uint16(info[2:]) != 0)
}

// applyXTMatch notes a match.
func (r *rule) applyXTMatch(name string, revision uint32, info []byte) {
	r.tracks = r.tracks || slices.Contains(xtTracking, name)
	if name == "comment" {
		return
	}
	c := condition{text: "xt " + name}
	switch name {
	case "mark":
		c = xtMark(c, revision, info)
	case "state":
		// The mask has bit 1+ctinfo; IP_CT_ESTABLISHED is 0.
		c.established = len(info) >= 4 && binary.NativeEndian.Uint32(info) == 1<<1
	case "conntrack":
		c.established, c.confirmed = xtConntrack(revision, info)
	case "tcp", "udp", "udplite", "dccp", "sctp":
		// Their structures begin with two ranges of ports. The bytes behind them
		// are flags, whose meaning depends on the protocol.
		if len(info) >= 9 {
			c.text, c.stable = xtPorts(name, info), true
		}
	case "multiport":
		if text, ok := xtMultiport(revision, info); ok {
			c.text, c.stable = text, true
		}
	}
	switch {
	case c.established:
		c.text = "ct state established"
	case c.confirmed:
		c.text = "ct status confirmed"
	}
	if c.text != "" {
		r.conditions = append(r.conditions, c)
	}
}

// xtMark decodes struct xt_mark_mtinfo1.
func xtMark(c condition, revision uint32, info []byte) condition {
	if revision != 1 || len(info) < 9 {
		return c
	}
	t := MarkTest{Value: binary.NativeEndian.Uint32(info), Mask: binary.NativeEndian.Uint32(info[4:]), Not: info[8] != 0}
	c.mark = &t
	c.text = t.String()
	return c
}

// String is nft's notation.
func (t MarkTest) String() string {
	operator := map[bool]string{false: "", true: "!= "}[t.Not]
	if t.Mask == 0xffffffff {
		return fmt.Sprintf("meta mark %s%#x", operator, t.Value)
	}
	if !t.Not {
		operator = "== "
	}
	return fmt.Sprintf("meta mark & %#x %s%#x", t.Mask, operator, t.Value)
}

// xtConntrack tells a conntrack match of state ESTABLISHED alone, and one of
// status CONFIRMED alone. In struct xt_conntrack_mtinfo1 to 3, match_flags and
// invert_flags are at 146, the masks of states and status behind them, 8 bits each
// in revision 1 and 16 in the others.
func xtConntrack(revision uint32, info []byte) (established, confirmed bool) {
	const flags, masks = 146, 150
	const matchState, matchStatus = 1 << 0, 1 << 6 // XT_CONNTRACK_STATE, XT_CONNTRACK_STATUS
	if revision < 1 || revision > 3 || len(info) < masks+4 {
		return false, false
	}
	states, status := binary.NativeEndian.Uint16(info[masks:]), binary.NativeEndian.Uint16(info[masks+2:])
	if revision == 1 {
		states, status = uint16(info[masks]), uint16(info[masks+1])
	}
	match, invert := binary.NativeEndian.Uint16(info[flags:]), binary.NativeEndian.Uint16(info[flags+2:])
	established = match&matchState != 0 && invert&matchState == 0 && states == 1<<1
	confirmed = match&matchStatus != 0 && invert&matchStatus == 0 && status == statusConfirmed
	return established, confirmed
}

// xtPorts renders the two ranges that port matches begin with: source and
// destination, first and last port each.
func xtPorts(protocol string, info []byte) string {
	port := func(i int) uint16 { return binary.NativeEndian.Uint16(info[2*i:]) }
	if rest := info[8:]; len(bytes.Trim(rest, "\x00")) > 0 {
		return fmt.Sprintf("xt %s sport %d-%d dport %d-%d flags %#x", protocol, port(0), port(1), port(2), port(3), rest)
	}
	var words []string
	for i, side := range []string{"sport", "dport"} {
		first, last := port(2*i), port(2*i+1)
		switch {
		case first == 0 && last == 0xffff:
		case first == last:
			words = append(words, fmt.Sprintf("%s %s %d", protocol, side, first))
		default:
			words = append(words, fmt.Sprintf("%s %s %d-%d", protocol, side, first, last))
		}
	}
	return strings.Join(words, " ")
}

// xtMultiport decodes struct xt_multiport_v1: which side, how many, 15 ports,
// 15 flags that make a port the first of a range, and whether it is inverted.
func xtMultiport(revision uint32, info []byte) (string, bool) {
	const most, ports = 15, 2
	const flags, inverted = ports + 2*most, ports + 3*most
	if revision != 1 || len(info) <= inverted {
		return "", false
	}
	side, ok := map[byte]string{0: "th sport", 1: "th dport", 2: "th port"}[info[0]]
	count := int(info[1])
	if !ok || count > most {
		return "", false
	}
	var list []string
	for i := 0; i < count; i++ {
		text := fmt.Sprint(binary.NativeEndian.Uint16(info[ports+2*i:]))
		if info[flags+i] != 0 && i+1 < count {
			i++
			text += fmt.Sprintf("-%d", binary.NativeEndian.Uint16(info[ports+2*i:]))
		}
		list = append(list, text)
	}
	operator := map[bool]string{false: "", true: "!= "}[info[inverted] != 0]
	return fmt.Sprintf("%s %s{ %s }", side, operator, strings.Join(list, ", ")), true
}

package liverules

import (
	"encoding/binary"
	"fmt"
	"slices"
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
func xtQueue(revision uint32, info []byte) (QueueStatement, bool) {
	fields := 1 + min(int(revision), 2)
	if len(info) < 2*fields {
		return QueueStatement{}, false
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
func newQueue(statement string, first, total uint16, bypass, cpu bool) QueueStatement {
	q := QueueStatement{Statement: statement, First: first, Last: uint16(min(int(first)+int(total)-1, 0xffff)), Bypass: bypass, Fanout: FanoutNone}
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
func bareQueue(code uint32) QueueStatement {
	return newQueue("QUEUE", uint16(code>>verdictQueueBits), 1, code&verdictBypass != 0, false)
}

// xtTracking are matches and targets that activate conntrack.
var xtTracking = []string{
	"conntrack", "state", "connmark", "connlabel", "connbytes", "connlimit", "helper", "cluster",
	"CONNMARK", "CONNSECMARK", "SNAT", "DNAT", "MASQUERADE", "REDIRECT", "NETMAP", "SYNPROXY", "CT",
}

// xtRewrites are the targets that give packets another destination.
var xtRewrites = map[string]string{"DNAT": "dnat", "REDIRECT": "redirect", "NETMAP": "netmap", "TPROXY": "tproxy"}

// xtSources are those that give them another source.
var xtSources = map[string]string{"SNAT": "snat", "MASQUERADE": "masquerade"}

// xtGoesOn are targets after which the next rule is looked at (XT_CONTINUE).
var xtGoesOn = []string{
	"LOG", "NFLOG", "MARK", "CONNMARK", "CONNSECMARK", "SECMARK", "DSCP", "TOS", "TTL", "HL", "ECN", "TCPMSS", "TCPOPTSTRIP",
	"CHECKSUM", "CLASSIFY", "CT", "NOTRACK", "TRACE", "SET", "TEE", "AUDIT", "HMARK", "IDLETIMER", "LED", "RATEEST",
}

// applyXTTarget notes what a target does.
func (r *rule) applyXTTarget(name string, revision uint32, info []byte) {
	r.rewrite, r.source = xtRewrites[name], xtSources[name]
	r.tracks = r.tracks || slices.Contains(xtTracking, name)
	r.outcomes |= absorbed
	switch {
	case name == "NFQUEUE":
		q, ok := xtQueue(revision, info)
		if !ok {
			q = QueueStatement{Statement: name, Computed: true, Fanout: FanoutNone}
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
func xtZone(info []byte) *zoning {
	const original, reply, fromMark = 1 << 2, 1 << 3, 1 << 4 // XT_CT_ZONE_DIR_ORIG, XT_CT_ZONE_DIR_REPL
	if len(info) < 4 {
		return nil
	}
	flags, id := binary.NativeEndian.Uint16(info), binary.NativeEndian.Uint16(info[2:])
	if flags&fromMark == 0 && id == 0 {
		return nil
	}
	z := &zoning{id: id, computed: flags&fromMark != 0}
	switch flags & (original | reply) {
	case original:
		z.direction = "original"
	case reply:
		z.direction = "reply"
	}
	return z
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
		if len(info) >= 4 {
			states := binary.NativeEndian.Uint32(info)
			c.established, c.limits = states == 1<<1, xtStates(states, 1<<6) // XT_STATE_UNTRACKED
		}
	case "conntrack":
		c = xtConntrack(c, revision, info)
	case "tcp", "udp", "udplite", "dccp", "sctp":
		// Their structures begin with two ranges of ports. The bytes behind them
		// are flags, whose meaning depends on the protocol.
		if len(info) >= 9 {
			c.text, c.stable, c.limits = xtPorts(name, info), true, xtPortLimits(info)
		}
	case "multiport":
		c = xtMultiport(c, revision, info)
	case "icmp", "icmp6":
		c.limits = xtICMP(info)
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
	c.text = markText(binary.NativeEndian.Uint32(info[4:]), binary.NativeEndian.Uint32(info), info[8] != 0)
	return c
}

// markText is nft's notation of a test of some bits of the mark, the same whatever
// the rule was written by.
func markText(mask, wanted uint32, not bool) string {
	operator := map[bool]string{false: "", true: "!= "}[not]
	if mask == 0xffffffff {
		return fmt.Sprintf("meta mark %s%#x", operator, wanted)
	}
	if !not {
		operator = "== "
	}
	return fmt.Sprintf("meta mark & %#x %s%#x", mask, operator, wanted)
}

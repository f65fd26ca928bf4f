package liverules

import (
	"fmt"
	"slices"
	"strings"

	"golang.org/x/sys/unix"
)

// Verdict codes of nftables, which are negative (enum nft_verdicts). Others are
// those of netfilter.
const (
	nftJump   = int32(unix.NFT_JUMP)
	nftGoto   = int32(unix.NFT_GOTO)
	nftReturn = int32(unix.NFT_RETURN)
)

// A verdict is that of an immediate expression or of a verdict map's element.
type verdict struct {
	code  int32
	chain string
}

func decodeVerdict(b []byte) (*verdict, error) {
	a, err := parseAttributes(b)
	if err != nil {
		return nil, err
	}
	return &verdict{int32(a.u32(unix.NFTA_VERDICT_CODE)), a.text(unix.NFTA_VERDICT_CHAIN)}, nil
}

// String is nft's notation.
func (v verdict) String() string {
	switch v.code {
	case nftJump:
		return "jump " + v.chain
	case nftGoto:
		return "goto " + v.chain
	case nftReturn:
		return "return"
	case unix.NFT_CONTINUE:
		return "continue"
	case verdictDrop:
		return "drop"
	case verdictAccept:
		return "accept"
	}
	return fmt.Sprintf("verdict %#x", uint32(v.code))
}

// apply notes one of the verdicts that a rule may give.
func (v verdict) apply(r *rule) {
	switch v.code {
	case nftJump:
		r.calls = append(r.calls, v.chain)
		r.outcomes |= goesOn
	case nftGoto:
		r.calls = append(r.calls, v.chain)
		r.outcomes |= handsOver
	case nftReturn:
		r.outcomes |= comesBack
	case unix.NFT_CONTINUE:
		r.outcomes |= goesOn
	default:
		if v.code&verdictMask == verdictQueue {
			q := bareQueue(uint32(v.code))
			r.queue = &q
		}
		r.outcomes |= absorbed
	}
}

func decodeElement(b []byte) (element, error) {
	a, err := parseAttributes(b)
	if err != nil {
		return element{}, err
	}
	e := element{
		key:   a.data(unix.NFTA_SET_ELEM_KEY),
		last:  a.data(setElemKeyEnd),
		plain: a.u32(unix.NFTA_SET_ELEM_FLAGS) == 0 && !a.has(setElemKeyEnd),
		end:   a.u32(unix.NFTA_SET_ELEM_FLAGS)&elementEnd != 0,
		all:   a.u32(unix.NFTA_SET_ELEM_FLAGS)&elementAll != 0,
	}
	data, err := a.nested(unix.NFTA_SET_ELEM_DATA)
	if err != nil {
		return element{}, err
	}
	if data.has(unix.NFTA_DATA_VERDICT) {
		e.verdict, err = decodeVerdict(data.get(unix.NFTA_DATA_VERDICT))
	}
	return e, err
}

// setElemKeyEnd is NFTA_SET_ELEM_KEY_END; elementEnd and elementAll are
// NFT_SET_ELEM_INTERVAL_END and NFT_SET_ELEM_CATCHALL.
const (
	setElemKeyEnd = 10
	elementEnd    = 1 << 0
	elementAll    = 1 << 1
)

// decodeRule translates a rule, given the sets of its table.
func decodeRule(o object, sets map[string]set) (rule, error) {
	t := translation{family: o.family, sets: sets, loaded: map[uint32]value{}}
	t.rule.handle, t.rule.comment = o.u64(unix.NFTA_RULE_HANDLE), commentOf(o.get(unix.NFTA_RULE_USERDATA))
	list, err := parseList(o.get(unix.NFTA_RULE_EXPRESSIONS))
	if err != nil {
		return t.rule, err
	}
	for _, b := range list {
		a, err := parseAttributes(b)
		if err != nil {
			return t.rule, err
		}
		name := a.text(unix.NFTA_EXPR_NAME)
		data, err := a.nested(unix.NFTA_EXPR_DATA)
		if err != nil {
			return t.rule, fmt.Errorf("expression %s: %w", name, err)
		}
		if err := t.expression(name, data); err != nil {
			return t.rule, fmt.Errorf("expression %s: %w", name, err)
		}
	}
	if t.rule.outcomes == 0 {
		t.rule.outcomes = goesOn
	}
	if i := slices.IndexFunc(t.uncertain, func(v value) bool { return !*v.asked[0] }); i >= 0 {
		t.when(condition{text: "[" + t.uncertain[i].name + "]"})
	}
	return t.rule, nil
}

// A translation follows the values in the registers through a rule.
type translation struct {
	rule   rule
	family Family
	sets   map[string]set
	loaded map[uint32]value
	// uncertain are those that were loaded, or not: then the rule ends.
	uncertain []value
}

// when notes a condition. Behind a map of verdicts it says nothing of the packets that the map has sent to a chain.
func (t *translation) when(c condition) {
	if len(t.rule.calls) > 0 {
		c = condition{text: "[" + c.text + "]"}
	}
	t.rule.conditions = append(t.rule.conditions, c)
}

// unknown notes a condition of which nothing is understood.
func (t *translation) unknown(text string) {
	t.askAll()
	t.when(condition{text: text})
}

// expression translates one. What it does not know is a condition that may or
// may not be met.
func (t *translation) expression(name string, a attributes) error {
	if t.loads(name, a) || t.translates(name, a) {
		return nil
	}
	r := &t.rule
	switch name {
	case "counter", "log", "dup", "last", "secmark":
		// Statements after which the rule goes on.
	case "flow_offload":
		// For packets that are not to be offloaded the rule ends.
		r.tracks = true
		t.unknown("[flow_offload]")
	case "cmp":
		t.when(t.compare(a))
	case "range":
		v := t.asks(a.u32(unix.NFTA_RANGE_SREG))
		operator := map[uint32]string{unix.NFT_RANGE_NEQ: "!= "}[a.u32(unix.NFTA_RANGE_OP)]
		from, to := a.data(unix.NFTA_RANGE_FROM_DATA), a.data(unix.NFTA_RANGE_TO_DATA)
		t.when(condition{
			text:   fmt.Sprintf("%s %s%s-%s", v.name, operator, v.text(from), v.text(to)),
			stable: v.stable, limits: v.limits(element{key: from, last: to}).inverted(operator != ""),
		})
	case "lookup":
		t.lookup(a)
	case "immediate":
		return t.immediate(a)
	case "queue":
		t.queue(a)
	case "notrack":
		r.notrack = true
	case "reject":
		r.outcomes |= absorbed
	case "synproxy":
		r.tracks = true
		r.outcomes |= absorbed | goesOn
	case "match":
		var matched rule
		matched.applyXTMatch(a.text(unix.NFTA_MATCH_NAME), a.u32(unix.NFTA_MATCH_REV), a.get(unix.NFTA_MATCH_INFO))
		r.tracks = r.tracks || matched.tracks
		for _, c := range matched.conditions {
			t.when(c)
		}
	case "target":
		r.applyXTTarget(a.text(unix.NFTA_TARGET_NAME), a.u32(unix.NFTA_TARGET_REV), a.get(unix.NFTA_TARGET_INFO))
	case "objref":
		t.objref(a)
	case "connlimit":
		r.tracks = true
		t.unknown("ct count")
	case "dynset":
		return t.dynset(a)
	default:
		if d := destination(name); d != 0 && a.has(d) {
			t.mayLoad(a, d, value{name: name})
			return nil
		}
		t.unknown("[" + name + "]")
		clear(t.loaded) // it may have written anywhere
	}
	return nil
}

// loads translates an expression that puts something into a register; false: it is
// another one.
func (t *translation) loads(name string, a attributes) bool {
	r := &t.rule
	switch name {
	case "meta":
		v := metaValue(a.u32(unix.NFTA_META_KEY))
		if slices.Contains(alwaysThere, a.u32(unix.NFTA_META_KEY)) {
			t.load(a, unix.NFTA_META_DREG, v)
		} else {
			t.mayLoad(a, unix.NFTA_META_DREG, v)
		}
	case "ct":
		r.tracks = true
		if a.has(unix.NFTA_CT_SREG) && a.u32(unix.NFTA_CT_KEY) == unix.NFT_CT_ZONE {
			r.zone = t.zone(a)
		}
		t.mayLoad(a, unix.NFTA_CT_DREG, ctValue(a.u32(unix.NFTA_CT_KEY)))
	case "payload":
		writes := a.has(unix.NFTA_PAYLOAD_SREG)
		r.mangles = r.mangles || writes && a.u32(unix.NFTA_PAYLOAD_BASE) == unix.NFT_PAYLOAD_TRANSPORT_HEADER
		if writes {
			t.unknown("[payload]") // not every packet has what is to be written
		}
		t.mayLoad(a, unix.NFTA_PAYLOAD_DREG, t.payloadValue(a))
	case "hash":
		v := spread("hash", a.u32(unix.NFTA_HASH_MODULUS))
		v.asked = t.concatenated(a.u32(unix.NFTA_HASH_SREG), int(a.u32(unix.NFTA_HASH_LEN))).asked
		t.load(a, unix.NFTA_HASH_DREG, v)
	case "numgen":
		t.load(a, unix.NFTA_NG_DREG, spread("numgen", a.u32(unix.NFTA_NG_MODULUS)))
	case "bitwise":
		t.load(a, unix.NFTA_BITWISE_DREG, t.bitwise(a))
	case "byteorder":
		v := t.at(a.u32(unix.NFTA_BYTEORDER_SREG))
		if v.key.most() > 0xff { // of a single byte there is no order
			v.key = otherValue
		}
		t.load(a, unix.NFTA_BYTEORDER_DREG, v)
	default:
		return false
	}
	return true
}

// spread is a number below a modulus, by which packets are spread.
func spread(name string, modulus uint32) value {
	return value{name: fmt.Sprintf("%s mod %d", name, modulus), spread: true, format: decimal}
}

// translates takes a statement that gives packets another address; false: it is another
// one.
func (t *translation) translates(name string, a attributes) bool {
	r := &t.rule
	switch name {
	case "nat":
		r.tracks = true
		if a.u32(unix.NFTA_NAT_TYPE) == unix.NFT_NAT_DNAT {
			r.rewrite = "dnat"
			if a.u32(unix.NFTA_NAT_FLAGS)&natNetmap != 0 {
				r.rewrite = "netmap"
			}
		} else {
			r.source = "snat"
		}
		r.outcomes |= absorbed
	case "redir":
		r.tracks, r.rewrite = true, "redirect"
		r.outcomes |= absorbed
	case "masq":
		r.tracks, r.source = true, "masquerade"
		r.outcomes |= absorbed
	case "tproxy":
		r.rewrite = "tproxy"
		r.outcomes |= goesOn
		t.unknown("[tproxy]") // where there is no socket, the rule ends
	default:
		return false
	}
	return true
}

// natNetmap is NF_NAT_RANGE_NETMAP.
const natNetmap = 1 << 6

// destination is the attribute with the register that other expressions which
// load a value write to.
func destination(name string) uint16 {
	return map[string]uint16{
		"exthdr": unix.NFTA_EXTHDR_DREG,
		"fib":    unix.NFTA_FIB_DREG,
		"osf":    1, // NFTA_OSF_DREG
		"rt":     unix.NFTA_RT_DREG,
		"socket": 2, // NFTA_SOCKET_DREG
		"tunnel": 2, // NFTA_TUNNEL_DREG
		"xfrm":   1, // NFTA_XFRM_DREG
	}[name]
}

// queue translates nftables' own queue statement.
func (t *translation) queue(a attributes) {
	flags := a.u16(unix.NFTA_QUEUE_FLAGS)
	bypass, cpu := flags&unix.NFT_QUEUE_FLAG_BYPASS != 0, flags&unix.NFT_QUEUE_FLAG_CPU_FANOUT != 0
	q := newQueue("queue", a.u16(unix.NFTA_QUEUE_NUM), max(a.u16(unix.NFTA_QUEUE_TOTAL), 1), bypass, cpu)
	if a.has(unix.NFTA_QUEUE_SREG_QNUM) {
		q = QueueStatement{Statement: "queue", Computed: true, Bypass: bypass, Fanout: FanoutMap}
	}
	t.rule.queue = &q
	t.rule.outcomes |= absorbed
}

func (t *translation) objref(a attributes) {
	kind := a.u32(unix.NFTA_OBJREF_IMM_TYPE)
	t.rule.tracks = t.rule.tracks || trackingObjects[kind] != ""
	if kind != unix.NFT_OBJECT_COUNTER {
		t.unknown("[object " + a.text(unix.NFTA_OBJREF_IMM_NAME) + "]")
	}
}

// immediate translates a verdict, or a value loaded for what follows.
func (t *translation) immediate(a attributes) error {
	data, err := a.nested(unix.NFTA_IMMEDIATE_DATA)
	if err != nil {
		return err
	}
	if !data.has(unix.NFTA_DATA_VERDICT) {
		bytes := data.get(unix.NFTA_DATA_VALUE)
		t.load(a, unix.NFTA_IMMEDIATE_DREG, value{name: value{}.text(bytes), data: bytes})
		return nil
	}
	v, err := decodeVerdict(data.get(unix.NFTA_DATA_VERDICT))
	if err != nil {
		return err
	}
	v.apply(&t.rule)
	return nil
}

// lookup translates a match by a set, or a map.
func (t *translation) lookup(a attributes) {
	r := &t.rule
	s, known := t.sets[a.text(unix.NFTA_LOOKUP_SET)]
	s.name = a.text(unix.NFTA_LOOKUP_SET)
	v := t.concatenated(a.u32(unix.NFTA_LOOKUP_SREG), s.keyLength)
	v.ask()
	content := s.text(v)
	local := strings.HasPrefix(content, "@")
	switch {
	case !a.has(unix.NFTA_LOOKUP_DREG):
		operator := ""
		if a.u32(unix.NFTA_LOOKUP_FLAGS)&unix.NFT_LOOKUP_F_INV != 0 {
			operator = "!= "
		}
		t.when(condition{text: v.name + " " + operator + content, stable: v.stable, local: local, limits: s.limits(v).inverted(operator != "")})
	case a.u32(unix.NFTA_LOOKUP_DREG) != unix.NFT_REG_VERDICT:
		t.mayLoad(a, unix.NFTA_LOOKUP_DREG, value{name: v.name + " map " + content, spread: v.spread})
	default:
		t.when(condition{text: v.name + " vmap " + content, stable: v.stable, local: local, spread: v.spread, limits: s.limits(v).inexact()})
		r.outcomes |= goesOn
		for _, e := range s.elements {
			if e.verdict != nil {
				e.verdict.apply(r)
			}
		}
		if !known {
			r.outcomes |= absorbed | comesBack | handsOver
		}
	}
}

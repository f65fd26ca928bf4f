package liverules

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"strings"

	"verdictd/internal/vocabulary"
)

// xtStates are the limits of a mask of conntrack's states: bit 1+ctinfo, 0 for what is
// invalid, and one of the match's own for what is untracked. The bits between are not
// states alone (XT_CONNTRACK_STATE_SNAT): a new connection may be in them too.
func xtStates(states, untracked uint32) *limits {
	const states4 = 1<<4 - 1
	if states&^(states4|untracked) != 0 {
		return nil
	}
	mask := states & states4
	if states&untracked != 0 {
		mask |= stateUntracked
	}
	return ofStates(mask)
}

// xtConntrack reads a conntrack match, and tells one of state ESTABLISHED alone and
// one of status CONFIRMED alone. In struct xt_conntrack_mtinfo1 to 3, match_flags
// and invert_flags are at 146, the masks of states and status behind them, 8 bits
// each in revision 1 and 16 in the others.
func xtConntrack(c condition, revision uint32, info []byte) condition {
	const flags, masks = 146, 150
	const matchState, matchStatus = 1 << 0, 1 << 6 // XT_CONNTRACK_STATE, XT_CONNTRACK_STATUS
	const untracked = 1 << 8                       // XT_CONNTRACK_STATE_UNTRACKED
	if revision < 1 || revision > 3 || len(info) < masks+4 {
		return c
	}
	states, status := binary.NativeEndian.Uint16(info[masks:]), binary.NativeEndian.Uint16(info[masks+2:])
	if revision == 1 {
		states, status = uint16(info[masks]), uint16(info[masks+1])
	}
	match, invert := binary.NativeEndian.Uint16(info[flags:]), binary.NativeEndian.Uint16(info[flags+2:])
	c.established = match&matchState != 0 && invert&matchState == 0 && states == 1<<1
	c.confirmed = match&matchStatus != 0 && invert&matchStatus == 0 && status == statusConfirmed
	if match&matchState != 0 {
		c.limits = xtStates(uint32(states), untracked).inverted(invert&matchState != 0)
		if match != matchState {
			c.limits = c.limits.inexact()
		}
	}
	return c
}

// xtICMP reads struct ipt_icmp and struct ip6t_icmp: a type, two codes, and whether
// they are inverted. Type 255 of the former stands for any.
func xtICMP(info []byte) *limits {
	const anyType = 0xff
	if len(info) < 4 || info[0] == anyType || info[3] != 0 {
		return nil
	}
	l := ofICMPTypes(byteSetOf(info[0]))
	if info[1] != 0 || info[2] != 0xff {
		return l.inexact()
	}
	return l
}

// xtPort reads one of the ports that matches have.
func xtPort(info []byte, i int) uint16 { return binary.NativeEndian.Uint16(info[2*i:]) }

// xtPortLimits are those of the two ranges that port matches begin with. With any
// flag behind them the ranges may be inverted.
func xtPortLimits(info []byte) *limits {
	if len(bytes.Trim(info[8:], "\x00")) > 0 {
		return nil
	}
	l := unlimited
	l.exact = true
	for i, side := range []*portSet{&l.source, &l.destination} {
		if first, last := xtPort(info, 2*i), xtPort(info, 2*i+1); first != 0 || last != 0xffff {
			*side = portSet{vocabulary.Ports(first, last)}
			if first > last {
				*side = portSet{}
			}
		}
	}
	switch {
	case l.source == nil && l.destination == nil:
		return nil
	case l.source != nil && l.destination != nil:
		l.exact = false
	}
	return &l
}

// xtPorts renders the two ranges that port matches begin with: source and
// destination, first and last port each.
func xtPorts(protocol string, info []byte) string {
	port := func(i int) uint16 { return xtPort(info, i) }
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
func xtMultiport(c condition, revision uint32, info []byte) condition {
	const most, ports = 15, 2
	const flags, inverted = ports + 2*most, ports + 3*most
	if revision != 1 || len(info) <= inverted {
		return c
	}
	side, ok := map[byte]string{0: "th sport", 1: "th dport", 2: "th port"}[info[0]]
	count := int(info[1])
	if !ok || count > most {
		return c
	}
	var words []string
	var ranges []vocabulary.PortRange
	for i := 0; i < count; i++ {
		r := vocabulary.Ports(xtPort(info[ports:], i), xtPort(info[ports:], i))
		if info[flags+i] != 0 && i+1 < count {
			i++
			r.Last = xtPort(info[ports:], i)
		}
		words = append(words, r.String())
		if r.First <= r.Last {
			ranges = append(ranges, r)
		}
	}
	operator := map[bool]string{false: "", true: "!= "}[info[inverted] != 0]
	c.text, c.stable = fmt.Sprintf("%s %s{ %s }", side, operator, strings.Join(words, ", ")), true
	c.limits = limitedTo(func(l *limits) {
		*map[byte]*portSet{0: &l.source, 1: &l.destination, 2: &l.either}[info[0]] = vocabulary.MergePorts(ranges)
	}).inverted(info[inverted] != 0)
	return c
}

package liverules

import (
	"bytes"
	"cmp"
	"encoding/binary"
	"slices"

	"golang.org/x/sys/unix"

	"verdictd/internal/vocabulary"
)

// inverted are the limits of what does not meet a condition; nil for what is not
// understood.
func (l *limits) inverted(yes bool) *limits {
	switch {
	case l == nil || !yes:
		return l
	case !l.exact:
		return nil
	}
	out := l.outside()
	out.exact = true
	return &out
}

// inexact: packets within the limits need not meet the condition.
func (l *limits) inexact() *limits {
	if l != nil {
		l.exact = false
	}
	return l
}

// numbers reads what a field is compared with.
func (k valueKey) number(b []byte) (n uint16, ok bool) {
	switch k {
	case protocolValue, icmpTypeValue:
		if len(b) >= 1 {
			return uint16(b[0]), true
		}
	case sourcePortValue, destinationPortValue:
		if len(b) >= 2 {
			return binary.BigEndian.Uint16(b), true
		}
	}
	return 0, false
}

// most is a field's highest number.
func (k valueKey) most() uint16 {
	if k == sourcePortValue || k == destinationPortValue {
		return 0xffff
	}
	return 0xff
}

// length is a field's, in bytes.
func (k valueKey) length() int {
	if k.most() > 0xff {
		return 2
	}
	return 1
}

// within makes limits of ranges of a field.
func (k valueKey) within(ranges []vocabulary.PortRange) *limits {
	ranges = vocabulary.MergePorts(ranges)
	switch k {
	case sourcePortValue:
		return limitedTo(func(l *limits) { l.source = ranges })
	case destinationPortValue:
		return limitedTo(func(l *limits) { l.destination = ranges })
	}
	var s byteSet
	for _, r := range ranges {
		s = s.or(byteRange(uint8(r.First), uint8(min(r.Last, 0xff))))
	}
	switch k {
	case protocolValue:
		return ofProtocols(s)
	case icmpTypeValue:
		return ofICMPTypes(s)
	}
	return nil
}

// limits of a value within one element's range.
func (v value) limits(e element) *limits {
	first, ok := v.key.number(e.key)
	last, also := v.key.number(e.last)
	if !ok || !also || first > last {
		return nil
	}
	return v.key.within([]vocabulary.PortRange{vocabulary.Ports(first, last)})
}

// compared are the limits of a comparison.
func (v value) compared(data []byte, op uint32) *limits {
	n, ok := v.key.number(data)
	if !ok || len(data) > 2 {
		return nil
	}
	most := v.key.most()
	switch op {
	case unix.NFT_CMP_EQ:
		return v.key.within([]vocabulary.PortRange{vocabulary.Ports(n, n)})
	case unix.NFT_CMP_NEQ:
		return v.key.within([]vocabulary.PortRange{vocabulary.Ports(n, n)}).inverted(true)
	case unix.NFT_CMP_LTE:
		return v.key.within([]vocabulary.PortRange{vocabulary.Ports(0, n)})
	case unix.NFT_CMP_GTE:
		return v.key.within([]vocabulary.PortRange{vocabulary.Ports(n, most)})
	case unix.NFT_CMP_LT:
		return v.key.within([]vocabulary.PortRange{vocabulary.Ports(n, most)}).inverted(true)
	case unix.NFT_CMP_GT:
		return v.key.within([]vocabulary.PortRange{vocabulary.Ports(0, n)}).inverted(true)
	}
	return nil
}

// stateLimits are those of conntrack's states, masked and compared: nft writes a
// match as a mask that leaves something.
func stateLimits(mask, state, op uint32) *limits {
	switch {
	case state == 0 && op == unix.NFT_CMP_NEQ:
		return ofStates(mask)
	case state == 0 && op == unix.NFT_CMP_EQ:
		return ofStates(^mask)
	case op == unix.NFT_CMP_EQ && mask&state == state:
		return ofStates(state).inexact()
	}
	return nil
}

// limits are those of a value that is in the set.
func (s set) limits(v value) *limits {
	switch {
	case !s.whole:
		return nil
	case len(v.fields) > 0:
		return s.concatenated(v.fields)
	case v.key == stateValue && v.mask == ^uint32(0) && s.keyLength == 4:
		return s.states()
	case !v.key.narrows() || s.keyLength != v.key.length():
		return nil // or more than this value is looked up
	}
	ranges, ok := s.ranges(v.key)
	if !ok {
		return nil
	}
	return v.key.within(ranges)
}

// states are those in a set of them.
func (s set) states() *limits {
	var states uint32
	for _, e := range s.elements {
		if len(e.key) != 4 || !e.plain {
			return nil
		}
		states |= binary.NativeEndian.Uint32(e.key)
	}
	return ofStates(states)
}

// ranges are the elements of a set of one field.
func (s set) ranges(k valueKey) (ranges []vocabulary.PortRange, ok bool) {
	type point struct {
		n   uint16
		end bool
	}
	var points []point
	for _, e := range s.elements {
		n, ok := k.number(e.key)
		if !ok || e.all {
			return nil, false
		}
		if e.last != nil {
			last, ok := k.number(e.last)
			if !ok || last < n {
				return nil, false
			}
			ranges = append(ranges, vocabulary.Ports(n, last))
			continue
		}
		if !s.interval {
			ranges = append(ranges, vocabulary.Ports(n, n))
			continue
		}
		points = append(points, point{n, e.end})
	}
	// Each range goes from where it begins to before the next point, be that its
	// end or where another one begins; the last one may be open.
	slices.SortFunc(points, func(a, b point) int { return cmp.Compare(a.n, b.n) })
	for i, p := range points {
		if p.end {
			continue
		}
		last := k.most()
		for _, next := range points[i+1:] {
			if next.n > p.n {
				last = next.n - 1
				break
			}
		}
		ranges = append(ranges, vocabulary.Ports(p.n, last))
	}
	return ranges, true
}

// concatenated are the limits of several fields, each by itself: registers of 4
// bytes.
func (s set) concatenated(fields []valueKey) *limits {
	const width = 4
	l := unlimited
	for i, k := range fields {
		if !k.narrows() {
			continue
		}
		var ranges []vocabulary.PortRange
		for _, e := range s.elements {
			if e.all || e.end || len(e.key) != width*len(fields) || e.last != nil && len(e.last) != len(e.key) {
				return nil
			}
			first, _ := k.number(e.key[width*i:])
			last := first
			if e.last != nil {
				last, _ = k.number(e.last[width*i:])
			}
			if last < first {
				return nil
			}
			ranges = append(ranges, vocabulary.Ports(first, last))
		}
		l = l.and(*k.within(ranges))
	}
	return &l
}

// zone reads what `ct zone set` does.
func (t *translation) zone(a attributes) *zoning {
	z := &zoning{}
	if a.has(unix.NFTA_CT_DIRECTION) {
		z.direction = map[byte]string{0: "original", 1: "reply"}[firstByte(a.get(unix.NFTA_CT_DIRECTION))]
	}
	if data := t.at(a.u32(unix.NFTA_CT_SREG)).data; len(data) >= 2 {
		z.id = binary.NativeEndian.Uint16(data)
		return z
	}
	z.computed = true
	return z
}

func firstByte(b []byte) byte {
	if len(b) == 0 {
		return 0
	}
	return b[0]
}

// commentOf finds the comment among what nft keeps with a rule: types of 0 for
// comments, lengths and values.
func commentOf(b []byte) string {
	for len(b) >= 2 {
		n := int(b[1])
		if len(b) < 2+n {
			return ""
		}
		if b[0] == 0 {
			return unix.ByteSliceToString(b[2 : 2+n])
		}
		b = b[2+n:]
	}
	return ""
}

// withoutDynamic: rules may put elements into a set as packets come, of which
// nobody is told.
func (d *dumper) withoutDynamic(rules []object, sets map[tableKey]map[string]set) {
	for _, o := range rules {
		if !bytes.Contains(o.get(unix.NFTA_RULE_EXPRESSIONS), []byte("dynset")) {
			continue
		}
		list, err := parseList(o.get(unix.NFTA_RULE_EXPRESSIONS))
		if err != nil {
			continue // decoding the rule will say so
		}
		of := sets[tableKey{o.family, o.text(unix.NFTA_RULE_TABLE)}]
		for _, b := range list {
			expression, err := parseAttributes(b)
			if err != nil || expression.text(unix.NFTA_EXPR_NAME) != "dynset" {
				continue
			}
			data, err := expression.nested(unix.NFTA_EXPR_DATA)
			if err != nil {
				continue
			}
			if s, ok := of[data.text(unix.NFTA_DYNSET_SET_NAME)]; ok {
				s.whole = false
				of[s.name] = s
			}
		}
	}
}

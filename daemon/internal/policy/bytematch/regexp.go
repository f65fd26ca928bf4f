package bytematch

import (
	"encoding/binary"
	"regexp/syntax"
	"slices"
)

// What a table may have, so that it stays in a processor's cache and is made quickly.
const (
	maxTable  = 256 << 10 // bytes
	maxStates = 4096
)

// Places in a table that are no states of a program: from both there is no way out.
const (
	dead uint16 = iota
	accepted
	first // the first that is one
)

// Regexp is an expression. It does not change and may be shared by threads.
type Regexp struct {
	program *program
	// next is the place after a byte, for each place one after the other by class; nil:
	// there are too many.
	next []uint16
	// sure tells that a place is behind a match, whatever follows.
	sure []bool
	// class is by byte.
	class [256]uint16
}

// Compile reads an expression.
func Compile(expr string) (*Regexp, error) {
	p, err := parse(expr)
	if err != nil {
		return nil, err
	}
	r := &Regexp{program: p}
	for c := range r.class {
		r.class[c] = uint16(p.classes[c])
	}
	r.tabulate()
	return r, nil
}

// Match reports whether the expression matches somewhere in b. whole tells that b ends where
// the text does, so that $ can match there. A nil scratch will do where Walks is false.
func (r *Regexp) Match(b []byte, whole bool, s *Scratch) bool {
	if r.next == nil {
		return r.program.walk(s, b, whole)
	}
	at, count := first, r.program.count
	for _, c := range b {
		at = r.next[int(at)*count+int(r.class[c])]
		if at < first {
			return at == accepted
		}
	}
	if r.sure[at] {
		return true
	}
	return whole && r.next[int(at)*count+r.program.classes[end]] == accepted
}

// Walks reports whether there is no table.
func (r *Regexp) Walks() bool { return r.next == nil }

// state is a place with instructions.
type state struct {
	context int
	list    []uint32
}

// tabulate follows the program over each class of bytes from each place that can be reached.
func (r *Regexp) tabulate() {
	p := r.program
	s := new(Scratch)
	s.Grow(r)
	known := map[string]uint16{}
	var states []state
	name := func(context int, list []uint32) uint16 {
		list = slices.Sorted(slices.Values(list))
		if len(list) == 0 {
			return dead
		}
		id := []byte{byte(context)}
		for _, pc := range list {
			id = binary.LittleEndian.AppendUint16(id, uint16(pc))
		}
		place, ok := known[string(id)]
		if !ok {
			place = first + uint16(len(states))
			known[string(id)] = place
			states = append(states, state{context, list})
		}
		return place
	}
	p.begin(s)
	name(atBegin, s.now.list)
	next := make([]uint16, int(first)*p.count)
	sure := []bool{false, false}
	for i := 0; i < len(states); i++ { //nolint:intrange // it grows
		if len(states) > maxStates || len(states)*p.count*2 > maxTable {
			return
		}
		row := make([]uint16, p.count)
		from := states[i]
		for class, c := range p.sample {
			s.now.list = s.now.list[:0]
			for _, pc := range from.list {
				s.now.add(pc)
			}
			switch {
			case p.step(s, from.context, c):
				row[class] = accepted
			case c != end:
				row[class] = name(p.contextAfter(c), s.now.list)
			}
		}
		next = append(next, row...)
		sure = append(sure, slices.ContainsFunc(from.list, func(pc uint32) bool { return p.insts[pc].Op == syntax.InstMatch }))
	}
	r.next, r.sure = next, sure
}

package bytematch

import "regexp/syntax"

// set has instructions, in the order of their coming.
type set struct {
	list []uint32
	mark []uint32 // by instruction: its place in list, if that is it
}

func newSet(n int) set { return set{list: make([]uint32, 0, n), mark: make([]uint32, n)} }

func (s *set) has(pc uint32) bool {
	i := s.mark[pc]
	return int(i) < len(s.list) && s.list[i] == pc
}

// add reports whether it was not there.
func (s *set) add(pc uint32) bool {
	if s.has(pc) {
		return false
	}
	s.mark[pc] = uint32(len(s.list))
	s.list = append(s.list, pc)
	return true
}

// Scratch is the room in which expressions without a table are followed. It belongs to one
// goroutine and grows to what the largest one needs.
type Scratch struct {
	now, next set
	stack     []uint32
}

// Grow has room for r.
func (s *Scratch) Grow(r *Regexp) {
	if n := len(r.program.insts); cap(s.now.list) < n {
		s.now, s.next = newSet(n), newSet(n)
		s.stack = make([]uint32, 0, 2*n)
	}
}

// begin puts into s.now where the program begins.
func (p *program) begin(s *Scratch) {
	s.now.list = s.now.list[:0]
	p.follow(s, &s.now, p.start)
}

// follow adds an instruction, and those that come next without a byte and a condition.
func (p *program) follow(s *Scratch, to *set, pc uint32) {
	s.stack = append(s.stack[:0], pc)
	for len(s.stack) > 0 {
		pc := s.stack[len(s.stack)-1]
		s.stack = s.stack[:len(s.stack)-1]
		if !to.add(pc) {
			continue
		}
		switch inst := &p.insts[pc]; inst.Op {
		case syntax.InstAlt, syntax.InstAltMatch:
			s.stack = append(s.stack, inst.Out, inst.Arg)
		case syntax.InstNop, syntax.InstCapture:
			s.stack = append(s.stack, inst.Out)
		}
	}
}

// step takes s.now over a byte, or the end, and reports a match before that byte.
func (p *program) step(s *Scratch, context, c int) (matched bool) {
	conditions := between(context, c)
	s.next.list = s.next.list[:0]
	for i := 0; i < len(s.now.list); i++ { //nolint:intrange // it grows where conditions are met
		inst := &p.insts[s.now.list[i]]
		switch {
		case inst.Op == syntax.InstMatch:
			return true
		case inst.Op == syntax.InstEmptyWidth:
			if syntax.EmptyOp(inst.Arg)&^conditions == 0 {
				p.follow(s, &s.now, inst.Out)
			}
		case consumes(inst) && matches(inst, c) != 0:
			p.follow(s, &s.next, inst.Out)
		}
	}
	if !p.anchored && c != end {
		p.follow(s, &s.next, p.start)
	}
	s.now, s.next = s.next, s.now
	return false
}

// walk follows the program over b.
func (p *program) walk(s *Scratch, b []byte, whole bool) bool {
	p.begin(s)
	context := atBegin
	for _, c := range b {
		if p.step(s, context, int(c)) {
			return true
		}
		if len(s.now.list) == 0 {
			return false
		}
		context = p.contextAfter(int(c))
	}
	if whole {
		return p.step(s, context, end)
	}
	for _, pc := range s.now.list {
		if p.insts[pc].Op == syntax.InstMatch {
			return true
		}
	}
	return false
}

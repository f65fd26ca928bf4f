package bytematch

import (
	"errors"
	"fmt"
	"regexp/syntax"
	"unicode/utf8"
)

// maxInstructions bounds what a byte costs where there is no table.
const maxInstructions = 4096

// end is what stands behind the last byte.
const end = 256

// The context of a place is what stands before it.
const (
	atBegin = iota
	afterLine
	afterWord
	afterOther
)

// program is an expression as the standard library compiles it, read over bytes.
type program struct {
	insts    []syntax.Inst
	start    uint32
	simple   bool  // there are no conditions but the beginning and the end of the text
	anchored bool  // it matches at the beginning or nowhere
	classes  []int // by byte, and end: those that no instruction tells apart are of one class
	count    int   // of classes
	sample   []int // a byte of each class
}

func parse(expr string) (*program, error) {
	for _, c := range []byte(expr) {
		if c >= utf8.RuneSelf {
			return nil, errors.New(`has characters outside of ASCII: write their bytes, for example \xc3\xa9`)
		}
	}
	tree, err := syntax.Parse(expr, syntax.Perl)
	if err != nil {
		return nil, err
	}
	prog, err := syntax.Compile(tree.Simplify())
	if err != nil {
		return nil, err
	}
	if n := len(prog.Inst); n > maxInstructions {
		return nil, fmt.Errorf("is too large, with %d instructions of at most %d: lower its counts", n, maxInstructions)
	}
	p := &program{insts: prog.Inst, start: uint32(prog.Start), anchored: prog.StartCond()&syntax.EmptyBeginText != 0}
	p.simple = true
	for i := range p.insts {
		const text = syntax.EmptyBeginText | syntax.EmptyEndText
		if inst := &p.insts[i]; inst.Op == syntax.InstEmptyWidth && syntax.EmptyOp(inst.Arg)&^text != 0 {
			p.simple = false
		}
	}
	p.classify()
	return p, nil
}

// classify finds the bytes that no instruction tells apart.
func (p *program) classify() {
	p.classes = make([]int, end+1)
	known := map[string]int{}
	signature := make([]byte, 0, len(p.insts)+1)
	for c := range end {
		signature = append(signature[:0], byte(p.contextAfter(c)))
		for i := range p.insts {
			if inst := &p.insts[i]; consumes(inst) {
				signature = append(signature, matches(inst, c))
			}
		}
		class, ok := known[string(signature)]
		if !ok {
			class = len(p.sample)
			known[string(signature)] = class
			p.sample = append(p.sample, c)
		}
		p.classes[c] = class
	}
	p.classes[end] = len(p.sample)
	p.sample = append(p.sample, end)
	p.count = len(p.sample)
}

func consumes(inst *syntax.Inst) bool {
	switch inst.Op {
	case syntax.InstRune, syntax.InstRune1, syntax.InstRuneAny, syntax.InstRuneAnyNotNL:
		return true
	}
	return false
}

func matches(inst *syntax.Inst, c int) byte {
	if c != end && inst.MatchRune(rune(c)) {
		return 1
	}
	return 0
}

// contextAfter is what a byte makes of a place, as far as the program can tell.
func (p *program) contextAfter(c int) int {
	switch {
	case p.simple:
		return afterOther
	case c == '\n':
		return afterLine
	case syntax.IsWordChar(rune(c)):
		return afterWord
	}
	return afterOther
}

// between are the conditions that hold in a context before a byte.
func between(context, c int) (op syntax.EmptyOp) {
	if context == atBegin {
		op |= syntax.EmptyBeginText | syntax.EmptyBeginLine
	}
	if context == afterLine {
		op |= syntax.EmptyBeginLine
	}
	word := false
	switch {
	case c == end:
		op |= syntax.EmptyEndText | syntax.EmptyEndLine
	case c == '\n':
		op |= syntax.EmptyEndLine
	default:
		word = syntax.IsWordChar(rune(c))
	}
	if word != (context == afterWord) {
		return op | syntax.EmptyWordBoundary
	}
	return op | syntax.EmptyNoWordBoundary
}

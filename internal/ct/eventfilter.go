package ct

import (
	"fmt"
	"slices"

	"golang.org/x/net/bpf"
	"golang.org/x/sys/unix"

	"verdictd/internal/nfnl"
	"verdictd/internal/vocabulary"
)

// Filter chooses events. The zero value lets every one pass. Types are told apart by the kernel's groups, all else by a
// program that it runs for each message before it goes to the socket: what does not pass takes no room in the receive
// buffer and wakes nobody.
type Filter struct {
	Types     []EventType           // none: all
	Protocols []vocabulary.Protocol // none: all
	Family    uint8                 // AF_INET or AF_INET6; 0: both
	Zone      *uint16               // of either direction; nil: all
	Mark      *Mark                 // nil: all
}

// Mark is a connection mark to look for: bits outside of Mask do not matter.
type Mark struct{ Value, Mask uint32 }

// maxProtocols bounds a filter's list: a jump in the program spans 255 instructions.
const maxProtocols = 64

// Validate says what cannot be looked for.
func (f *Filter) Validate() error {
	switch {
	case len(f.Protocols) > maxProtocols:
		return fmt.Errorf("%d protocols: want %d at most", len(f.Protocols), maxProtocols)
	case f.Family != 0 && f.Family != unix.AF_INET && f.Family != unix.AF_INET6:
		return fmt.Errorf("family %d: want AF_INET or AF_INET6", f.Family)
	case f.Mark != nil && f.Mark.Value&^f.Mark.Mask != 0:
		return fmt.Errorf("mark %#x/%#x: the mask hides bits that are to be found", f.Mark.Value, f.Mark.Mask)
	}
	return nil
}

// wants says whether events of a type pass.
func (f *Filter) wants(t EventType) bool { return len(f.Types) == 0 || slices.Contains(f.Types, t) }

// groups are the kernel's for the types.
func (f *Filter) groups() (groups []uint32) {
	for _, g := range []struct {
		typ   EventType
		group uint32
	}{
		{EventNew, unix.NFNLGRP_CONNTRACK_NEW},
		{EventUpdate, unix.NFNLGRP_CONNTRACK_UPDATE},
		{EventDestroy, unix.NFNLGRP_CONNTRACK_DESTROY},
	} {
		if f.wants(g.typ) {
			groups = append(groups, g.group)
		}
	}
	return groups
}

// match is the filter for entries of a dump, which have no type and no program.
func (f *Filter) match(e *Event) bool {
	orig, reply := e.Orig.Zone, e.Reply.Zone
	if e.Zone != 0 {
		orig, reply = e.Zone, e.Zone
	}
	return (f.Family == 0 || f.Family == e.Family) &&
		(len(f.Protocols) == 0 || slices.Contains(f.Protocols, e.Orig.Protocol)) &&
		(f.Zone == nil || *f.Zone == orig || *f.Zone == reply) &&
		(f.Mark == nil || e.Mark&f.Mark.Mask == f.Mark.Value)
}

// program is nil where there is nothing to look at.
func (f *Filter) program() ([]bpf.RawInstruction, error) {
	var p program
	if f.Family != 0 {
		const familyOffset = unix.SizeofNlMsghdr
		p.add(bpf.LoadAbsolute{Off: familyOffset, Size: 1})
		p.want(uint32(f.Family))
	}
	if len(f.Protocols) > 0 {
		p.attribute(ctaTupleOrig)
		p.nested(ctaTupleProto)
		p.nested(ctaProtoNum)
		p.value(1)
		for i, protocol := range f.Protocols[1:] {
			// To the first check behind the list.
			p.add(bpf.JumpIf{Cond: bpf.JumpEqual, Val: uint32(protocol), SkipTrue: uint8(len(f.Protocols) - 1 - i)})
		}
		p.want(uint32(f.Protocols[0]))
	}
	if f.Mark != nil {
		// The kernel sends no mark of 0; where there is none, the register has a 0 in it already.
		p.attribute(ctaMark)
		p.value(4)
		p.add(bpf.ALUOpConstant{Op: bpf.ALUOpAnd, Val: f.Mark.Mask})
		p.want(f.Mark.Value)
	}
	if f.Zone != nil {
		p.zone(uint32(*f.Zone))
	}
	if len(p.code) == 0 {
		return nil, nil
	}
	return p.assemble()
}

// program is a classic BPF program of checks: the message is refused at the first one that fails.
type program struct {
	code   []bpf.Instruction
	checks []int // the conditional jumps that refuse
}

func (p *program) add(code ...bpf.Instruction) { p.code = append(p.code, code...) }

// want refuses the message unless register A holds v.
func (p *program) want(v uint32) {
	p.checks = append(p.checks, len(p.code))
	p.add(bpf.JumpIf{Cond: bpf.JumpEqual, Val: v})
}

// attribute puts the place of a message's attribute into register A, 0 where there is none.
func (p *program) attribute(typ uint32) {
	p.add(bpf.LoadConstant{Dst: bpf.RegA, Val: nfnl.HeaderLen}, bpf.LoadConstant{Dst: bpf.RegX, Val: typ}, bpf.LoadExtension{Num: bpf.ExtNetlinkAttr})
}

// nested does so for an attribute within the one that register A points to.
func (p *program) nested(typ uint32) {
	p.add(bpf.LoadConstant{Dst: bpf.RegX, Val: typ}, bpf.LoadExtension{Num: bpf.ExtNetlinkAttrNested})
}

// value loads a number of some bytes from the attribute that register A points to, and leaves the 0 where there is
// none.
func (p *program) value(size int) {
	p.add(
		bpf.JumpIf{Cond: bpf.JumpEqual, Val: 0, SkipTrue: 2},
		bpf.TAX{},
		bpf.LoadIndirect{Off: unix.SizeofNlAttr, Size: size},
	)
}

// zone passes entries that are in a zone in either direction: the entry's own, where a tuple has none of its own.
func (p *program) zone(number uint32) {
	const both = 0 // scratch
	p.attribute(ctaZone)
	p.value(2)
	p.add(bpf.StoreScratch{Src: bpf.RegA, N: both})
	direction := func(tuple uint32) {
		p.attribute(tuple)
		p.nested(ctaTupleZone)
		p.add(bpf.JumpIf{Cond: bpf.JumpNotEqual, Val: 0, SkipTrue: 2})
		p.add(bpf.LoadScratch{Dst: bpf.RegA, N: both}, bpf.Jump{Skip: 2})
		p.add(bpf.TAX{}, bpf.LoadIndirect{Off: unix.SizeofNlAttr, Size: 2})
	}
	direction(ctaTupleOrig)
	matched := len(p.code)
	p.add(bpf.JumpIf{Cond: bpf.JumpEqual, Val: number})
	direction(ctaTupleReply)
	p.want(number)
	p.code[matched] = bpf.JumpIf{Cond: bpf.JumpEqual, Val: number, SkipTrue: uint8(len(p.code) - matched - 1)}
}

// assemble ends the program, with the places that its checks jump to.
func (p *program) assemble() ([]bpf.RawInstruction, error) {
	const all = 1<<32 - 1
	p.add(bpf.RetConstant{Val: all}, bpf.RetConstant{Val: 0})
	refuse := len(p.code) - 1
	for _, at := range p.checks {
		check := p.code[at].(bpf.JumpIf)
		check.SkipFalse = uint8(refuse - at - 1)
		p.code[at] = check
	}
	raw, err := bpf.Assemble(p.code)
	if err != nil {
		return nil, fmt.Errorf("assemble the filter: %w", err)
	}
	return raw, nil
}

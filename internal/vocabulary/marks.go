package vocabulary

import (
	"fmt"
	"math/bits"
	"strconv"
)

// Marks are the bits of a 32-bit mark in which a verdict that the kernel carries out is
// written: a packet's mark on its way from the engine to the daemon's rules, and
// conntrack's mark of a flow that was judged.
//
// The engine gives such a packet the verdict NF_REPEAT and writes the bits into its mark.
// The kernel calls the hook's chain once more, whose rules act on the bits, note the flow
// and clear them, before anybody else sees the packet. So a mark that is lost can never
// become an accept, and none has to be routed again because of them.
//
// The value, in the mask's bits from the lowest on:
//
//	bits 0, 1        the MarkVerdict
//	the others       the generation of the policy that has judged
//
// Value 0 says nothing. Generation 0 is for the packet alone. The highest generation, with
// MarkNone, says that the packet was repeated (Marks.Repeated).
type Marks uint32

// DefaultMarks are the bits in both marks, where nothing else is configured.
const DefaultMarks Marks = 0xff000000

// MarkVerdict is what the rules are to do with a packet.
type MarkVerdict uint8

// The verdicts. A drop for one packet needs no mark.
const (
	MarkNone MarkVerdict = iota
	MarkAccept
	MarkDrop
	MarkReject
)

const (
	markVerdictBits = 2
	// minMarkBits leave 6 generations.
	minMarkBits = markVerdictBits + 3
	maxMarkBits = 16
)

// Check tells what is wrong with the mask.
func (m Marks) Check() error {
	n := bits.OnesCount32(uint32(m))
	if n < minMarkBits || n > maxMarkBits || bits.Len32(uint32(m))-bits.TrailingZeros32(uint32(m)) != n {
		return fmt.Errorf("mask %#x: use %d to %d bits in a row, as %#x", uint32(m), minMarkBits, maxMarkBits, uint32(DefaultMarks))
	}
	return nil
}

// Generations is the highest generation: they are 1 to Generations.
func (m Marks) Generations() uint16 {
	return uint16(1)<<(bits.OnesCount32(uint32(m))-markVerdictBits) - 2
}

// Next is the generation behind g, for any g.
func (m Marks) Next(g uint16) uint16 {
	if g >= m.Generations() {
		return 1
	}
	return g + 1
}

// Value is how a verdict is written. Generation 0: it is for the packet alone.
func (m Marks) Value(v MarkVerdict, generation uint16) uint32 {
	return (uint32(v) | uint32(generation)<<markVerdictBits) << bits.TrailingZeros32(uint32(m)) & uint32(m)
}

// Verdicts are the bits of the MarkVerdict.
func (m Marks) Verdicts() uint32 {
	return (1<<markVerdictBits - 1) << bits.TrailingZeros32(uint32(m))
}

// Read is Value's inverse, for any mark.
func (m Marks) Read(mark uint32) (v MarkVerdict, generation uint16) {
	value := (mark & uint32(m)) >> bits.TrailingZeros32(uint32(m))
	return MarkVerdict(value & (1<<markVerdictBits - 1)), uint16(value >> markVerdictBits)
}

// Repeated is how a packet is marked that a rule of the policy repeats. It is queued with
// it, and must not be repeated again: it would be for ever.
func (m Marks) Repeated() uint32 { return m.Value(MarkNone, m.Generations()+1) }

// Set is a mark with the value in place of what it had in the bits.
func (m Marks) Set(mark, value uint32) uint32 { return mark&^uint32(m) | value }

// String is the mask.
func (m Marks) String() string { return fmt.Sprintf("%#x", uint32(m)) }

// MarshalText gives the mask.
func (m Marks) MarshalText() ([]byte, error) { return []byte(m.String()), nil }

// UnmarshalText reads a mask, also one that Check refuses.
func (m *Marks) UnmarshalText(text []byte) error {
	n, err := strconv.ParseUint(string(text), 0, 32)
	if err != nil {
		return fmt.Errorf("%q is no mask: write it like %v", text, DefaultMarks)
	}
	*m = Marks(n)
	return nil
}

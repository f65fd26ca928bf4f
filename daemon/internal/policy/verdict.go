package policy

import "verdictd/internal/vocabulary"

// Verdict is what becomes of a packet.
type Verdict struct {
	Action vocabulary.Action
	// Rule has decided, by its number; that of all rules stands for the default.
	Rule int
	// Queue is for vocabulary.Requeue.
	Queue uint16
	// Mark and ConnMark are what this rule and those that have counted set. Where bits
	// are set twice, the later rule counts.
	Mark, ConnMark Masked
	// Flow: the verdict is for the packet's flow. Never together with Pending, nor for a
	// message of DNS where a rule on names was asked: the flow's next one has another name.
	Flow bool
	// Pending: the name of the flow is not known yet, and what Rule does depends on it.
	// Action is vocabulary.Accept. Hold: a packet that can be part of what has the name
	// should wait.
	Pending, Hold bool
	// Counted are the rules that have matched and count only, in their order. They are
	// valid until the Decider decides again.
	Counted []int32
}

// strictness orders actions: what a packet must not do by one verdict it does not.
func strictness(a vocabulary.Action) int {
	switch a {
	case vocabulary.Accept, vocabulary.Count:
		return 0
	case vocabulary.Repeat:
		return 1
	case vocabulary.Requeue:
		return 2
	case vocabulary.Reject:
		return 3
	}
	return 4
}

// Stricter reports whether v counts where a packet has both verdicts: a drop before a
// reject, before what sends it elsewhere, before waiting, before going on.
func (v *Verdict) Stricter(than *Verdict) bool {
	if a, b := strictness(v.Action), strictness(than.Action); a != b {
		return a > b
	}
	switch {
	case v.Hold != than.Hold:
		return v.Hold
	case v.Pending != than.Pending:
		return v.Pending
	}
	// To let one packet pass is less than the flow, and to drop one as well.
	return v.Flow != than.Flow && v.Flow == (v.Action != vocabulary.Accept)
}

// Changed is a mark with the bits of m.
func (m Masked) Changed(mark uint32) uint32 { return mark&^m.Mask | m.Value&m.Mask }

// over is m with the bits of later.
func (m Masked) over(later Masked) Masked {
	return Masked{Value: later.Changed(m.Value), Mask: m.Mask | later.Mask}
}

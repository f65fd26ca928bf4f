package policy

import (
	"time"

	"verdictd/internal/vocabulary"
)

// Config is what Compile takes.
type Config struct {
	// Rules in their order.
	Rules []Rule
	// Default is for packets that no rule decides on.
	Default vocabulary.Action
	// Defaults come before Default, by the kernel's number of the hook
	// (vocabulary.Hook.Number).
	Defaults map[uint8]vocabulary.Action
	// Flow: what the defaults say is for the packet's flow.
	Flow bool
	// RegexpBytes is how many bytes of a payload Match.Regexp looks at; 0: 1,024.
	RegexpBytes int
}

// Rule is a match and what is done then.
type Rule struct {
	Name  string
	Match Match
	// Action is what happens to the packet. With vocabulary.Count the search goes on.
	Action vocabulary.Action
	// Queue is the queue's number, for vocabulary.Requeue.
	Queue uint16
	// Mark and ConnMark are set.
	Mark, ConnMark Masked
	Limit          Limit
	// Log and Sample are how many packets a second are logged and kept as samples, at
	// most.
	Log, Sample int
	// Flow: the verdict is for the packet's flow.
	Flow bool
	// Hold: a packet of whose flow the name is not known yet waits. Else it goes on.
	Hold bool
}

// Masked are some bits of a mark: those of Mask. None: a match on it matches
// everything, and a mark stays as it is.
type Masked struct{ Value, Mask uint32 }

// Per is what a limit counts for itself.
type Per uint8

// What a limit can be for.
const (
	PerRule Per = iota
	PerSource
	PerDestination
	// PerEntry is for each entry of sets and lists that has matched: a name, a prefix, a
	// port, or a pair.
	PerEntry
)

// Limit has a rule match within a rate alone: Count packets in Interval, and Burst at
// once. It is that of all workers together. The zero Limit is none.
type Limit struct {
	Count    uint64
	Interval time.Duration
	Burst    uint64 // 0: Count
	Per      Per
	// IPv4 and IPv6 are bits that addresses are cut to; 0: 32 and 64.
	IPv4, IPv6 int
	// Entries is of how many sources, destinations or entries the rate is known at the
	// same time; 0: 65,536. Beyond that, some share one.
	Entries int
}

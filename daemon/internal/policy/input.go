package policy

import (
	"fmt"
	"strings"

	"verdictd/daemon/internal/names/flows"
	"verdictd/internal/packet"
	"verdictd/internal/vocabulary"
)

// Input is all that a rule can look at. What a policy does not read (Needs) may be left
// out.
type Input struct {
	View *packet.View
	// Hook is where it was queued, by the kernel's number.
	Hook           uint8
	Mark, ConnMark uint32
	// InDev and OutDev are interface indices, 0 where the packet has none.
	InDev, OutDev  uint32
	UID, GID       uint32
	HasUID, HasGID bool
	CT             CTState
	// Name is one result of package flows, which may give several for a packet: each is
	// to be decided on, and the strictest verdict counts (Verdict.Stricter).
	Name flows.Result
	// Now is a time in nanoseconds that never goes back, of the same clock for all
	// workers. For limits.
	Now int64
	// Unix is the time of day, in seconds since 1970.
	Unix int64
}

// CTState are bits for what conntrack knows about a packet.
type CTState uint16

// What a packet may be to conntrack. The kernel gives no entry for an invalid packet and
// none for an untracked one, and does not tell them apart: such a packet is both.
const (
	CTNew CTState = 1 << iota
	CTEstablished
	CTRelated
	CTReply
	CTInvalid
	CTUntracked
	CTSNAT
	CTDNAT
)

// Numbers of the kernel's: enum ip_conntrack_info and enum ip_conntrack_status.
const (
	ctInfoNew   = 2
	ctInfoReply = 3 // and above
	ctSourceNAT = 1 << 4
	ctDestNAT   = 1 << 5
)

// CTOf translates NFQA_CT_INFO and the status of NFQA_CT. Without both, present is false.
func CTOf(info, status uint32, present bool) (s CTState) {
	if !present {
		return CTInvalid | CTUntracked
	}
	if info >= ctInfoReply {
		s |= CTReply
		info -= ctInfoReply
	}
	s |= [...]CTState{CTEstablished, CTRelated, CTNew, 0}[min(info, ctInfoNew+1)]
	if status&ctSourceNAT != 0 {
		s |= CTSNAT
	}
	if status&ctDestNAT != 0 {
		s |= CTDNAT
	}
	return s
}

// Needs is what a policy's rules look at, so that nobody asks the kernel for more.
type Needs struct {
	// Payload is of how many bytes behind the upper layer's header rules know what they
	// are.
	Payload int
	// Names are those of flows, for which whole packets are needed.
	Names bool
	// Conntrack is for Input.CT and ConnMark for Input.ConnMark. SetConnMark: rules set it.
	Conntrack, ConnMark, SetConnMark bool
	UIDGID                           bool
	// Devices: names of interfaces have to be told (Policy.SetDevices).
	Devices bool
	// Now is for Input.Now, and Unix for Input.Unix.
	Now, Unix bool
	// Samples, Logs and Flows: rules have them.
	Samples, Logs, Flows bool
}

// CopyRange is how much of a packet a verdict may depend on, in bytes from its first on, and
// why in words: who judges by rules that look at this reads the same of a copy as of the
// whole packet. vocabulary.MaxCopyRange stands for all.
func (n *Needs) CopyRange() (bytes uint32, why string) {
	behind := packet.MaxHeaders + n.Payload
	switch {
	case n.Names:
		return vocabulary.MaxCopyRange, "all, as rules look for names"
	case behind >= vocabulary.MaxCopyRange:
		return vocabulary.MaxCopyRange, fmt.Sprintf("all, as rules look at the first %d bytes of the payload", n.Payload)
	case n.Samples && behind < vocabulary.SampleBytes:
		return vocabulary.SampleBytes, "as much as a sample has"
	case n.Payload > 0:
		return uint32(behind), fmt.Sprintf("headers, and the first %d bytes of the payload, at which rules look", n.Payload)
	}
	return packet.MaxHeaders, "headers, as no rule looks further"
}

// String has the words that rules are written with.
func (s CTState) String() string {
	var words []string
	for i, word := range [...]string{"new", "established", "related", "reply", "invalid", "untracked", "snat", "dnat"} {
		if s&(1<<i) != 0 {
			words = append(words, word)
		}
	}
	return strings.Join(words, " ")
}

package traffic

import (
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"time"
)

// MixResult is what RunMix saw.
type MixResult struct {
	Targets []MixTargetResult `json:"targets"` // in the order of the configuration
	Shape   MixShape          `json:"shape"`
	// Echo is the way back, for all targets that echo.
	EchoSent   uint64 `json:"echo_sent"`
	EchoCounts Counts `json:"echo"`
	// EchoDropped is the answers that were lost at the sockets that they came back to, as their buffers were full or
	// memory was short; nil where the kernel cannot tell. What is lost besides was lost on the way, or came later than
	// its flow waited.
	EchoDropped *uint64 `json:"echo_dropped"`
	Seconds     float64 `json:"seconds"`
	// SendErrors is packets that the kernel did not take, by cause; they are among the sent ones.
	SendErrors map[string]uint64 `json:"send_errors"`
	EchoErrors map[string]uint64 `json:"echo_errors"`
}

// MixTargetResult is what one receiver saw.
type MixTargetResult struct {
	MixTarget
	Sent   uint64 `json:"sent"`
	Counts        // of the ledger
	// ReceiverDropped is loss at the receiver's own socket; nil where the kernel cannot tell.
	ReceiverDropped *uint64 `json:"receiver_dropped"`
	// ReceivedFrom are the addresses that flows arrived from.
	ReceivedFrom []netip.Addr `json:"received_from"`
}

// Lost is what did not arrive.
func (r *MixTargetResult) Lost() uint64 { return r.Sent - r.Delivered }

// MixShape says what sorts of flows there were.
type MixShape struct {
	Flows     uint64 `json:"flows"`
	IPv6      uint64 `json:"ipv6"`
	Echo      uint64 `json:"echo"`
	Reused    uint64 `json:"reused_ports"`
	Paused    uint64 `json:"paused"`   // for longer than a second
	Shared    uint64 `json:"shared"`   // by two threads
	Settling  uint64 `json:"settling"` // that took longer than 100 ms
	Oversized uint64 `json:"oversized_packets"`
}

func (s *MixShape) add(f *mixFlow, t *MixTarget) {
	count := func(n *uint64, what bool) {
		if what {
			*n++
		}
	}
	s.Flows++
	count(&s.IPv6, t.Address.Addr().Is6())
	count(&s.Echo, t.Echo)
	count(&s.Reused, f.reused)
	count(&s.Paused, f.paused)
	count(&s.Shared, slices.ContainsFunc(f.packets, func(p mixPacket) bool { return p.lane != f.packets[0].lane }))
	count(&s.Settling, f.end()-f.start > 100*time.Millisecond)
	for _, p := range f.packets {
		count(&s.Oversized, p.size > mixLargest)
	}
}

// Add sums up.
func (s *MixShape) Add(o *MixShape) {
	s.Flows += o.Flows
	s.IPv6 += o.IPv6
	s.Echo += o.Echo
	s.Reused += o.Reused
	s.Paused += o.Paused
	s.Shared += o.Shared
	s.Settling += o.Settling
	s.Oversized += o.Oversized
}

// Add takes in what a further round over the same targets saw.
func (r *MixResult) Add(o *MixResult) {
	if r.Targets == nil {
		r.Targets = make([]MixTargetResult, len(o.Targets))
		for i := range o.Targets {
			r.Targets[i].MixTarget = o.Targets[i].MixTarget
		}
		r.SendErrors, r.EchoErrors = map[string]uint64{}, map[string]uint64{}
	}
	for i := range o.Targets {
		r.Targets[i].add(&o.Targets[i])
	}
	r.Shape.Add(&o.Shape)
	r.EchoSent += o.EchoSent
	r.EchoCounts.add(&o.EchoCounts)
	r.EchoDropped = addKnown(r.EchoDropped, o.EchoDropped)
	r.Seconds += o.Seconds
	for name, n := range o.SendErrors {
		r.SendErrors[name] += n
	}
	for name, n := range o.EchoErrors {
		r.EchoErrors[name] += n
	}
}

func (r *MixTargetResult) add(o *MixTargetResult) {
	r.Sent += o.Sent
	r.Counts.add(&o.Counts)
	r.ReceiverDropped = addKnown(r.ReceiverDropped, o.ReceiverDropped)
	r.ReceivedFrom = slices.Compact(slices.SortedFunc(slices.Values(append(r.ReceivedFrom, o.ReceivedFrom...)),
		netip.Addr.Compare))
}

// addKnown adds what is known; nil: nothing is.
func addKnown(a, b *uint64) *uint64 {
	switch {
	case b == nil:
		return a
	case a == nil:
		return new(*b)
	}
	return new(*a + *b)
}

func (c *Counts) add(o *Counts) {
	c.Delivered += o.Delivered
	c.Duplicated += o.Duplicated
	c.Reordered += o.Reordered
	c.Corrupted += o.Corrupted
	c.Foreign += o.Foreign
	c.SourcesChanged += o.SourcesChanged
}

// MixSum is a mix in few figures, the way back included.
type MixSum struct {
	Sent       uint64
	Lost       uint64 // of targets that are not lossy
	LossyLost  uint64 // of those that are
	EchoLost   uint64
	Duplicated uint64
	Reordered  uint64
	Corrupted  uint64
	Moved      uint64 // packets that came from another address or port than the first of their flow
}

// Sum adds up.
func (r *MixResult) Sum() MixSum {
	e := &r.EchoCounts
	s := MixSum{EchoLost: r.EchoSent - e.Delivered, Duplicated: e.Duplicated, Reordered: e.Reordered,
		Corrupted: e.Corrupted}
	for i := range r.Targets {
		t := &r.Targets[i]
		s.Sent += t.Sent
		s.Duplicated += t.Duplicated
		s.Reordered += t.Reordered
		s.Corrupted += t.Corrupted
		s.Moved += t.SourcesChanged
		if t.Lossy {
			s.LossyLost += t.Lost()
		} else {
			s.Lost += t.Lost()
		}
	}
	return s
}

// Reordering is the violation that tells of reordered packets; empty: none are.
func (r *MixResult) Reordering() string {
	if n := r.Sum().Reordered; n > 0 {
		return fmt.Sprintf("%d packets reordered", n)
	}
	return ""
}

// Violations are what a path that keeps its promises does not do, each in words; loss is none where the target is
// lossy.
func (r *MixResult) Violations() []string {
	var all []string
	violated := func(n uint64, what string) {
		if n > 0 {
			all = append(all, fmt.Sprintf("%d %s", n, what))
		}
	}
	s := r.Sum()
	violated(s.Lost, "packets lost")
	violated(s.EchoLost, "replies lost")
	if r.EchoDropped != nil {
		violated(*r.EchoDropped, "of them dropped at the sockets that they came back to")
	}
	violated(s.Duplicated, "packets duplicated")
	if text := r.Reordering(); text != "" {
		all = append(all, text)
	}
	violated(s.Corrupted, "packets corrupted")
	violated(s.Moved, "packets left from another address or port than the first of their flow")
	for _, errs := range []map[string]uint64{r.SendErrors, r.EchoErrors} {
		for _, name := range slices.Sorted(maps.Keys(errs)) {
			violated(errs[name], fmt.Sprintf("sends refused (%s)", name))
		}
	}
	for i := range r.Targets {
		if d := r.Targets[i].ReceiverDropped; d != nil {
			violated(*d, "packets dropped at the receiver's own socket")
		}
	}
	return all
}

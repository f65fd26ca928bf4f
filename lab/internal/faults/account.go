package faults

import (
	"slices"
	"sort"
	"sync"
	"time"

	"verdictd/internal/traffic"
)

// An event is something wrong with a packet that was sent at a time since the start of the load.
type event struct {
	what column
	sent time.Duration
}

// column is what an event counts in.
type column uint8

const (
	lost column = iota
	unjudged
	duplicated
	reordered
	clashed // no packet's, but conntrack's
	columns
)

// account is the ledger: which packets arrived, and what was wrong with those that did. The sender and the receivers
// use it at once.
type account struct {
	run uint32

	mu     sync.Mutex
	seen   []uint64 // a bit for each packet
	last   [steadyFlows]uint32
	newest []uint8 // for each new flow: the highest position that arrived, plus 1
	events []event

	corrupted, delivered uint64
	switched             time.Duration // when the latest packet to portSwitched that arrived was sent
	lastArrival, gap     time.Duration // when a packet that is wanted arrived, and the longest time without one
	recentlySent         time.Duration // of those that arrived, the latest
	marks                []mark
}

// mark says that packets from n on were sent at a time or later.
type mark struct {
	n  uint32
	at time.Duration
}

// sending notes that packet n and those behind it are sent now.
func (a *account) sending(n uint32, now time.Duration) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.marks = append(a.marks, mark{n, now})
}

// sentAt is when packet n was sent.
func (a *account) sentAt(n uint32) time.Duration {
	i := sort.Search(len(a.marks), func(i int) bool { return a.marks[i].n > n })
	if i == 0 {
		return 0
	}
	return a.marks[i-1].at
}

// arrived enters one datagram.
func (a *account) arrived(payload []byte, now time.Duration) {
	h, err := traffic.DecodeHeader(payload)
	a.mu.Lock()
	defer a.mu.Unlock()
	if err != nil {
		a.corrupted++
		return
	}
	if h.Run != a.run {
		return
	}
	n, sent := h.Flow, time.Duration(h.Sent)
	word := int(n / 64)
	for len(a.seen) <= word {
		a.seen = append(a.seen, 0)
	}
	if bit := uint64(1) << (n % 64); a.seen[word]&bit != 0 {
		a.events = append(a.events, event{duplicated, sent})
		return
	}
	a.seen[word] |= 1 << (n % 64)
	a.recentlySent = max(a.recentlySent, sent)
	c, flow := classOf(n)
	switch c {
	case policed:
		a.events = append(a.events, event{unjudged, sent})
		return
	case switched:
		a.switched = max(a.switched, sent)
		return
	case fresh:
		for uint32(len(a.newest)) <= flow {
			a.newest = append(a.newest, 0)
		}
		position := uint8(n%cycle) + 1
		if position < a.newest[flow] {
			a.events = append(a.events, event{reordered, sent})
		}
		a.newest[flow] = max(a.newest[flow], position)
	case steady:
		if n < a.last[flow] {
			a.events = append(a.events, event{reordered, sent})
		}
		a.last[flow] = max(a.last[flow], n)
	}
	a.delivered++
	a.gap = max(a.gap, now-a.lastArrival)
	a.lastArrival = now
}

// reading is what a look at the account says.
type reading struct {
	delivered uint64
	recent    time.Duration // when the latest packet that arrived was sent
	gap       time.Duration // the longest time without an arrival since watchGap
}

func (a *account) read(now time.Duration) reading {
	a.mu.Lock()
	defer a.mu.Unlock()
	return reading{a.delivered, a.recentlySent, max(a.gap, now-a.lastArrival)}
}

// inForce says whether a configuration is, as far as packets tell that were sent after a time: policing drops what goes
// to portSwitched, of which there is one in each cycle.
func (a *account) inForce(policing bool, at, cycleTakes time.Duration) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	if !policing {
		return a.switched > at
	}
	// One packet may be away as it was lost.
	return a.recentlySent > max(at, a.switched)+max(4*cycleTakes, 50*time.Millisecond)
}

// watchGap begins to look for the longest time without an arrival.
func (a *account) watchGap() {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.gap = 0
}

// close adds what did not arrive of the first n packets, and returns all events in the order of their packets.
func (a *account) close(n uint32) []event {
	a.mu.Lock()
	defer a.mu.Unlock()
	for i := range n {
		word := int(i / 64)
		if wanted(i) && (word >= len(a.seen) || a.seen[word]&(1<<(i%64)) == 0) {
			a.events = append(a.events, event{lost, a.sentAt(i)})
		}
	}
	slices.SortStableFunc(a.events, func(x, y event) int { return int(x.sent - y.sent) })
	return a.events
}

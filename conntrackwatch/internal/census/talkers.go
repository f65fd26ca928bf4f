package census

import (
	"cmp"
	"net/netip"
	"slices"
)

// Talker is an address and the flows that it has begun.
type Talker struct {
	Address netip.Addr `json:"address"`
	Flows   uint64     `json:"flows"`
	// Overcount is how many of Flows may be those of others: an address that comes in when all places are taken
	// inherits the count of the one that it displaces. 0 means exact.
	Overcount uint64 `json:"overcount"`
	// Packets and Bytes are of flows that have ended while the address had its place, both directions; 0 unless
	// net.netfilter.nf_conntrack_acct is 1.
	Packets uint64 `json:"packets"`
	Bytes   uint64 `json:"bytes"`
}

// talkers finds the addresses that begin the most flows in bounded memory (Metwally et al., the space-saving
// algorithm): one that has begun more than a places-th of all flows is among them, whatever the others do.
type talkers struct {
	places int
	heap   []Talker // the smallest count first
	at     map[netip.Addr]int
}

func newTalkers(places int) *talkers {
	return &talkers{places: places, at: make(map[netip.Addr]int, places)}
}

// begin counts a flow.
func (t *talkers) begin(a netip.Addr) {
	i, ok := t.at[a]
	switch {
	case ok:
		t.heap[i].Flows++
		t.down(i)
	case len(t.heap) < t.places:
		t.heap = append(t.heap, Talker{Address: a, Flows: 1})
		t.at[a] = len(t.heap) - 1
		t.up(len(t.heap) - 1)
	default:
		least := t.heap[0]
		delete(t.at, least.Address)
		t.heap[0] = Talker{Address: a, Flows: least.Flows + 1, Overcount: least.Flows}
		t.at[a] = 0
		t.down(0)
	}
}

// end adds what a flow has carried.
func (t *talkers) end(a netip.Addr, packets, bytes uint64) {
	if i, ok := t.at[a]; ok {
		t.heap[i].Packets += packets
		t.heap[i].Bytes += bytes
	}
}

// top returns the first n, the largest count first.
func (t *talkers) top(n int) []Talker {
	all := slices.Clone(t.heap)
	slices.SortFunc(all, func(a, b Talker) int {
		return cmp.Or(cmp.Compare(b.Flows, a.Flows), cmp.Compare(a.Overcount, b.Overcount), a.Address.Compare(b.Address))
	})
	return all[:min(n, len(all))]
}

func (t *talkers) up(i int) {
	for i > 0 {
		parent := (i - 1) / 2
		if t.heap[parent].Flows <= t.heap[i].Flows {
			return
		}
		t.swap(i, parent)
		i = parent
	}
}

func (t *talkers) down(i int) {
	for {
		least := i
		for child := 2*i + 1; child <= 2*i+2 && child < len(t.heap); child++ {
			if t.heap[child].Flows < t.heap[least].Flows {
				least = child
			}
		}
		if least == i {
			return
		}
		t.swap(i, least)
		i = least
	}
}

func (t *talkers) swap(i, j int) {
	t.heap[i], t.heap[j] = t.heap[j], t.heap[i]
	t.at[t.heap[i].Address], t.at[t.heap[j].Address] = i, j
}

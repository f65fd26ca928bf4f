package traffic

import (
	"math/rand/v2"
	"net/netip"
)

// Ports below 1024 may need a privilege and are left to services.
const (
	firstPort = 1024
	lastPort  = 65535
)

// PortOrder is the order in which source ports are used.
type PortOrder string

const (
	PortsShuffled   PortOrder = "shuffled"   // a permutation drawn from the seed: spreads over hash buckets as real clients do
	PortsSequential PortOrder = "sequential" // ascending: easy to follow in a capture
)

// portsPerSource is how many flows one source address gives: every port but the target's own, which on one host
// may be the receiver's.
func portsPerSource(target uint16) int {
	n := lastPort - firstPort + 1
	if target >= firstPort {
		n--
	}
	return n
}

// tuples yields each (source address, source port) once. Consecutive flows cycle over the addresses.
type tuples struct {
	sources []netip.Addr
	ports   []uint16
	next    int
}

func newTuples(sources []netip.Addr, target uint16, order PortOrder, seed uint64) *tuples {
	ports := make([]uint16, 0, portsPerSource(target))
	for p := firstPort; p <= lastPort; p++ {
		if p != int(target) {
			ports = append(ports, uint16(p))
		}
	}
	if order == PortsShuffled {
		rand.New(rand.NewPCG(seed, 0)).Shuffle(len(ports), func(i, j int) { ports[i], ports[j] = ports[j], ports[i] })
	}
	return &tuples{sources: sources, ports: ports}
}

// take returns the next unused pair; false when all are used up.
func (t *tuples) take() (netip.AddrPort, bool) {
	port := t.next / len(t.sources)
	if port == len(t.ports) {
		return netip.AddrPort{}, false
	}
	ap := netip.AddrPortFrom(t.sources[t.next%len(t.sources)], t.ports[port])
	t.next++
	return ap, true
}

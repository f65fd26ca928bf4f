package config

import (
	"fmt"
	"slices"
	"strconv"

	"golang.org/x/sys/unix"
)

// named is a setting with a fixed set of values.
type named interface{ values() []string }

// outdated is a setting with values that were, and what took their place.
type outdated interface{ gone() map[string]string }

// Backend receives packets and sends verdicts.
type Backend string

// Batches on a netlink socket, and the go-nfqueue library for comparison.
const (
	BackendMMsg      Backend = "mmsg"
	BackendGoNFQueue Backend = "gonfqueue"
)

func (Backend) values() []string { return names(BackendMMsg, BackendGoNFQueue) }

// GuardMode is what the guard does with the further packets of a flow whose first is
// on its way to conntrack's table.
type GuardMode string

// Choose; hold them until the first is there; drop them; nothing.
const (
	// GuardAuto is hold where a queue is exposed; the daemon says which mode it chose,
	// and why.
	GuardAuto GuardMode = "auto"
	GuardHold GuardMode = "hold"
	GuardDrop GuardMode = "drop"
	GuardOff  GuardMode = "off"
)

func (GuardMode) values() []string { return names(GuardAuto, GuardHold, GuardDrop, GuardOff) }

func (GuardMode) gone() map[string]string {
	return map[string]string{
		"reinject": "further packets are no longer sent once more but held until their flow's first is confirmed: write hold",
	}
}

// Placement is where packets are queued.
type Placement string

// Seen from conntrack: none at all, before it, without it, and after it.
const (
	PlacementNone         Placement = "none"
	PlacementPreConntrack Placement = "pre-conntrack"
	PlacementNotrack      Placement = "notrack"
	PlacementOutput       Placement = "output"
	PlacementPostrouting  Placement = "postrouting"
	PlacementInput        Placement = "input"
	PlacementForward      Placement = "forward"
	PlacementVerdict3     Placement = "verdict3"
)

func (Placement) values() []string {
	return names(PlacementNone, PlacementPreConntrack, PlacementNotrack, PlacementOutput,
		PlacementPostrouting, PlacementInput, PlacementForward, PlacementVerdict3)
}

// Fanout spreads packets over the queues.
type Fanout string

// By addresses, CPU, addresses and ports, or in turn.
const (
	FanoutBalance Fanout = "balance"
	FanoutCPU     Fanout = "cpu"
	FanoutPorts   Fanout = "ports"
	FanoutNumgen  Fanout = "numgen"
)

func (Fanout) values() []string { return names(FanoutBalance, FanoutCPU, FanoutPorts, FanoutNumgen) }

// Family is a version of IP.
type Family string

// Both that there are.
const (
	IPv4 Family = "ipv4"
	IPv6 Family = "ipv6"
)

func (Family) values() []string { return names(IPv4, IPv6) }

// Distribution is how the analysis delay is drawn.
type Distribution string

// None, always the same, evenly spread, and with a long tail.
const (
	DistributionNone      Distribution = "none"
	DistributionFixed     Distribution = "fixed"
	DistributionUniform   Distribution = "uniform"
	DistributionLogNormal Distribution = "lognormal"
)

func (Distribution) values() []string {
	return names(DistributionNone, DistributionFixed, DistributionUniform, DistributionLogNormal)
}

// Per is what one analysis delay stands for.
type Per string

// Each packet, or the first one of a flow.
const (
	PerPacket Per = "packet"
	PerFlow   Per = "flow"
)

func (Per) values() []string { return names(PerPacket, PerFlow) }

func names[T ~string](values ...T) (list []string) {
	for _, v := range values {
		list = append(list, string(v))
	}
	return list
}

// Protocol is an upper-layer protocol number; the file may use a name.
type Protocol uint8

var protocolNames = []struct {
	name   string
	number Protocol
}{
	{"udp", unix.IPPROTO_UDP},
	{"tcp", unix.IPPROTO_TCP},
	{"icmp", unix.IPPROTO_ICMP},
	{"icmpv6", unix.IPPROTO_ICMPV6},
	{"udplite", unix.IPPROTO_UDPLITE},
}

func (p Protocol) String() string {
	for _, known := range protocolNames {
		if p == known.number {
			return known.name
		}
	}
	return strconv.Itoa(int(p))
}

// MarshalText gives the name, or the number where there is no name.
func (p Protocol) MarshalText() ([]byte, error) { return []byte(p.String()), nil }

// UnmarshalText reads what MarshalText gives.
func (p *Protocol) UnmarshalText(text []byte) error {
	for _, known := range protocolNames {
		if string(text) == known.name {
			*p = known.number
			return nil
		}
	}
	n, err := strconv.ParseUint(string(text), 10, 8)
	if err != nil {
		return fmt.Errorf("%q is no protocol: use udp, tcp, icmp, icmpv6, udplite or a number from 0 to 255", text)
	}
	*p = Protocol(n)
	return nil
}

// Numbers are the protocols as the rule set and the policy take them.
func Numbers(list []Protocol) (numbers []uint8) {
	for _, p := range list {
		numbers = append(numbers, uint8(p))
	}
	return numbers
}

// nearest is the candidate with the fewest edits to get there from word.
func nearest(word string, candidates []string) string {
	return slices.MinFunc(candidates, func(a, b string) int { return distance(word, a) - distance(word, b) })
}

// distance is Levenshtein's.
func distance(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			cost := 1
			if a[i] == b[j] {
				cost = 0
			}
			diagonal, row[j+1] = row[j+1], min(row[j]+1, row[j+1]+1, diagonal+cost)
		}
	}
	return row[len(b)]
}

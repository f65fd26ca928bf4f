package ruleset

import (
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"

	"golang.org/x/sys/unix"
)

// Config says which packets go to which queues, and where on their way.
type Config struct {
	Table     string
	Placement Placement
	Fanout    Fanout

	// The packets go to the queues FirstQueue to FirstQueue+Queues-1.
	FirstQueue, Queues uint16

	// Entries, if set, sends packets that have a conntrack entry to other queues,
	// which tell how it stands with it. The rules for that keep connection tracking
	// active.
	Entries *Entries

	// Bypass lets packets pass while no program listens on their queue.
	// Without it they are dropped.
	Bypass bool

	// Packets whose mark has one of these bits are let through before the
	// queue: they were sent by the guard. 0: no such packets.
	Mark uint32

	// Address families; at least one.
	IPv4, IPv6 bool

	// Protocols by IP protocol number; none: all of them.
	Protocols []uint8

	// A packet is queued if its port is in either list, and whatever its ports
	// if both are empty.
	DestinationPorts, SourcePorts []uint16
}

// Entries are added to the numbers of the queues: there go packets whose
// conntrack entry is confirmed, is not, or is not and has had its destination
// rewritten.
type Entries struct {
	Confirmed, Unconfirmed, Translated uint16
}

func (e *Entries) list() []uint16 {
	if e == nil {
		return nil
	}
	return []uint16{e.Confirmed, e.Unconfirmed, e.Translated}
}

// Fanout is how packets are spread over several queues.
type Fanout string

// The fan-outs.
const (
	// FanoutBalance hashes the two addresses and, in IPv4, the protocol; the
	// two directions of a flow share a queue.
	FanoutBalance Fanout = "balance"

	// FanoutCPU takes the queue of the CPU that the packet is on: without cost,
	// but one flow may reach two queues.
	FanoutCPU Fanout = "cpu"

	// FanoutPorts hashes addresses and ports, so that the flows between two
	// hosts are spread. The two directions of a flow have different queues.
	FanoutPorts Fanout = "ports"

	// FanoutNumgen takes the queues in turn. Each flow reaches all of them.
	FanoutNumgen Fanout = "numgen"
)

var fanouts = []Fanout{FanoutBalance, FanoutCPU, FanoutPorts, FanoutNumgen}

// ParseFanout checks a fan-out's name.
func ParseFanout(name string) (Fanout, error) {
	return parse("fan-out", Fanout(name), fanouts)
}

// parse finds a name in the list of those there are.
func parse[T ~string](what string, name T, known []T) (T, error) {
	if slices.Contains(known, name) {
		return name, nil
	}
	names := make([]string, len(known))
	for i, k := range known {
		names[i] = string(k)
	}
	return "", fmt.Errorf("unknown %s %q: use one of %s", what, name, strings.Join(names, ", "))
}

// portProtocols are those whose header begins with source and destination port.
var portProtocols = []uint8{
	unix.IPPROTO_TCP, unix.IPPROTO_UDP, unix.IPPROTO_DCCP, unix.IPPROTO_SCTP, unix.IPPROTO_UDPLITE,
}

const (
	// maxFannedOut bounds the queues of fan-outs that need a chain for each:
	// the elements of the map to them must fit one netlink attribute (64 KiB).
	maxFannedOut = 256

	// maxTableName is NFT_TABLE_MAXNAMELEN, less the zero byte, of kernels
	// before 4.14 (e46abbcc05aa).
	maxTableName = 31
)

// tableName is what nft accepts as a name without quotes.
var tableName = regexp.MustCompile(`^[a-zA-Z_.][a-zA-Z0-9/_.-]*$`)

// validate finds every problem of the configuration.
func (c Config) validate() error {
	var problems []error
	problem := func(format string, args ...any) {
		problems = append(problems, fmt.Errorf(format, args...))
	}
	if !tableName.MatchString(c.Table) || len(c.Table) > maxTableName {
		problem("table name %q: use up to %d letters, digits and _ . / -, a letter first", c.Table, maxTableName)
	}
	if _, err := ParsePlacement(string(c.Placement)); err != nil {
		problems = append(problems, err)
	}
	if _, err := ParseFanout(string(c.Fanout)); err != nil {
		problems = append(problems, err)
	}
	if c.Queues == 0 {
		problem("no queues: use at least 1")
	}
	if last := int(c.FirstQueue) + int(c.Queues) - 1; last > 0xffff {
		problem("queues %d to %d: the last queue number is 65535", c.FirstQueue, last)
	}
	taken := []uint16{0}
	for _, offset := range c.Entries.list() {
		if last := int(c.FirstQueue) + int(offset) + int(c.Queues) - 1; last > 0xffff {
			problem("queues up to %d for what is known of entries: the last queue number is 65535", last)
		}
		if slices.ContainsFunc(taken, func(o uint16) bool { return max(o, offset)-min(o, offset) < c.Queues }) {
			problem("%d queues from +%d on for what is known of entries overlap with others", c.Queues, offset)
		}
		taken = append(taken, offset)
	}
	if c.Entries != nil && !c.Placement.tracked() {
		problem("placement %s queues no packets with conntrack entries: do not tell them apart", c.Placement)
	}
	if c.chainPerQueue() && c.Queues > maxFannedOut {
		problem("%d queues with fan-out %s: use at most %d, or fan-out %s", c.Queues, c.Fanout, maxFannedOut, FanoutBalance)
	}
	if !c.IPv4 && !c.IPv6 {
		problem("no address family: use IPv4, IPv6 or both")
	}
	if len(c.DestinationPorts)+len(c.SourcePorts) > 0 {
		if len(c.Protocols) == 0 {
			problem("ports without protocols: name the protocols that they belong to")
		}
		for _, p := range c.Protocols {
			if !slices.Contains(portProtocols, p) {
				problem("ports with IP protocol %d, which has none: leave one of the two out", p)
			}
		}
	}
	return errors.Join(problems...)
}

// chainPerQueue tells fan-outs that a map to one chain for each queue does.
func (c Config) chainPerQueue() bool {
	return c.Queues > 1 && (c.Fanout == FanoutPorts || c.Fanout == FanoutNumgen)
}

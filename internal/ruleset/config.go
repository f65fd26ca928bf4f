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

	// Detached leaves the base chains of the placement empty until Attach.
	Detached bool

	// Bypass lets packets pass while no program listens on their queue.
	// Without it they are dropped.
	Bypass bool

	// Address families; at least one.
	IPv4, IPv6 bool

	// Protocols by IP protocol number; none: all of them.
	Protocols []uint8

	// A packet is queued if its port is in either list, and whatever its ports
	// if both are empty.
	DestinationPorts, SourcePorts []uint16

	// Gate, if set, adds its chains. With PlacementNone they are all there is in the
	// table, and of the fields above only Table counts.
	Gate *Gate
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
	maxQueueNumber = 0xffff

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
	if !tableName.MatchString(c.Table) || len(c.Table) > maxTableName {
		problems = append(problems, fmt.Errorf("table name %q: use up to %d letters, digits and _ . / -, a letter first", c.Table, maxTableName))
	}
	if _, err := ParsePlacement(string(c.Placement)); err != nil {
		problems = append(problems, err)
	}
	if c.Placement != PlacementNone {
		problems = append(problems, c.queueProblems()...)
		problems = append(problems, c.selectionProblems()...)
	}
	if c.Gate != nil {
		problems = append(problems, c.Gate.problems()...)
		last := int(c.FirstQueue) + int(c.Queues) - 1
		if c.Placement != PlacementNone && int(c.Gate.FirstQueue) <= last && int(c.FirstQueue) <= c.Gate.last() {
			problems = append(problems, fmt.Errorf("the gate's queues %d to %d overlap the queues %d to %d: move one of them", c.Gate.FirstQueue, c.Gate.last(), c.FirstQueue, last))
		}
	}
	return errors.Join(problems...)
}

// queueProblems are those of the queues and of the fan-out over them.
func (c Config) queueProblems() (problems []error) {
	if _, err := ParseFanout(string(c.Fanout)); err != nil {
		problems = append(problems, err)
	}
	if c.Queues == 0 {
		problems = append(problems, errors.New("no queues: use at least 1"))
	}
	if last := int(c.FirstQueue) + int(c.Queues) - 1; last > maxQueueNumber {
		problems = append(problems, fmt.Errorf("queues %d to %d: the last queue number is %d", c.FirstQueue, last, maxQueueNumber))
	}
	if c.chainPerQueue() && c.Queues > maxFannedOut {
		problems = append(problems, fmt.Errorf("%d queues with fan-out %s: use at most %d, or fan-out %s", c.Queues, c.Fanout, maxFannedOut, FanoutBalance))
	}
	return problems
}

// selectionProblems are those of what is queued.
func (c Config) selectionProblems() (problems []error) {
	if !c.IPv4 && !c.IPv6 {
		problems = append(problems, errors.New("no address family: use IPv4, IPv6 or both"))
	}
	if len(c.DestinationPorts)+len(c.SourcePorts) == 0 {
		return problems
	}
	if len(c.Protocols) == 0 {
		problems = append(problems, errors.New("ports without protocols: name the protocols that they belong to"))
	}
	for _, p := range c.Protocols {
		if !slices.Contains(portProtocols, p) {
			problems = append(problems, fmt.Errorf("ports with IP protocol %d, which has none: leave one of the two out", p))
		}
	}
	return problems
}

// chainPerQueue tells fan-outs that a map to one chain for each queue does.
func (c Config) chainPerQueue() bool {
	return c.Queues > 1 && (c.Fanout == FanoutPorts || c.Fanout == FanoutNumgen)
}

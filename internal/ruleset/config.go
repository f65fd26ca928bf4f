package ruleset

import (
	"errors"
	"fmt"
	"slices"

	"verdictd/internal/vocabulary"
)

// Config says which packets go to which queues, and where on their way.
type Config struct {
	Table     string
	Placement vocabulary.Placement
	Fanout    vocabulary.Fanout

	// The packets go to the queues FirstQueue to FirstQueue+Queues-1.
	FirstQueue, Queues uint16

	// Also queues the packets at this placement too, while one takes the place of the
	// other; empty: it does not.
	Also vocabulary.Placement

	// Detached leaves the base chains of the placement empty, GateDetached those of the
	// gate. What they jump to stays.
	Detached, GateDetached bool

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

	// Verdicts, if set, has the rules carry out verdicts that come in marks.
	Verdicts *Verdicts

	// Gate, if set, adds its chains. With PlacementNone they are all there is in the
	// table, and of the fields above only Table counts.
	Gate *Gate
}

// validate finds every problem of the configuration.
func (c Config) validate() error {
	var problems []error
	if err := vocabulary.CheckTableName(c.Table); err != nil {
		problems = append(problems, err)
	}
	if err := vocabulary.Check("placement", c.Placement); err != nil {
		problems = append(problems, err)
	}
	if c.Placement != vocabulary.PlacementNone {
		problems = append(problems, c.queueProblems()...)
		problems = append(problems, c.selectionProblems()...)
		if c.Verdicts != nil {
			problems = append(problems, c.Verdicts.problems(c.Placement)...)
		}
	}
	if c.Gate != nil {
		problems = append(problems, c.Gate.problems()...)
		last := int(c.FirstQueue) + int(c.Queues) - 1
		if c.Placement != vocabulary.PlacementNone && int(c.Gate.FirstQueue) <= last && int(c.FirstQueue) <= c.Gate.last() {
			problems = append(problems, fmt.Errorf("the gate's queues %d to %d overlap the queues %d to %d: move one of them", c.Gate.FirstQueue, c.Gate.last(), c.FirstQueue, last))
		}
	}
	return errors.Join(problems...)
}

// queueProblems are those of the queues and of the fan-out over them.
func (c Config) queueProblems() (problems []error) {
	if err := vocabulary.Check("fan-out", c.Fanout); err != nil {
		problems = append(problems, err)
	}
	if c.Queues == 0 {
		problems = append(problems, errors.New("no queues: use at least 1"))
	}
	if last := int(c.FirstQueue) + int(c.Queues) - 1; last > vocabulary.MaxQueue {
		problems = append(problems, fmt.Errorf("queues %d to %d: the last queue number is %d", c.FirstQueue, last, vocabulary.MaxQueue))
	}
	if most := c.Fanout.MaxQueues(); int(c.Queues) > most {
		problems = append(problems, fmt.Errorf("%d queues with fan-out %s: use at most %d, or fan-out %s", c.Queues, c.Fanout, most, vocabulary.FanoutBalance))
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
		if !vocabulary.HasPorts(p) {
			problems = append(problems, fmt.Errorf("ports with IP protocol %d, which has none: leave one of the two out", p))
		}
	}
	return problems
}

// SelectsAs reports whether both queue the same packets at the same place.
func (c *Config) SelectsAs(o *Config) bool {
	return c.Placement == o.Placement && c.IPv4 == o.IPv4 && c.IPv6 == o.IPv6 && slices.Equal(c.Protocols, o.Protocols) &&
		slices.Equal(c.DestinationPorts, o.DestinationPorts) && slices.Equal(c.SourcePorts, o.SourcePorts)
}

// chainPerQueue tells fan-outs that a map to one chain for each queue does.
func (c Config) chainPerQueue() bool {
	return c.Queues > 1 && c.Fanout.ChainPerQueue()
}

package main

import (
	"fmt"
	"os"
	"strconv"
	"time"

	"verdictd/internal/config"
	"verdictd/internal/netlab"
	"verdictd/internal/report"
	"verdictd/internal/ruleset"
	"verdictd/internal/vocabulary"
)

// A foreign is a program that knows nothing of verdictd, in its place: the lab installs the queue rules, and verdictd guard
// stands before them or not.
type foreign struct {
	program   string // of report's names
	reference string // the C program, for that one
	queues    int
	maxLength int
	delay     time.Duration // over each packet
	cpus      []int
}

// start starts the program in a namespace and waits until it has bound its queues: 0 and on, with a process or a thread for
// each.
// The process is the first of them.
func (f *foreign) start(g *group, ns *netlab.NetNS) (first *process, err error) {
	common := []string{"--max-length", strconv.Itoa(f.maxLength), "--delay", strconv.Itoa(int(f.delay.Microseconds()))}
	if f.program == report.ProgramGo {
		lab, err := os.Executable()
		if err != nil {
			return nil, fmt.Errorf("find the lab's own executable, which is that program: %w", err)
		}
		return g.startService(ns, lab, append([]string{"reference", "--queues", strconv.Itoa(f.queues)}, common...)...)
	}
	for i := range f.queues {
		args := append([]string{"--queue", strconv.Itoa(i)}, common...)
		if i < len(f.cpus) {
			args = append(args, "--cpu", strconv.Itoa(f.cpus[i]))
		}
		p, err := g.startService(ns, f.reference, args...)
		if err != nil {
			return nil, err
		}
		if first == nil {
			first = p
		}
	}
	return first, nil
}

// foreignTable is the nftables table of rules that feed another program.
const foreignTable = "foreign"

// queueRules feed a program's queues as verdictd's own configuration would.
func queueRules(ns *netlab.NetNS, c *config.Config) error {
	r := ruleset.Config{
		Table: foreignTable, Placement: vocabulary.Placement(c.Rules.Placement), Fanout: vocabulary.Fanout(c.Rules.Fanout),
		FirstQueue: c.Queues.First, Queues: uint16(c.Queues.Count), Bypass: true,
		DestinationPorts: c.Rules.DestinationPorts, SourcePorts: c.Rules.SourcePorts,
	}
	for _, f := range c.Rules.Families {
		r.IPv4, r.IPv6 = r.IPv4 || f == vocabulary.IPv4, r.IPv6 || f == vocabulary.IPv6
	}
	for _, p := range c.Rules.Protocols {
		r.Protocols = append(r.Protocols, uint8(p))
	}
	return ns.Do(func() error {
		_, err := ruleset.Install(r)
		return err // the rules go with the namespace
	})
}

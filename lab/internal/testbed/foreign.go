package testbed

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

// A Foreign is a program that knows nothing of verdictd, in its place: the lab installs the queue rules, and verdictd
// guard stands before them or not.
type Foreign struct {
	Program   string // of report's names
	Reference string // the C program, for that one
	Queues    int
	MaxLength int
	// receiveBuffer is in bytes; 0: what the program chooses.
	ReceiveBuffer int
	CopyRange     int           // bytes of each packet that the C programs have copied; 0: all
	Delay         time.Duration // over each packet; Suricata takes what it takes
	CPUs          []int
}

// start starts the program in a namespace and waits until it has bound its queues: 0 and on, with a process or a
// thread for each.
func (f *Foreign) start(g *Group, ns *netlab.NetNS) (processes []*Process, err error) {
	common := []string{"--max-length", strconv.Itoa(f.MaxLength)}
	if f.Delay > 0 {
		common = append(common, "--delay", strconv.Itoa(int(f.Delay.Microseconds())))
	}
	switch f.Program {
	case report.ProgramSuricata:
		p, err := f.startSuricata(g, ns)
		return []*Process{p}, err
	case report.ProgramGo:
		lab, err := os.Executable()
		if err != nil {
			return nil, fmt.Errorf("find the lab's own executable, which is that program: %w", err)
		}
		p, err := g.StartService(ns, lab,
			append([]string{"reference", "--queues", strconv.Itoa(f.Queues)}, common...)...)
		return []*Process{p}, err
	}
	for i := range f.Queues {
		args := append([]string{"--queue", strconv.Itoa(i)}, common...)
		if f.ReceiveBuffer > 0 {
			args = append(args, "--receive-buffer", strconv.Itoa(f.ReceiveBuffer))
		}
		if f.CopyRange > 0 {
			args = append(args, "--copy-range", strconv.Itoa(f.CopyRange))
		}
		if i < len(f.CPUs) {
			args = append(args, "--cpu", strconv.Itoa(f.CPUs[i]))
		}
		p, err := g.StartService(ns, f.Reference, args...)
		if err != nil {
			return nil, err
		}
		processes = append(processes, p)
	}
	return processes, nil
}

// StartBehindGuard starts the program, the rules that feed it as a daemon's configuration says, and verdictd guard
// before it: nil where that says that there is none.
func (f *Foreign) StartBehindGuard(g *Group, ns *netlab.NetNS, verdictd string, c *config.Config) (
	programs []*Process, guard *Process, err error) {
	if programs, err = f.start(g, ns); err != nil {
		return programs, nil, err
	}
	if err := QueueRules(ns, c); err != nil || c.Guard.Mode == vocabulary.GuardOff {
		return programs, nil, err
	}
	guard, err = g.startGuard(ns, verdictd, c)
	return programs, guard, err
}

// foreignTable is the nftables table of rules that feed another program.
const foreignTable = "foreign"

// QueueRules feed a program's queues as verdictd's own configuration would.
func QueueRules(ns *netlab.NetNS, c *config.Config) error {
	r := ruleset.Config{
		Table: foreignTable, Placement: c.Rules.Placement, Fanout: c.Rules.Fanout,
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

package queue

import (
	"bytes"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"

	"golang.org/x/sys/unix"

	"verdictd/internal/config"
	"verdictd/internal/netlab"
	"verdictd/internal/nfq"
	"verdictd/internal/report"
	"verdictd/internal/vocabulary"
	"verdictd/lab/internal/bench"
	"verdictd/lab/internal/testbed"
)

// A loadCase is what the packets are.
type loadCase string

const (
	caseSettled loadCase = ""       // of a few flows that are confirmed, and listed where there is a gate
	caseBurst   loadCase = "burst"  // bursts of new flows
	caseNew     loadCase = "new"    // new flows of one packet
	caseMany    loadCase = "many"   // of many flows in turn
	caseAnswer  loadCase = "answer" // new flows of one packet and its answer
)

// burstOf is how many packets a new flow has.
func (c loadCase) burstOf() int {
	if c == caseBurst {
		return 4
	}
	return 1
}

// A variant is a program that accepts all, with or without a guard, in one of the cases.
type variant struct {
	load    loadCase
	at      conditions
	base    string
	program program
	guard   vocabulary.GuardMode
	// taskset pins the whole process from outside. verdictd pins the threads of its own backend; the library receives
	// on any thread, and runs as its users run it, and once confined to one CPU for comparison.
	taskset bool
	// rules is how many rules verdictd has, none of which matches. metrics has it serve /metrics.
	rules   int
	metrics bool
	// prefixes is in how many verdictd looks each packet's source up, none of which has it.
	prefixes int
	// flow has verdicts be for flows, so that the kernel lets go what comes after the first packet.
	flow bool
	// failOpen has the kernel accept what finds verdictd's queue full.
	failOpen bool
}

// A program is what judges.
type program uint8

const (
	mmsg      program = iota // verdictd
	gonfqueue                // verdictd with that backend
	library                  // the C program on libnetfilter_queue
	floor                    // the C program that does the least
	plainGo                  // a loop on go-nfqueue as its users write it, which is the lab itself
	nothing                  // no program, and no rules that queue
)

func (p program) isVerdictd() bool { return p == mmsg || p == gonfqueue }

func (v *variant) name() string {
	switch {
	case v.base == "":
		return v.at.name
	case v.at.name != "":
		return v.at.name + ":" + v.base
	case v.load != caseSettled:
		return string(v.load) + ":" + v.base
	}
	return v.base
}

// The guards of variants.
const (
	guardOff  = vocabulary.GuardMode(report.GuardOff)
	guardHold = vocabulary.GuardMode(report.GuardHold)
)

// floorVariant is the C program that does the least.
const floorVariant = "floor"

// variants are what is compared, in the order in which each round measures them: a guarded one behind its floor.
var variants = []variant{
	{base: floorVariant, program: floor, guard: guardOff},
	{base: "mmsg", guard: guardOff},
	{base: "mmsg+hold", guard: guardHold},
	{base: "mmsg+hold+metrics", guard: guardHold, metrics: true},
	{base: "mmsg+hold+100 rules", guard: guardHold, rules: 100, metrics: true},
	{base: "mmsg+hold+1000 rules", guard: guardHold, rules: 1000, metrics: true},
	{base: "mmsg+hold+million", guard: guardHold, prefixes: 1_000_000, metrics: true},
	{base: "mmsg+hold+flow", guard: guardHold, flow: true, metrics: true},
	{base: "gonfqueue", program: gonfqueue, guard: guardOff},
	{base: "gonfqueue+hold", program: gonfqueue, guard: guardHold},
	{base: "gonfqueue, one CPU", program: gonfqueue, guard: guardOff, taskset: true},
	{base: "go", program: plainGo, guard: guardOff, taskset: true},
	{base: "c", program: library, guard: guardOff},
	{base: "c+hold", program: library, guard: guardHold},
	{load: caseNew, base: "floor", program: floor, guard: guardOff},
	{load: caseNew, base: "mmsg", guard: guardOff},
	{load: caseNew, base: "mmsg+hold", guard: guardHold},
	{load: caseBurst, base: "floor", program: floor, guard: guardOff},
	{load: caseBurst, base: "mmsg", guard: guardOff},
	{load: caseBurst, base: "mmsg+hold", guard: guardHold},
	{load: caseAnswer, base: "mmsg", guard: guardOff},
	{load: caseAnswer, base: "mmsg+hold", guard: guardHold},
}

func (v *variant) guarded() bool { return v.guard != guardOff }

// A bench starts variants.
type comparison struct {
	testbed.Programs
	reference string // the C program on libnetfilter_queue; the floor is beside it
	window    int
	payload   int
	packets   int
	fresh     int   // packets of new flows
	queues    int   // 0: one
	copied    int   // bytes of each packet that programs get; 0: as each does by itself
	cpus      []int // the load's first
	variants  []variant
}

func (b *comparison) loadCPU() int { return b.cpus[0] }

func (b *comparison) daemonCPU() int { return b.pins(1)[0] }

// floorName is what make calls the floor.
const floorName = "nfq_floor"

// binary is where a C program is.
func (b *comparison) binary(p program) string {
	if p == floor && b.reference != "" {
		return filepath.Join(filepath.Dir(b.reference), floorName)
	}
	return b.reference
}

// canRun says why a variant cannot be measured on this machine.
func (b *comparison) canRun(v *variant) error {
	if v.load == caseMany && v.at.placement != vocabulary.PlacementNotrack {
		if err := conntrackTakes(v.at.flows); err != nil {
			return err
		}
	}
	if v.program.isVerdictd() || v.program == nothing || v.program == plainGo {
		return nil
	}
	if b.reference == "" {
		return errors.New("no --reference given; make bench builds it and gives it")
	}
	if _, err := exec.LookPath(b.binary(v.program)); err != nil {
		return fmt.Errorf("%w; make bench builds it where there are cc and libnetfilter_queue (Debian: "+
			"libnetfilter-queue-dev)", err)
	}
	return nil
}

// start starts a variant in a namespace and waits until it judges. All of its processes' time counts; the last one
// writes the statistics, but for a C program without a guard.
func (b *comparison) start(v *variant, g *testbed.Group, ns *netlab.NetNS, statistics string) ([]*testbed.Process,
	error) {
	c, err := b.configure(v, statistics)
	if err != nil {
		return nil, err
	}
	switch v.program {
	case nothing:
		return nil, nil
	case library, floor, plainGo:
		processes, err := b.startReference(v.program, g, ns, c)
		if err != nil || !v.taskset {
			return processes, err
		}
		return processes, bench.PinProcess(processes[0].Cmd.Process.Pid, b.daemonCPU())
	case gonfqueue:
		c.Backend = vocabulary.BackendGoNFQueue
	case mmsg:
		c.Backend = vocabulary.BackendMmsg
	}
	p, err := g.StartDaemon(ns, b.Verdictd, c)
	if err != nil || !v.taskset {
		return []*testbed.Process{p}, err
	}
	return []*testbed.Process{p}, bench.PinProcess(p.Cmd.Process.Pid, b.daemonCPU())
}

func (b *comparison) startReference(p program, g *testbed.Group, ns *netlab.NetNS, c *config.Config) (
	[]*testbed.Process, error) {
	f := testbed.Foreign{
		Program: report.ProgramLibrary, Reference: b.binary(p), Queues: c.Queues.Count,
		MaxLength: int(c.Queues.MaxLength), ReceiveBuffer: c.Queues.ReceiveBuffer,
		CopyRange: int(max(c.Queues.CopyRange, 0)), // others know no auto
	}
	for i := range c.Queues.Count {
		f.CPUs = append(f.CPUs, c.Queues.Pin[i%len(c.Queues.Pin)])
	}
	if p == plainGo {
		f.Program = report.ProgramGo
	}
	programs, guard, err := f.StartBehindGuard(g, ns, b.Verdictd, c)
	if guard != nil {
		programs = append(programs, guard)
	}
	return programs, err
}

// configure is a variant's configuration; for other programs, that of their rules and their guard.
func (b *comparison) configure(v *variant, statistics string) (*config.Config, error) {
	at, c := b.under(v), config.Default()
	c.Guard.Mode = v.guard
	if at.gateFlows > 0 {
		c.Guard.Flows, c.Guard.SettledSize = at.gateFlows, uint32(2*at.gateFlows)
	}
	q := &c.Queues
	q.First, q.Count, q.Pin, q.MaxLength = 0, at.queues, b.pins(at.queues), uint32(at.maxLength())
	if at.copied > 0 {
		q.CopyRange = config.CopyRange(at.copied)
	}
	q.FailOpen = v.failOpen
	q.ReceiveBuffer = at.receiveBuffer(q.ReceiveBuffer)
	q.ReceiveBufferMax = max(q.ReceiveBufferMax, q.ReceiveBuffer)
	c.Rules.Placement, c.Rules.Fanout = at.placement, vocabulary.FanoutBalance
	c.Rules.Families, c.Rules.DestinationPorts = []vocabulary.Family{vocabulary.Family(at.family)}, []uint16{testbed.Port}
	c.Statistics.File = statistics
	c.Policy.Rules, c.Policy.Flow = missingRules(v.rules), v.flow
	if v.prefixes > 0 {
		file := filepath.Join(filepath.Dir(statistics), "prefixes")
		if err := writePrefixes(file, v.prefixes); err != nil {
			return nil, err
		}
		c.Policy.Sets = []config.Set{{Name: "prefixes", Type: vocabulary.SetPrefixes, File: file}}
		c.Policy.Rules = append(c.Policy.Rules, config.Rule{
			Name: "prefixes", Action: vocabulary.Drop,
			Match: config.Match{Source: []config.Prefix{{Set: "prefixes"}}},
		})
	}
	if v.metrics {
		c.Metrics.Listen = "127.0.0.1:0"
	}
	return c, nil
}

// writePrefixes writes n networks, of which the load has none.
func writePrefixes(file string, n int) error {
	var text bytes.Buffer
	for i := range n {
		fmt.Fprintf(&text, "%d.%d.%d.0/24\n", 11+i>>16, i>>8&255, i&255)
	}
	if err := os.WriteFile(file, text.Bytes(), 0o600); err != nil {
		return fmt.Errorf("write the set of prefixes: %w", err)
	}
	return nil
}

// missingRules are n rules as gateways have them, each for a network, a port, or both, which no packet of the load
// matches.
func missingRules(n int) []config.Rule {
	rules := make([]config.Rule, n)
	for i := range rules {
		r := &rules[i]
		r.Name, r.Action = fmt.Sprintf("rule %d", i), vocabulary.Drop
		prefix := netip.PrefixFrom(netip.AddrFrom4([4]byte{203, 0, 113, byte(i)}), 32-i%4).Masked()
		port := vocabulary.Ports(uint16(10000+4*i), uint16(10000+4*i+i%4))
		switch i % 3 {
		case 0:
			r.Source = []config.Prefix{{Prefix: prefix}}
		case 1:
			r.Protocols, r.DestinationPorts = []vocabulary.Protocol{unix.IPPROTO_UDP}, []config.Ports{{PortRange: port}}
		case 2:
			r.Destination, r.Protocols = []config.Prefix{{Prefix: prefix}}, []vocabulary.Protocol{unix.IPPROTO_TCP}
			r.SourcePorts = []config.Ports{{PortRange: port}}
		}
	}
	return rules
}

// kernelCount is what the kernel says: the losses of all queues together, the gate's among them, and how many packets
// the program's queues had.
func kernelCount(ns *netlab.NetNS, count int) (sum nfq.KernelQueue, err error) {
	err = ns.Do(func() error {
		queues, err := nfq.ReadKernelQueues()
		for _, q := range queues {
			sum.QueueDropped += q.QueueDropped
			sum.UserDropped += q.UserDropped
			if int(q.Queue) < count {
				sum.IDSequence += q.IDSequence
			}
		}
		return err
	})
	return sum, err
}

// names are those of variants, in their order.
func names(list []variant) []string {
	names := make([]string, len(list))
	for i := range list {
		names[i] = list[i].name()
	}
	return names
}

// Names are those of the usual variants.
func Names() []string { return names(variants) }

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

// queueNumber is the queue's number.
const queueNumber = 0

// A loadCase is what the packets are.
type loadCase string

const (
	caseSettled loadCase = ""       // of a few flows that are confirmed, and listed where there is a gate
	caseBurst   loadCase = "burst"  // bursts of new flows
	caseNew     loadCase = "new"    // new flows of one packet
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
	base    string
	program program
	guard   vocabulary.GuardMode
	// taskset pins the whole process from outside. verdictd pins the threads of its own backend; the library receives
	// on any thread, and runs as its users run it, and once confined to one CPU for comparison.
	taskset bool
	// rules is how many rules verdictd has, none of which matches. metrics has it serve /metrics.
	rules   int
	metrics bool
	// sets has verdictd look each packet's source up in a million prefixes, none of which has it.
	sets bool
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
	nothing                  // no program, and no rules that queue
)

func (p program) isVerdictd() bool { return p == mmsg || p == gonfqueue }

func (v *variant) name() string {
	if v.load == caseSettled {
		return v.base
	}
	return string(v.load) + ":" + v.base
}

// The guards of variants.
const (
	guardOff  = vocabulary.GuardMode(report.GuardOff)
	guardHold = vocabulary.GuardMode(report.GuardHold)
)

// floorVariant is the one that tells whether a round was disturbed.
const floorVariant = "floor"

// variants are what is compared, in the order in which each round measures them: a guarded one behind its floor.
var variants = []variant{
	{base: floorVariant, program: floor, guard: guardOff},
	{base: "mmsg", guard: guardOff},
	{base: "mmsg+hold", guard: guardHold},
	{base: "mmsg+hold+metrics", guard: guardHold, metrics: true},
	{base: "mmsg+hold+100 rules", guard: guardHold, rules: 100, metrics: true},
	{base: "mmsg+hold+1000 rules", guard: guardHold, rules: 1000, metrics: true},
	{base: "mmsg+hold+million", guard: guardHold, sets: true, metrics: true},
	{base: "mmsg+hold+flow", guard: guardHold, flow: true, metrics: true},
	{base: "gonfqueue", program: gonfqueue, guard: guardOff},
	{base: "gonfqueue+hold", program: gonfqueue, guard: guardHold},
	{base: "gonfqueue, one CPU", program: gonfqueue, guard: guardOff, taskset: true},
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
	fresh     int // packets of new flows
	loadCPU   int
	daemonCPU int
}

// maxLength is the queue's: longer than the window, so that it is never full.
func (b *comparison) maxLength() int { return max(vocabulary.DefaultQueueLength, 2*b.window) }

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
	if v.program.isVerdictd() || v.program == nothing {
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
	c := config.Default()
	c.Guard.Mode = v.guard
	c.Queues.First, c.Queues.Count, c.Queues.Pin, c.Queues.MaxLength = queueNumber, 1, []int{b.daemonCPU},
		uint32(b.maxLength())
	c.Rules.Placement, c.Rules.Fanout = vocabulary.PlacementOutput, vocabulary.FanoutBalance
	c.Rules.Families, c.Rules.DestinationPorts = []vocabulary.Family{vocabulary.IPv4}, []uint16{testbed.Port}
	c.Queues.FailOpen = v.failOpen
	c.Statistics.File = statistics
	c.Policy.Rules, c.Policy.Flow = missingRules(v.rules), v.flow
	if v.sets {
		file := filepath.Join(filepath.Dir(statistics), "million")
		if err := writePrefixes(file); err != nil {
			return nil, err
		}
		c.Policy.Sets = []config.Set{{Name: "million", Type: vocabulary.SetPrefixes, File: file}}
		c.Policy.Rules = append(c.Policy.Rules, config.Rule{
			Name: "million", Action: vocabulary.Drop, Match: config.Match{Source: []config.Prefix{{Set: "million"}}},
		})
	}
	if v.metrics {
		c.Metrics.Listen = "127.0.0.1:0"
	}
	switch v.program {
	case nothing:
		return nil, nil
	case library, floor:
		return b.startReference(v.program, g, ns, c)
	case gonfqueue:
		c.Backend = vocabulary.BackendGoNFQueue
	case mmsg:
		c.Backend = vocabulary.BackendMmsg
	}
	p, err := g.StartDaemon(ns, b.Verdictd, c)
	if err != nil || !v.taskset {
		return []*testbed.Process{p}, err
	}
	return []*testbed.Process{p}, bench.PinProcess(p.Cmd.Process.Pid, b.daemonCPU)
}

func (b *comparison) startReference(p program, g *testbed.Group, ns *netlab.NetNS, c *config.Config) (
	[]*testbed.Process, error) {
	f := testbed.Foreign{
		Program: report.ProgramLibrary, Reference: b.binary(p), Queues: 1, MaxLength: b.maxLength(),
		ReceiveBuffer: c.Queues.ReceiveBuffer,
		CPUs:          c.Queues.Pin,
	}
	program, guard, err := f.StartBehindGuard(g, ns, b.Verdictd, c)
	if guard == nil {
		return []*testbed.Process{program}, err
	}
	return []*testbed.Process{program, guard}, err
}

// writePrefixes writes a million networks, of which the load has none.
func writePrefixes(file string) error {
	var text bytes.Buffer
	for i := range 1_000_000 {
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
// the program's queue had.
func kernelCount(ns *netlab.NetNS) (sum nfq.KernelQueue, err error) {
	err = ns.Do(func() error {
		queues, err := nfq.ReadKernelQueues()
		for _, q := range queues {
			sum.QueueDropped += q.QueueDropped
			sum.UserDropped += q.UserDropped
			if q.Queue == queueNumber {
				sum.IDSequence = q.IDSequence
			}
		}
		return err
	})
	return sum, err
}

// Names are the variants, in their order.
func Names() []string {
	names := make([]string, len(variants))
	for i := range variants {
		names[i] = variants[i].name()
	}
	return names
}

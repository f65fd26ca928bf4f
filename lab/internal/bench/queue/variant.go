package queue

import (
	"errors"
	"fmt"
	"os/exec"

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
	backend vocabulary.Backend // empty: the C program
	guard   vocabulary.GuardMode
	// taskset pins the whole process from outside. verdictd pins the threads of its own backend; the library receives
	// on any thread, and runs as its users run it, and once confined to one CPU for comparison.
	taskset bool
}

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

// variants are what is compared, in the order in which each round measures them: a guarded one behind its floor.
var variants = []variant{
	{base: "mmsg", backend: vocabulary.BackendMmsg, guard: guardOff},
	{base: "mmsg+hold", backend: vocabulary.BackendMmsg, guard: guardHold},
	{base: "gonfqueue", backend: vocabulary.BackendGoNFQueue, guard: guardOff},
	{base: "gonfqueue+hold", backend: vocabulary.BackendGoNFQueue, guard: guardHold},
	{base: "gonfqueue, one CPU", backend: vocabulary.BackendGoNFQueue, guard: guardOff, taskset: true},
	{base: "c", guard: guardOff},
	{base: "c+hold", guard: guardHold},
	{load: caseBurst, base: "mmsg", backend: vocabulary.BackendMmsg, guard: guardOff},
	{load: caseBurst, base: "mmsg+hold", backend: vocabulary.BackendMmsg, guard: guardHold},
	{load: caseAnswer, base: "mmsg", backend: vocabulary.BackendMmsg, guard: guardOff},
	{load: caseAnswer, base: "mmsg+hold", backend: vocabulary.BackendMmsg, guard: guardHold},
}

func (v *variant) isReference() bool { return v.backend == "" }

func (v *variant) guarded() bool { return v.guard != guardOff }

// A bench starts variants.
type comparison struct {
	testbed.Programs
	reference string // the C program
	window    int
	packets   int
	fresh     int // packets of new flows
	loadCPU   int
	daemonCPU int
}

// maxLength is the queue's: longer than the window, so that it is never full.
func (b *comparison) maxLength() int { return max(vocabulary.DefaultQueueLength, 2*b.window) }

// canRun says why a variant cannot be measured on this machine.
func (b *comparison) canRun(v *variant) error {
	if !v.isReference() {
		return nil
	}
	if b.reference == "" {
		return errors.New("no --reference given; make bench builds it and gives it")
	}
	if _, err := exec.LookPath(b.reference); err != nil {
		return fmt.Errorf("%w; make bench builds it where there are cc and libnetfilter_queue (Debian: "+
			"libnetfilter-queue-dev)", err)
	}
	return nil
}

// start starts a variant in a namespace and waits until it judges. All of its processes' time counts; the last one
// writes the statistics, but for the C program without a guard.
func (b *comparison) start(v *variant, g *testbed.Group, ns *netlab.NetNS, statistics string) ([]*testbed.Process,
	error) {
	c := config.Default()
	c.Guard.Mode = v.guard
	c.Queues.First, c.Queues.Count, c.Queues.Pin, c.Queues.MaxLength = queueNumber, 1, []int{b.daemonCPU},
		uint32(b.maxLength())
	c.Rules.Placement, c.Rules.Fanout = vocabulary.PlacementOutput, vocabulary.FanoutBalance
	c.Rules.Families, c.Rules.DestinationPorts = []vocabulary.Family{vocabulary.IPv4}, []uint16{testbed.Port}
	c.Statistics.File = statistics
	if v.isReference() {
		return b.startReference(g, ns, c)
	}
	c.Backend = v.backend
	p, err := g.StartDaemon(ns, b.Verdictd, c)
	if err != nil || !v.taskset {
		return []*testbed.Process{p}, err
	}
	return []*testbed.Process{p}, bench.PinProcess(p.Cmd.Process.Pid, b.daemonCPU)
}

func (b *comparison) startReference(g *testbed.Group, ns *netlab.NetNS, c *config.Config) ([]*testbed.Process, error) {
	f := testbed.Foreign{
		Program: report.ProgramLibrary, Reference: b.reference, Queues: 1, MaxLength: b.maxLength(),
		ReceiveBuffer: c.Queues.ReceiveBuffer,
		CPUs:          c.Queues.Pin,
	}
	program, guard, err := f.StartBehindGuard(g, ns, b.Verdictd, c)
	if guard == nil {
		return []*testbed.Process{program}, err
	}
	return []*testbed.Process{program, guard}, err
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

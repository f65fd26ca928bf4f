package main

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"

	"github.com/goccy/go-yaml"
	"golang.org/x/sys/unix"

	"verdictd/internal/config"
	"verdictd/internal/kernel"
	"verdictd/internal/nfq"
	"verdictd/internal/ruleset"
)

// benchQueue is the queue's number.
const benchQueue = 0

// A variant is one daemon that accepts all.
type variant struct {
	name    string
	backend config.Backend // empty: the C program
	guard   config.GuardMode
	// taskset pins the whole process from outside. verdictd pins the threads of its own backend; the library receives on
	// any thread, and runs as its users run it, and once confined to one CPU for comparison.
	taskset bool
}

// variants are what is compared, in the order in which each round measures them.
var variants = []variant{
	{name: "mmsg", backend: config.BackendMMsg, guard: config.GuardOff},
	{name: "mmsg+reinject", backend: config.BackendMMsg, guard: config.GuardReinject},
	{name: "gonfqueue", backend: config.BackendGoNFQueue, guard: config.GuardOff},
	{name: "gonfqueue+reinject", backend: config.BackendGoNFQueue, guard: config.GuardReinject},
	{name: "gonfqueue, one CPU", backend: config.BackendGoNFQueue, guard: config.GuardOff, taskset: true},
	{name: "c"},
}

func (v *variant) isReference() bool { return v.backend == "" }

// A bench starts variants.
type bench struct {
	programs
	reference string // the C program
	window    int
	packets   int
	loadCPU   int
	daemonCPU int
}

// maxLength is the queue's: longer than the window, so that it is never full.
func (b *bench) maxLength() int { return max(defaultQueueLength, 2*b.window) }

// canRun says why a variant cannot be measured on this machine.
func (b *bench) canRun(v *variant) error {
	if !v.isReference() {
		return nil
	}
	if b.reference == "" {
		return errors.New("no --reference given; make bench builds it and gives it")
	}
	if _, err := exec.LookPath(b.reference); err != nil {
		return fmt.Errorf("%w; make bench builds it where there are cc and libnetfilter_queue (Debian: libnetfilter-queue-dev)", err)
	}
	return nil
}

// start starts a variant in a namespace and waits until it has bound the queue. statistics is the file that verdictd will
// write.
func (b *bench) start(v *variant, g *group, ns *kernel.NetNS, statistics string) (*process, error) {
	defaults := config.Default()
	if v.isReference() {
		return g.startService(ns, b.reference, "--queue", strconv.Itoa(benchQueue), "--cpu", strconv.Itoa(b.daemonCPU),
			"--max-length", strconv.Itoa(b.maxLength()), "--receive-buffer", strconv.Itoa(defaults.Queues.ReceiveBuffer))
	}
	c := defaults
	c.Backend, c.Guard.Mode = v.backend, v.guard
	c.Queues.First, c.Queues.Pin, c.Queues.MaxLength = benchQueue, []int{b.daemonCPU}, uint32(b.maxLength())
	c.Rules.Install, c.Guard.EntryQueues = false, v.tellsEntries()
	c.Statistics.File = statistics
	text, err := yaml.Marshal(c)
	if err != nil {
		return nil, fmt.Errorf("write verdictd's configuration: %w", err)
	}
	path := filepath.Join(g.dir, "verdictd.yaml")
	if err := os.WriteFile(path, text, 0o644); err != nil {
		return nil, fmt.Errorf("write verdictd's configuration: %w", err)
	}
	p, err := g.startService(ns, b.verdictd, "run", "--config", path)
	if err != nil || !v.taskset {
		return p, err
	}
	return p, pinProcess(p.cmd.Process.Pid, b.daemonCPU)
}

// tellsEntries: as verdictd's own rules do for its guard.
func (v *variant) tellsEntries() bool {
	return v.backend == config.BackendMMsg && v.guard != config.GuardOff
}

// installRules feeds the variant's queues with the rules that verdictd would install.
func (v *variant) installRules(ns *kernel.NetNS) error {
	defaults := config.Default()
	c := ruleset.Config{
		Table: defaults.Rules.Table, Placement: ruleset.PlacementOutput, Fanout: ruleset.FanoutBalance,
		FirstQueue: benchQueue, Queues: 1, Bypass: true, Mark: defaults.Guard.Mark,
		IPv4: true, Protocols: []uint8{unix.IPPROTO_UDP}, DestinationPorts: []uint16{port},
	}
	if v.tellsEntries() {
		c.Entries = &ruleset.Entries{
			Confirmed: config.ConfirmedQueues, Unconfirmed: config.UnconfirmedQueues, Translated: config.TranslatedQueues,
		}
	}
	return ns.Do(func() error {
		_, err := ruleset.Install(c) // goes with the namespace
		return err
	})
}

// kernelCount is what the kernel says of all queues together: there are no others in the namespace.
func kernelCount(ns *kernel.NetNS) (sum nfq.KernelQueue, err error) {
	err = ns.Do(func() error {
		queues, err := nfq.ReadKernelQueues()
		for _, q := range queues {
			sum.QueueDropped += q.QueueDropped
			sum.UserDropped += q.UserDropped
			sum.IDSequence += q.IDSequence
		}
		return err
	})
	return sum, err
}

func variantNames() []string {
	names := make([]string, len(variants))
	for i := range variants {
		names[i] = variants[i].name
	}
	return names
}

package main

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"os"
	"path/filepath"
	"strconv"
	"time"

	"verdictd/internal/config"
	"verdictd/internal/crash"
	"verdictd/internal/kernel"
	"verdictd/internal/policy"
	"verdictd/internal/report"
	"verdictd/internal/topology"
)

// The ports that flows of a soak go to say what becomes of them. All are queued, and so are the answers.
const (
	portEcho     = 7  // answered
	portPlain    = 9  // not answered
	portPoliced  = 13 // dropped by the daemon's policy
	portFiltered = 19 // some packets are dropped by a rule behind the queue
)

var soakPorts = [...]uint16{portEcho, portPlain, portPoliced, portFiltered}

const (
	// soakRate is new flows a second. They have 8 packets on average.
	soakRate = 200

	// soakIdle is the guard's idle, which flows of the mix exceed. Where addresses are not translated conntrack forgets soon
	// after it (soakConntrack), so that flows which pause or use a port again find neither, one or both of them to know the flow.
	soakIdle      = time.Second
	soakConntrack = "2"

	// soakLinger bounds the wait for stragglers.
	soakLinger = 10 * time.Second

	// filteredOneOf is which part of the packets to portFiltered the rule drops.
	filteredOneOf = 4

	etherMTU = 1500
)

// A soaking is the daemon in one place: fresh namespaces, the programs in them, and the flows.
type soaking struct {
	programs
	place
	cpus     []int // to pin the daemon's threads to
	guard    string
	seed     uint64
	duration time.Duration
	dir      string // for the files of the programs, not made yet
}

// run is the share's result. Whatever it started is gone when it returns.
func (s *soaking) run(ctx context.Context) soakShare {
	share := soakShare{Placement: s.placement, Fanout: s.fanout, NAT: report.NATNone, Guard: s.guard}
	if s.placement == "forward" {
		share.NAT = report.NATMasquerade
	}
	if err := s.try(ctx, &share); err != nil {
		share.Error = err.Error()
	}
	return share
}

func (s *soaking) try(ctx context.Context, share *soakShare) (err error) {
	t, err := newTopology(s.placement, topology.Families()...)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, t.Close()) }()
	filter, err := s.prepare(t, share.NAT)
	if err != nil {
		return err
	}
	if err := os.Mkdir(s.dir, 0o700); err != nil {
		return fmt.Errorf("make a directory for the programs' files: %w", err)
	}
	g := newGroup(ctx, s.dir)
	defer g.Close()

	statistics := filepath.Join(s.dir, "statistics.json")
	settings := s.daemonConfig(statistics)
	share.Queues, share.Batch, share.Analysis = settings.Queues.Count, settings.Queues.Batch, string(settings.Analysis.Distribution)
	share.EntryQueues = settings.Guard.EntryQueues
	daemon, err := g.startDaemon(t.Queue, s.verdictd, settings)
	if err != nil {
		return err
	}
	stats, err := g.startService(t.Queue, s.conntrackwatch, "stats", "--json")
	if err != nil {
		return err
	}
	sender, err := g.start(t.Sender, true, nil, s.stress, s.stressArgs(t, daemon.cmd.Process.Pid)...)
	if err != nil {
		return err
	}
	if err := share.takeStress(sender, s.duration+soakLinger+stopWithin); err != nil {
		return err
	}
	if share.FilterDropped, err = filter.Dropped(); err != nil {
		return err
	}
	var counted report.Run
	take := func(_ *report.Run, document []byte) error { return share.takeDaemon(document) }
	if err := takeCounters(&counted, stats, daemon, statistics, take); err != nil {
		return err
	}
	share.Clashes, share.ConntrackDrop = counted.Clashes(), counted.Drop
	share.Tainted, err = crash.Taint()
	return err
}

// prepare makes the namespaces what the flows are to meet: an MTU, short timeouts, translation, and the rule behind the
// queue.
func (s *soaking) prepare(t *topology.Topology, nat string) (*kernel.Filter, error) {
	if nat == report.NATMasquerade {
		if err := t.Masquerade(); err != nil {
			return nil, err
		}
	} else {
		// Once conntrack has forgotten a masqueraded flow, its port changes rightly.
		for _, name := range []string{"nf_conntrack_udp_timeout", "nf_conntrack_udp_timeout_stream"} {
			if err := t.Queue.SetSysctl("netfilter/"+name, soakConntrack); err != nil && !errors.Is(err, os.ErrNotExist) {
				return nil, err // some older kernels do not have it outside of the initial user namespace
			}
		}
	}
	if t.Sender == t.Receiver {
		if err := t.Queue.SetMTU("lo", etherMTU); err != nil {
			return nil, err
		}
	}
	// Behind the queue, where a copy of a packet on its way through would not come: what the rule drops must stay dropped.
	hook := map[string]*kernel.Hook{
		"output": kernel.HookOutput, "postrouting": kernel.HookPostrouting, "forward": kernel.HookForward,
		"input": kernel.HookInput, "verdict3": kernel.HookInput,
	}[s.placement]
	return t.Queue.DropAtRandom(hook, portFiltered, filteredOneOf)
}

// stressArgs are the flows, and what else is watched.
func (s *soaking) stressArgs(t *topology.Topology, daemon int) []string {
	args := []string{
		"soak", "--json", "-", "--duration", s.duration.String(), "--rate", strconv.Itoa(soakRate), "--seed", strconv.FormatUint(s.seed, 10),
		"--sender-netns", t.Sender.Path(), "--receiver-netns", t.Receiver.Path(),
		"--linger", soakLinger.String(), "--watch-pid", strconv.Itoa(daemon),
	}
	for _, f := range topology.Families() {
		n := topology.Networks[f]
		for _, port := range soakPorts {
			target := netip.AddrPortFrom(n.Target, port).String()
			switch port {
			case portEcho:
				target += "/echo"
			case portPoliced, portFiltered:
				target += "/lossy"
			}
			args = append(args, "--target", target)
		}
		for _, a := range n.SourceList() {
			args = append(args, "--source", a.String())
		}
	}
	return args
}

// daemonConfig draws what does not matter to the promise: how many queues there are, how many packets are taken at once,
// how long the daemon thinks, and whether the rules tell it of conntrack's entries.
func (s *soaking) daemonConfig(statistics string) *config.Config {
	random := rand.New(rand.NewPCG(s.seed, 3))
	c := config.Default()
	c.Queues.Count = 2 + random.IntN(3)
	c.Queues.Pin = s.cpus[:min(c.Queues.Count, len(s.cpus))]
	c.Queues.MaxLength = 16 * defaultQueueLength // a full queue is another experiment
	c.Queues.Batch = []int{1, c.Queues.Batch}[random.IntN(2)]
	c.Guard.Mode = config.GuardMode(s.guard)
	c.Guard.Idle = soakIdle
	c.Rules.Placement = config.Placement(s.placement)
	c.Rules.Fanout = config.Fanout(s.fanout)
	c.Rules.DestinationPorts = soakPorts[:]
	c.Rules.SourcePorts = []uint16{portEcho}
	c.Policy.Rules = []config.PolicyRule{{
		Name: "policed", Action: policy.Drop, DestinationPorts: []policy.PortRange{{First: portPoliced, Last: portPoliced}},
	}}
	switch random.IntN(3) {
	case 1:
		c.Analysis.Distribution, c.Analysis.Delay = config.DistributionFixed, 200*time.Microsecond
	case 2:
		c.Analysis.Distribution, c.Analysis.Delay, c.Analysis.Max = config.DistributionLogNormal, 100*time.Microsecond, 5*time.Millisecond
	}
	c.Guard.EntryQueues = random.IntN(2) == 0
	c.Statistics.File = statistics
	return c
}

package soak

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
	"verdictd/internal/netlab"
	"verdictd/internal/report"
	"verdictd/internal/vocabulary"
	"verdictd/lab/internal/testbed"
)

// The ports that flows of a soak go to say what becomes of them. All are queued, and so are the answers.
const (
	portEcho     = 7  // answered
	portPlain    = 9  // not answered
	portPoliced  = 13 // dropped by the daemon's policy
	portFiltered = 19 // some packets are dropped by a rule behind the queue
)

var ports = [...]uint16{portEcho, portPlain, portPoliced, portFiltered}

const (
	// flowRate is new flows a second. They have 8 packets on average.
	flowRate = 200

	// conntrackTimeout is conntrack's timeout in seconds where addresses are not translated, which flows of the mix
	// exceed: those that pause or use a port again then find conntrack, the gate and the settled set to know the
	// flow, or only some of them.
	conntrackTimeout = "2"

	// lingerFor bounds the wait for stragglers.
	lingerFor = 10 * time.Second

	// filteredOneOf is which part of the packets to portFiltered the rule drops.
	filteredOneOf = 4

	etherMTU = 1500
)

// A soaking is the daemon in one place: fresh namespaces, the programs in them, and the flows.
type soaking struct {
	testbed.Programs
	place
	cpus      []int // to pin the daemon's threads to
	guard     string
	program   string
	reference string // the C program, for that one
	seed      uint64
	duration  time.Duration
	dir       string // for the files of the programs, not made yet
}

// run is the share's result. Whatever it started is gone when it returns.
func (s *soaking) run(ctx context.Context) Share {
	share := Share{Placement: s.placement, Fanout: s.fanout, NAT: report.NATNone, Guard: s.guard, Program: s.program}
	if s.placement == report.PlacementForward {
		share.NAT = report.NATMasquerade
	}
	if err := s.try(ctx, &share); err != nil {
		share.Error = err.Error()
	}
	return share
}

func (s *soaking) try(ctx context.Context, share *Share) (err error) {
	t, err := testbed.NewTopology(s.placement, netlab.Families()...)
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
	g := testbed.NewGroup(ctx, s.dir)
	defer g.Close()

	file := filepath.Join(s.dir, "statistics.json")
	settings := s.daemonConfig(file)
	share.Queues, share.Batch, share.Analysis = settings.Queues.Count, settings.Queues.Batch,
		string(settings.Analysis.Distribution)
	share.GateQueues, share.Settled = settings.Guard.Queues, settings.Guard.Settled
	watched, daemon, err := s.start(g, t, settings)
	if err != nil {
		return err
	}
	stats, err := g.StartService(t.Queue, s.Conntrackwatch, "stats", "--json")
	if err != nil {
		return err
	}
	sender, err := g.Start(t.Sender, true, nil, s.Stress, s.stressArgs(t, watched.Cmd.Process.Pid)...)
	if err != nil {
		return err
	}
	if err := share.takeStress(sender, s.duration+lingerFor+testbed.StopWithin); err != nil {
		return err
	}
	if share.FilterDropped, err = filter.Dropped(); err != nil {
		return err
	}
	counted, take := report.Run{Guard: s.guard, Placement: s.placement}, share.takeDaemon
	if s.foreign() {
		take = testbed.TakeGuard
		if err := testbed.TakeQueues(&counted, t.Queue, settings.Queues.Count); err != nil {
			return err
		}
	}
	if err := testbed.TakeCounters(&counted, stats, daemon, file, take); err != nil {
		return err
	}
	if s.foreign() {
		share.takeProgram(&counted)
	}
	share.Clashes, share.ConntrackDrop = counted.Clashes(), counted.Drop
	share.Tainted, err = crash.Taint()
	return err
}

func (s *soaking) foreign() bool { return s.program != report.ProgramVerdictd }

// start starts who gives the verdicts, and the guard. Watched is whose memory is, daemon who writes statistics: nil for
// another program without a guard.
func (s *soaking) start(g *testbed.Group, t *netlab.Topology, settings *config.Config) (watched,
	daemon *testbed.Process, err error) {
	if !s.foreign() {
		daemon, err = g.StartDaemon(t.Queue, s.Verdictd, settings)
		return daemon, daemon, err
	}
	f := testbed.Foreign{
		Program: s.program, Reference: s.reference, Queues: settings.Queues.Count,
		MaxLength: int(settings.Queues.MaxLength),
		Delay:     settings.Analysis.Delay, CPUs: s.cpus,
	}
	programs, guard, err := f.StartBehindGuard(g, t.Queue, s.Verdictd, settings)
	switch {
	case err != nil:
		return nil, nil, err
	case guard != nil:
		return guard, guard, nil
	}
	return programs[0], nil, nil
}

// prepare makes the namespaces what the flows are to meet: an MTU, short timeouts, translation, and the rule behind the
// queue.
func (s *soaking) prepare(t *netlab.Topology, nat string) (*netlab.Filter, error) {
	if nat == report.NATMasquerade {
		if err := t.Masquerade(); err != nil {
			return nil, err
		}
	} else {
		// Once conntrack has forgotten a masqueraded flow, its port changes rightly.
		for _, name := range []string{"nf_conntrack_udp_timeout", "nf_conntrack_udp_timeout_stream"} {
			if err := t.Queue.SetSysctl("netfilter/"+name, conntrackTimeout); err != nil &&
				!errors.Is(err, os.ErrNotExist) {
				return nil, err // some older kernels do not have it outside of the initial user namespace
			}
		}
	}
	if t.Sender == t.Receiver {
		if err := t.Queue.SetMTU("lo", etherMTU); err != nil {
			return nil, err
		}
	}
	// Behind the queue: what the rule drops must stay dropped, and the packets held behind it must go on.
	hook := map[string]*netlab.Hook{
		report.PlacementOutput: netlab.HookOutput, report.PlacementPostrouting: netlab.HookPostrouting,
		report.PlacementForward: netlab.HookForward,
		report.PlacementInput:   netlab.HookInput, report.PlacementVerdict3: netlab.HookInput,
	}[s.placement]
	return t.Queue.DropAtRandom(hook, portFiltered, filteredOneOf)
}

// stressArgs are the flows, and what else is watched.
func (s *soaking) stressArgs(t *netlab.Topology, daemon int) []string {
	args := []string{
		"soak", "--json", "-", "--duration", s.duration.String(), "--rate", strconv.Itoa(flowRate), "--seed",
		strconv.FormatUint(s.seed, 10),
		"--sender-netns", t.Sender.Path(), "--receiver-netns", t.Receiver.Path(),
		"--linger", lingerFor.String(), "--watch-pid", strconv.Itoa(daemon),
	}
	for _, f := range netlab.Families() {
		n := netlab.Networks[f]
		for _, port := range ports {
			if port == portPoliced && s.foreign() {
				continue // another program has no policy
			}
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

// daemonConfig draws what does not matter to the promise: how many queues there are, how many packets are taken at
// once, how long the program thinks, how many threads the gate has, and whether settled flows pass it.
func (s *soaking) daemonConfig(statistics string) *config.Config {
	random := rand.New(rand.NewPCG(s.seed, 3))
	c := config.Default()
	c.Queues.Count = 2 + random.IntN(3)
	c.Queues.Pin = s.cpus[:min(c.Queues.Count, len(s.cpus))]
	c.Queues.MaxLength = 16 * vocabulary.DefaultQueueLength // a full queue is another experiment
	c.Queues.Batch = []int{1, c.Queues.Batch}[random.IntN(2)]
	c.Guard.Mode = vocabulary.GuardMode(s.guard)
	c.Rules.Placement = vocabulary.Placement(s.placement)
	c.Rules.Fanout = vocabulary.Fanout(s.fanout)
	c.Rules.DestinationPorts = ports[:]
	c.Rules.SourcePorts = []uint16{portEcho}
	c.Policy.Rules = []config.Rule{{
		Name: "policed", Action: vocabulary.Drop,
		Match: config.Match{DestinationPorts: []config.Ports{{PortRange: vocabulary.Ports(portPoliced, portPoliced)}}},
	}}
	switch random.IntN(3) {
	case 1:
		c.Analysis.Distribution, c.Analysis.Delay = vocabulary.DistributionFixed, 200*time.Microsecond
	case 2:
		c.Analysis.Distribution, c.Analysis.Delay, c.Analysis.Max = vocabulary.DistributionLogNormal,
			100*time.Microsecond, 5*time.Millisecond
	}
	c.Guard.Queues, c.Guard.Settled = 1+random.IntN(2), random.IntN(4) > 0
	if c.Rules.Fanout == vocabulary.FanoutCPU {
		c.Guard.Queues = 0 // one thread alone would overload the queue of its CPU
	}
	c.Statistics.File = statistics
	return c
}

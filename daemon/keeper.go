package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"reflect"
	"slices"
	"time"

	"golang.org/x/sys/unix"

	"verdictd/daemon/internal/exposure"
	"verdictd/daemon/internal/gate"
	"verdictd/daemon/internal/gate/runner"
	"verdictd/internal/config"
	"verdictd/internal/kernelfacts"
	"verdictd/internal/liverules"
	"verdictd/internal/modules"
	"verdictd/internal/ruleset"
	"verdictd/internal/statistics"
	"verdictd/internal/vocabulary"
)

// keeper keeps a gate in step with the machine's rules.
type keeper struct {
	guard *config.Guard
	log   *slog.Logger
	// table is the one with the gate's chains, and judged tells the queues that this
	// process judges.
	table  string
	judged func(queue uint16) (answered uint32, own bool)
	// alone: the table has nothing but the gate's chains, and is taken over where it
	// was left.
	alone bool
	// queues are those to be guarded; none: all.
	queues []exposure.QueueRange

	// operators is the table in which the operator's own gate rules may be.
	operators string
	// own is what the daemon's own rules take; nil: there are none.
	own func() (ruleset.Traffic, bool)
	// spread is how many queues the daemon's own rules fill by CPU; 0: they do not.
	spread int
	// install makes the table; again, where somebody has removed it.
	install func() (*ruleset.Installed, error)

	installed *ruleset.Installed
	changes   *liverules.Watcher
	gate      *runner.Gate     // nil: there was nothing to guard so far
	foreign   *ruleset.Settled // the operator's
	hints     gateHints
	zones     []uint16 // that the gate is open for
	threads   int      // that it has
	now       gatePlan
	said      map[string]bool
	again     <-chan time.Time      // when to read the rules again
	closed    statistics.GateThread // of gates that were closed, as the zones changed
}

// newKeeper is for the queues that this process judges.
func newKeeper(cfg *config.Config, log *slog.Logger) *keeper {
	first := cfg.Queues.First
	k := &keeper{
		guard: &cfg.Guard, log: log, table: cfg.Rules.Table,
		queues: []exposure.QueueRange{{First: first, Last: first + uint16(cfg.Queues.Count-1)}},
	}
	if !cfg.Rules.Install {
		k.operators = k.table
		k.table += gateSuffix
		k.alone = true
	}
	if cfg.Rules.Install {
		k.own = func() (ruleset.Traffic, bool) { return ownTraffic(cfg) }
	}
	if cfg.Rules.Install && cfg.Rules.Fanout == vocabulary.FanoutCPU {
		k.spread = cfg.Queues.Count
	}
	k.install = func() (*ruleset.Installed, error) { return installRules(cfg, k.table) }
	return k
}

// gateSuffix makes the name of the gate's table where rules.table is the operator's.
const gateSuffix = "-gate"

// allowedCPUs are those that this process may run on.
func allowedCPUs() (list []int) {
	var set unix.CPUSet
	if unix.SchedGetaffinity(0, &set) != nil {
		return nil
	}
	for cpu := range len(set) * 64 {
		if set.IsSet(cpu) {
			list = append(list, cpu)
		}
	}
	return list
}

// judgedBy tells the queues that the configuration has the daemon judge.
func judgedBy(cfg *config.Config) func(uint16) bool {
	return func(queue uint16) bool {
		n := int(queue) - int(cfg.Queues.First)
		return n >= 0 && n < cfg.Queues.Count
	}
}

// wanted reports whether the configuration wants a gate where there is need.
func (k *keeper) wanted() bool { return k.guard.Mode != vocabulary.GuardOff }

// rules are the gate's chains for a plan.
func (k *keeper) rules(p *gatePlan) ruleset.Gate {
	g := ruleset.Gate{
		FirstQueue: k.guard.FirstQueue, Queues: uint16(k.threadsFor(p)), Traffic: p.traffic,
		Settled: k.guard.Settled, SettledSize: k.guard.SettledSize, SettledTimeout: k.settledTimeout(),
		ExemptPorts: k.guard.ExemptPorts,
	}
	if p.Plan != nil {
		g.Zones, g.TemplateZone = p.Zones, p.templates
	}
	return g
}

// Bounds of guard.settled_timeout where it is not configured.
const (
	settledMost  = 15 * time.Second
	settledLeast = time.Second
)

// settledTimeout is below conntrack's, so that a listed flow's element is gone
// before its entry.
func (k *keeper) settledTimeout() time.Duration {
	if k.guard.SettledTimeout > 0 {
		return k.guard.SettledTimeout
	}
	least := 2 * settledMost
	c := kernelfacts.ReadConntrack(os.DirFS("/"))
	for _, s := range []kernelfacts.Reading[uint64]{c.UDPTimeout, c.UDPTimeoutStream} {
		if s.Err == nil {
			least = min(least, time.Duration(s.Value)*time.Second)
		}
	}
	return max(least/2, settledLeast)
}

// begin makes the table, watches the rules, and opens the gate where there is need.
func (k *keeper) begin(ctx context.Context) (err error) {
	k.said = map[string]bool{}
	if k.installed, err = k.install(); err != nil || !k.wanted() {
		return err
	}
	if k.changes, err = liverules.Watch(ctx); err != nil {
		return err
	}
	if err := k.beginOwn(ctx); err != nil {
		return err
	}
	if err := k.follow(ctx); err != nil {
		return err
	}
	for until := time.Now().Add(lightWithin); k.gate != nil && k.gate.Dark() && time.Now().Before(until); {
		time.Sleep(time.Millisecond)
	}
	return nil
}

// lightWithin bounds how long the start waits until the gate knows what was on its
// way when it began.
const lightWithin = 200 * time.Millisecond

// changed tells of changes of the rules; nil without a gate.
func (k *keeper) changed() <-chan struct{} {
	if k.changes == nil {
		return nil
	}
	return k.changes.Changes()
}

// ended tells of a watch over the rules that cannot go on.
func (k *keeper) ended() <-chan struct{} {
	if k.changes == nil {
		return nil
	}
	return k.changes.Done()
}

// failed tells of a gate that cannot go on; nil where there is none.
func (k *keeper) failed() <-chan error {
	if k.gate == nil {
		return nil
	}
	return k.gate.Failed()
}

// follow brings the gate in step with the rules as they are now.
func (k *keeper) follow(ctx context.Context) error {
	if err := k.reinstall(ctx); err != nil {
		return err
	}
	p := k.plan(ctx)
	if p.incomplete && k.now.active() {
		k.again = time.After(rulesPause) // rules that cannot be read now may be there still
		return nil
	}
	k.say(k.log.Warn, p.Uncovered...)
	if k.gate != nil {
		k.gate.SetBehind(p.rounds, p.apart)
	}
	if p.same(&k.now) {
		return nil
	}
	if !p.active() && k.now.active() && quiet() != nil {
		// Conntrack's hooks may go with the gate's rules, and with them all that waits in
		// the namespace's queues: the gate stays until nothing does.
		k.again = time.After(rulesPause)
		return nil
	}
	if err := k.apply(ctx, &p); err != nil {
		return err
	}
	k.log.Info("guard", "mode", k.mode(&p), "because", p.why, "traffic", p.Traffic, "zones", p.Zones)
	for _, e := range p.Exposing {
		k.say(k.log.Info, "guarded: "+e.String())
	}
	return nil
}

// apply makes the gate what a plan asks for.
func (k *keeper) apply(ctx context.Context, p *gatePlan) error {
	if p.active() {
		if err := k.open(ctx, p); err != nil {
			return err
		}
	}
	if err := k.fill(p); err != nil {
		return err
	}
	k.now = *p
	return k.settle()
}

// fill fills the gate's chains. Of what comes to the gate from then on and did not
// before, some is on its way already.
func (k *keeper) fill(p *gatePlan) error {
	if p.active() && !reflect.DeepEqual(p.traffic, k.now.traffic) {
		k.gate.Darken(true)
		defer k.gate.Darken(false)
	}
	return k.installed.SetGate(k.rules(p))
}

// reinstall makes the table again where somebody has removed it, as a firewall's
// reload does that begins with `flush ruleset`.
func (k *keeper) reinstall(ctx context.Context) error {
	exists, err := ruleset.Exists(k.table)
	if exists || err != nil {
		return err
	}
	k.log.Warn("somebody has removed the table: it is installed again", "table", k.table)
	installed, err := k.install()
	if err != nil {
		return err
	}
	k.installed, k.now = installed, gatePlan{}
	return k.beginOwn(ctx)
}

// beginOwn opens the gate for the daemon's own rules before these queue anything:
// what they take is known from the configuration.
func (k *keeper) beginOwn(ctx context.Context) error {
	if k.own == nil {
		return nil
	}
	if p := k.planOwn(); p.active() {
		if err := k.apply(ctx, &p); err != nil {
			return err
		}
	}
	return k.installed.Attach()
}

// open opens the gate for a plan, if it is not open for its zones with its threads.
func (k *keeper) open(ctx context.Context, p *gatePlan) error {
	threads := k.threadsFor(p)
	if k.gate != nil && k.now.Plan != nil && slices.Equal(p.Zones, k.zones) && threads == k.threads {
		return nil
	}
	// With this module conntrack collects events, which a clash needs to do harm:
	// it is asked for where there are clashes to prevent only.
	if err := modules.Load(ctx, modules.PartConntrack); err != nil {
		return fmt.Errorf("the gate asks conntrack for flows, and so needs nf_conntrack_netlink: %w", err)
	}
	if err := k.close(); err != nil {
		return err
	}
	g, err := runner.Open(runner.Config{
		Table: gate.Config{
			Drop:  k.guard.Mode == vocabulary.GuardDrop,
			Flows: k.guard.Flows, FlowPackets: k.guard.FlowPackets, Bytes: int64(k.guard.Bytes),
			Hold: k.guard.Hold, HoldLimit: k.guard.HoldLimit, List: k.guard.Settled,
		},
		FirstQueue: k.guard.FirstQueue, Queues: threads, Zones: p.Zones,
		ReceiveBuffer: gateReceiveBuffer, ChainAdded: k.changes.BaseChainAdded, Pin: k.pinned(p), Own: k.judged, Notice: func(s string) { k.log.Warn(s) },
	})
	if err != nil {
		return err
	}
	g.SetBehind(p.rounds, p.apart)
	g.Start()
	k.gate, k.zones, k.threads = g, p.Zones, threads
	k.hints.gate.Store(g)
	return nil
}

// pinned lists CPUs for the gate's threads; none: anywhere. What takes the queue of
// the CPU that it is on must not change CPUs in the gate.
func (k *keeper) pinned(p *gatePlan) []int {
	if k.spreadOver(p) > 0 {
		return allowedCPUs()
	}
	return nil
}

// spreadOver is how many queues are filled by the CPU that a packet is on; 0: none.
func (k *keeper) spreadOver(p *gatePlan) int {
	queues := k.spread
	if p.Plan == nil {
		return queues
	}
	for _, e := range p.Exposing {
		if e.Rule.Fanout == liverules.FanoutCPU {
			queues = max(queues, int(e.Rule.Last)-int(e.Rule.First)+1)
		}
	}
	return queues
}

// threadsFor is guard.queues. Where that is 0 it is one thread, or for queues that
// are filled by CPU as many as there are: what one thread lets go is in one queue,
// which alone would have to take everything. Rules of the operator's own are for one.
func (k *keeper) threadsFor(p *gatePlan) int {
	switch {
	case k.guard.Queues > 0:
		return k.guard.Queues
	case p.Plan != nil && p.Installed:
		return 1
	}
	return max(1, min(k.spreadOver(p), len(allowedCPUs()), config.MaxGateQueues))
}

// gateReceiveBuffer is each gate queue's, in bytes, as the kernel accounts them: as
// much as the longest queue takes. A packet that finds it full passes unguarded, as the
// queues are bound with fail-open.
const gateReceiveBuffer = 96 << 20

// settle tells the gate where to list flows: in the operator's set, where his
// rules take packets to the gate.
func (k *keeper) settle() (err error) {
	if k.gate == nil {
		return nil
	}
	set, why := k.installed.Settled(), k.installed.NoSettled()
	if k.now.Installed && k.guard.Settled {
		if k.foreign == nil {
			k.foreign, why = ruleset.OpenSettled(k.operators)
		}
		set = k.foreign
	}
	if set != nil {
		k.changes.Except(set.Port()) // each listing is a change of its own
		k.gate.SetSettled(set)
		return nil
	}
	k.gate.SetSettled(nil)
	if why != nil && k.guard.Settled {
		k.say(k.log.Warn, "all packets of guarded flows pass through the gate: "+why.Error())
	}
	return nil
}

// mode is what the guard does under a plan.
func (k *keeper) mode(p *gatePlan) vocabulary.GuardMode {
	switch {
	case !k.wanted() || !p.active():
		return vocabulary.GuardOff
	case k.guard.Mode == vocabulary.GuardDrop:
		return vocabulary.GuardDrop
	}
	return vocabulary.GuardHold
}

// say logs what was not said before.
func (k *keeper) say(log func(string, ...any), notes ...string) {
	for _, n := range notes {
		if !k.said[n] {
			k.said[n] = true
			log(n)
		}
	}
}

// close ends the gate for another one. Its chains are empty meanwhile, and packets
// pass as without it.
func (k *keeper) close() error {
	if k.gate == nil {
		return nil
	}
	err := k.installed.DetachGate()
	if err := errors.Join(err, k.stop()); err != nil {
		return err
	}
	_, total := k.gate.Results()
	statistics.Add(&k.closed, &total)
	return k.free()
}

// rulesPause is waited for after a change of rules before all are read: a
// firewall's reload is many changes.
const rulesPause = 100 * time.Millisecond

package guard

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"time"

	"golang.org/x/sys/unix"

	"verdictd/daemon/internal/gate"
	"verdictd/daemon/internal/gate/runner"
	"verdictd/internal/config"
	"verdictd/internal/kernelfacts"
	"verdictd/internal/liverules"
	"verdictd/internal/modules"
	"verdictd/internal/nfq"
	"verdictd/internal/ruleset"
	"verdictd/internal/statistics"
	"verdictd/internal/vocabulary"
)

// rules are the gate's chains for a plan.
func (k *Keeper) rules(p *plan) ruleset.Gate {
	g := ruleset.Gate{
		FirstQueue: k.Guard.FirstQueue, Queues: uint16(k.threadsFor(p)), Traffic: p.selected,
		Settled: k.Guard.Settled, SettledSize: k.Guard.SettledSize, SettledTimeout: k.settledTimeout(),
		ExemptPorts: k.Guard.ExemptPorts,
	}
	if p.Plan != nil {
		g.Zones, g.TemplateZone = p.Zones, p.TemplateZone
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
func (k *Keeper) settledTimeout() time.Duration {
	if k.Guard.SettledTimeout > 0 {
		return k.Guard.SettledTimeout
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

// open opens the gate for a plan, if it is not open for its zones with its threads.
func (k *Keeper) open(ctx context.Context, p *plan) error {
	threads := k.threadsFor(p)
	if k.gate != nil && slices.Equal(p.Zones, k.zones) && threads == k.threads {
		return k.gate.Pin(k.pinned(p)) // the rules may fill queues by CPU now, and did not before
	}
	last := k.lastNumber(1+len(p.Zones), threads)
	if err := k.fits(last, 1+len(p.Zones)); err != nil {
		return err
	}
	// With this module conntrack collects events, which a clash needs to do harm:
	// it is asked for where there are clashes to prevent only.
	if err := modules.Load(ctx, modules.PartConntrack); err != nil {
		return fmt.Errorf("the gate asks conntrack for flows, and so needs nf_conntrack_netlink: %w", err)
	}
	if k.gate == nil {
		return k.openAs(p, p.Zones, threads)
	}
	if err := k.free(last); err != nil {
		return err
	}
	if err := k.close(); err != nil {
		return err
	}
	if err := k.openAs(p, p.Zones, threads); err != nil {
		return errors.Join(err, k.openAgain())
	}
	return nil
}

// openAgain has the gate be as it was before it was closed for another one, which cannot be opened.
func (k *Keeper) openAgain() error {
	if err := k.openAs(&k.now, k.zones, k.threads); err != nil {
		k.now = plan{} // nothing is guarded
		return fmt.Errorf("open the gate as it was: %w", err)
	}
	if !k.now.active() {
		return nil
	}
	return errors.Join(k.fill(&k.now), k.settle())
}

// lastNumber is that of the gate's queues: two a thread, and as many again for each conntrack zone besides 0. It may
// be beyond the last that exists.
func (k *Keeper) lastNumber(zones, threads int) int {
	return int(k.Guard.FirstQueue) + 2*zones*threads - 1
}

// fits reports a gate that would have numbers which do not exist, or those of the process's own queues.
func (k *Keeper) fits(last, zones int) error {
	first := int(k.Guard.FirstQueue)
	text := fmt.Sprintf("the gate's queues would be %d to %d, as rules have %d conntrack zones", first, last, zones)
	if last > vocabulary.MaxQueue {
		return fmt.Errorf("%s, and the last that exists is %d: lower guard.first_queue", text, vocabulary.MaxQueue)
	}
	for _, q := range k.Queues {
		if _, own := k.Judged(q.First); own && first <= int(q.Last) && int(q.First) <= last {
			return fmt.Errorf("%s, and overlap those of the verdicts, %d to %d: set guard.first_queue or queues.first to other numbers", text, q.First, q.Last)
		}
	}
	return nil
}

// free reports the first of a gate's numbers that another program holds. The gate that is there is not closed for one
// that could not be opened.
func (k *Keeper) free(last int) error {
	bound, err := nfq.ReadKernelQueues()
	if err != nil {
		return err
	}
	for _, q := range bound {
		if q.Queue >= k.Guard.FirstQueue && int(q.Queue) <= last && !k.gate.Owns(q.Queue) {
			return fmt.Errorf("open the gate: %w", &nfq.InUseError{Queue: q.Queue, PortID: q.PortID})
		}
	}
	return nil
}

// takeOver goes on with the gate that a process before this one has left, as that was.
// What the rules ask for now is made of it then.
func (k *Keeper) takeOver(ctx context.Context) error {
	shape, ok := runner.Left(k.Kept)
	if !ok || shape.FirstQueue != k.Guard.FirstQueue {
		return nil
	}
	if err := modules.Load(ctx, modules.PartConntrack); err != nil {
		return err
	}
	if err := k.openAs(&plan{}, shape.Zones, shape.Queues); err != nil {
		return err
	}
	k.Log.Info("the gate is taken over", "queues", shape.Queues, "zones", shape.Zones)
	return nil
}

// openAs opens the gate with so many threads for these zones.
func (k *Keeper) openAs(p *plan, zones []uint16, threads int) error {
	g, err := runner.Open(runner.Config{
		Table:      k.tableConfig(),
		FirstQueue: k.Guard.FirstQueue, Queues: threads, Zones: zones,
		ReceiveBuffer: gateReceiveBuffer, ChainAdded: k.chainAdded, Kept: k.Kept, Pin: k.pinned(p), Own: k.Judged, Notice: func(s string) { k.Log.Warn(s) },
	})
	if err != nil {
		return err
	}
	if p.Plan != nil {
		g.SetBehind(p.rounds, p.Apart)
	}
	g.Start()
	k.gate, k.zones, k.threads = g, zones, threads
	k.hints.gate.Store(g)
	return nil
}

// chainAdded is when somebody last added a base chain.
func (k *Keeper) chainAdded() int64 {
	if k.changes == nil {
		return 0
	}
	return k.changes.BaseChainAdded()
}

// tableConfig is that of the gate's tables.
func (k *Keeper) tableConfig() gate.Config {
	return gate.Config{
		Drop:  k.Guard.Mode == vocabulary.GuardDrop,
		Flows: k.Guard.Flows, FlowPackets: k.Guard.FlowPackets, Bytes: int64(k.Guard.Bytes),
		Hold: k.Guard.Hold, HoldLimit: k.Guard.HoldLimit, List: k.Guard.Settled,
	}
}

// pinned lists CPUs for the gate's threads; none: anywhere. What takes the queue of
// the CPU that it is on must not change CPUs in the gate.
func (k *Keeper) pinned(p *plan) []int {
	if k.spreadOver(p) > 0 {
		return allowedCPUs()
	}
	return nil
}

// spreadOver is how many queues are filled by the CPU that a packet is on; 0: none.
func (k *Keeper) spreadOver(p *plan) int {
	queues := k.Spread
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
func (k *Keeper) threadsFor(p *plan) int {
	switch {
	case k.Guard.Queues > 0:
		return k.Guard.Queues
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
func (k *Keeper) settle() (err error) {
	if k.gate == nil {
		return nil
	}
	set, why := k.installed.Settled(), k.installed.NoSettled()
	if k.now.Installed && k.Guard.Settled {
		if k.foreign == nil {
			k.foreign, why = ruleset.OpenSettled(k.Operators)
		}
		set = k.foreign
	}
	k.listing = set
	if set != nil {
		k.changes.Except(set.Port()) // each listing is a change of its own
		k.gate.SetSettled(set)
		return nil
	}
	k.gate.SetSettled(nil)
	if why != nil && k.Guard.Settled {
		k.say(k.Log.Warn, "all packets of guarded flows pass through the gate: "+why.Error())
	}
	return nil
}

// close ends the gate for another one. Its chains are empty meanwhile, and packets
// pass as without it.
func (k *Keeper) close() error {
	if k.gate == nil {
		return nil
	}
	k.gate.Hurry()
	err := k.gone(k.installed.DetachGate())
	if err := errors.Join(err, k.Stop()); err != nil {
		return err
	}
	_, total := k.gate.Results()
	statistics.Add(&k.closed, &total)
	return k.Free()
}

// Statistics of the gate, and of those before it; nil where there was none. To be
// called between Stop and Free.
func (k *Keeper) Statistics(kernel []nfq.KernelQueue) *statistics.Gate {
	if k.gate == nil {
		return nil
	}
	queues, total := k.gate.Results()
	g := &statistics.Gate{Queues: queues, Total: statistics.GateTotals{GateThread: total}}
	statistics.Add(&g.Total.GateThread, &k.closed)
	var passed uint64
	g.Total.QueueDropped, g.Total.UserDropped, passed = k.gate.Drops(kernel)
	g.Total.Unguarded += passed
	g.Total.UnguardedSocket += passed
	g.Total.Settled = k.fillOfSet()
	return g
}

// filledFor is how long the settled set's fill is as it was counted: that takes the
// kernel some milliseconds.
const filledFor = 10 * time.Second

// fillOfSet is how full the settled set is; zero where there is none.
func (k *Keeper) fillOfSet() statistics.Settled {
	if k.listing == nil {
		return statistics.Settled{}
	}
	if time.Since(k.counted) > filledFor {
		k.counted = time.Now()
		// Fails where somebody has removed the table, which is said elsewhere.
		n, _ := k.listing.Count()
		k.filled = statistics.Settled{Elements: n, Limit: 2 * uint64(k.Guard.SettledSize)}
	}
	return k.filled
}

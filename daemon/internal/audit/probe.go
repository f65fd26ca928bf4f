package audit

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"verdictd/internal/crash"
	"verdictd/internal/ct"
	"verdictd/internal/netlab"
	"verdictd/internal/nfq"
	"verdictd/internal/ruleset"
	"verdictd/internal/vocabulary"
)

// Probe is what the running kernel did with clashes.
type Probe struct {
	Flows          int `json:"flows"`
	PacketsPerFlow int `json:"packets_per_flow"`
	Sent           int `json:"sent"`
	Delivered      int `json:"delivered"`
	// The rise of conntrack's counters; null where the kernel has none.
	ClashResolve *uint64 `json:"clash_resolve"`
	InsertFailed *uint64 `json:"insert_failed"`
	Drop         *uint64 `json:"drop"`
	// What the queue lost is no clash.
	QueueDropped uint32 `json:"queue_dropped"`
	UserDropped  uint32 `json:"user_dropped"`

	TaintBefore uint64 `json:"taint_before"`
	TaintAfter  uint64 `json:"taint_after"`

	Outcome Outcome `json:"outcome"`
	Meaning string  `json:"meaning"`
}

// Outcome is what became of the packets.
type Outcome string

// The outcomes.
const (
	Resolved     Outcome = "resolved"     // clashes were counted, and every packet arrived
	Dropped      Outcome = "dropped"      // packets of clashes did not arrive
	Unseen       Outcome = "unseen"       // every packet arrived, and no counter rose
	Inconclusive Outcome = "inconclusive" // the queue lost packets
	Damaged      Outcome = "damaged"      // the kernel complained: its taint mask changed
)

// The probe's size: bounded, and in rounds that fit the smallest receive buffer.
const (
	probeFlows     = 200
	packetsPerFlow = 4
	flowsPerRound  = 20
	probePort      = 5300
	probeTimeout   = 30 * time.Second
)

// ErrMayCrash is why a kernel is not probed.
var ErrMayCrash = errors.New("the probe may crash this machine")

// MayProbe says no where the kernel has, or may have, a fault that a clash or a
// verdict makes it crash by, unless that is accepted.
func MayProbe(m *Machine, accepted bool) error {
	if accepted {
		return nil
	}
	var faults []string
	for _, f := range m.crashes(byProbe) {
		faults = append(faults, fmt.Sprintf("%s is %s: %s", f.ID, f.Status, f.Reason))
	}
	if len(faults) == 0 {
		return nil
	}
	return fmt.Errorf("%w: %s", ErrMayCrash, strings.Join(faults, "; "))
}

// RunProbe makes packets of new flows clash, in a network namespace of its own
// with one queue and no guard: all packets of a flow are queued before the first
// gets its verdict. It takes what [netlab.CanMakeNetNS] needs.
func RunProbe(ctx context.Context) (p *Probe, err error) {
	ctx, cancel := context.WithTimeout(ctx, probeTimeout)
	defer cancel()
	ns, err := netlab.NewNetNS()
	if err != nil {
		return nil, fmt.Errorf("probe: %w", err)
	}
	defer func() { err = errors.Join(err, ns.Close()) }()
	if err := ns.ActivateConntrack(); err != nil {
		return nil, fmt.Errorf("probe: %w", err)
	}
	p = &Probe{PacketsPerFlow: packetsPerFlow}
	if p.TaintBefore, err = crash.Taint(); err != nil {
		return nil, err
	}
	if err := ns.Do(func() error { return p.measure(ctx) }); err != nil {
		return nil, fmt.Errorf("probe: %w", err)
	}
	if p.TaintAfter, err = crash.Taint(); err != nil {
		return nil, err
	}
	p.conclude()
	return p, nil
}

// measure runs the traffic between two looks at the counters.
func (p *Probe) measure(ctx context.Context) (err error) {
	counters, err := ct.Dial()
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, counters.Close()) }()
	before, err := counters.Snapshot()
	if err != nil {
		return err
	}
	q, err := nfq.Open(vocabulary.BackendMmsg, nfq.Config{})
	if err != nil {
		return err
	}
	// Named after the daemon's, which no one else has in a new namespace. It goes
	// with the namespace.
	_, err = ruleset.Install(ruleset.Config{
		Table: "verdictd", Placement: vocabulary.PlacementOutput, Fanout: vocabulary.FanoutBalance, Queues: 1,
		IPv4: true, Protocols: []uint8{unix.IPPROTO_UDP}, DestinationPorts: []uint16{probePort},
	})
	if err != nil {
		return errors.Join(err, q.Close())
	}
	if err := p.traffic(ctx, q); err != nil {
		return errors.Join(err, q.Close())
	}
	queues, err := nfq.ReadKernelQueues()
	if err := errors.Join(err, q.Close()); err != nil {
		return err
	}
	for _, k := range queues {
		p.QueueDropped, p.UserDropped = p.QueueDropped+k.QueueDropped, p.UserDropped+k.UserDropped
	}
	after, err := counters.Snapshot()
	if err != nil {
		return err
	}
	total := after.Since(before).Total()
	p.ClashResolve, p.InsertFailed, p.Drop = number(total[ct.ClashResolve]), number(total[ct.InsertFailed]), number(total[ct.Drop])
	return nil
}

func number(v ct.Value) *uint64 {
	if !v.Sent {
		return nil
	}
	return &v.N
}

func count(n *uint64) uint64 {
	if n == nil {
		return 0
	}
	return *n
}

// conclude says what the figures mean.
func (p *Probe) conclude() {
	resolved, failed := count(p.ClashResolve), count(p.InsertFailed)
	lost := p.Sent - p.Delivered
	switch {
	case p.TaintAfter != p.TaintBefore:
		p.Outcome = Damaged
		p.Meaning = fmt.Sprintf("the kernel's taint mask went from %d to %d: look at its log", p.TaintBefore, p.TaintAfter)
	case p.QueueDropped+p.UserDropped > 0:
		p.Outcome = Inconclusive
		p.Meaning = fmt.Sprintf("the queue itself lost %d packets: probe again on an idle machine", p.QueueDropped+p.UserDropped)
	case lost > 0:
		p.Outcome = Dropped
		p.Meaning = fmt.Sprintf("of %d packets %d did not arrive, in a loop in which nothing else drops: the kernel dropped losers of clashes (%d counted as resolved, %d failed)",
			p.Sent, lost, resolved, failed)
	case resolved+failed > 0:
		p.Outcome = Resolved
		p.Meaning = fmt.Sprintf("every packet arrived; the kernel resolved %d clashes among %d packets", resolved, p.Sent)
		if p.ClashResolve == nil {
			p.Meaning = fmt.Sprintf("every packet arrived; the kernel resolved %d clashes among %d packets, which it counts as insert_failed", failed, p.Sent)
		}
	default:
		p.Outcome = Unseen
		p.Meaning = "every packet arrived and no counter rose: this kernel resolves clashes at re-injection, uncounted (4.18 to 6.11), or did not let them happen"
	}
}

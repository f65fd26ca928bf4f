package guard

import (
	"context"
	"maps"
	"slices"
	"time"

	"verdictd/daemon/internal/gate/runner"
	"verdictd/internal/nfq"
	"verdictd/internal/ruleset"
	"verdictd/internal/vocabulary"
)

// Change has the keeper do what other options say from now on: Guard, Rules, Own, Spread,
// Queues and Manage may be others, Table and Alone not. The table changes in one
// transaction, gate and verdict rules together; base chains that stay where they are are
// kept, so that nothing that waits is lost. A gate that stays has other settings from its
// next turn on; its queues and its memory are as they were (MemoryKeys). What others have changed
// is said and put back first. On an error all is as it was. It belongs to the goroutine of Serve.
func (k *Keeper) Change(ctx context.Context, change func(*Options)) error {
	k.putBackFirst(ctx)
	before := k.Options
	change(&k.Options)
	err := k.changeTo(ctx)
	if err == nil {
		return nil
	}
	k.Options = before
	if again := k.changeTo(ctx); again != nil {
		k.Log.Error("the rules before cannot be put back", "error", again)
	}
	return err
}

func (k *Keeper) changeTo(ctx context.Context) error {
	if k.changes == nil && k.wanted() {
		if err := k.watch(ctx); err != nil {
			return err
		}
	}
	if k.gate != nil && k.wanted() {
		k.gate.Configure(k.tableConfig())
	}
	if k.Rules != nil {
		if err := k.begin(ctx); err != nil {
			return err
		}
	}
	if k.gate != nil && !k.wanted() {
		if err := k.close(); err != nil {
			return err
		}
		k.now = plan{}
	}
	return k.follow(ctx)
}

// MemoryKeys are the settings of the configuration's section guard that a gate has from
// its beginning on.
var MemoryKeys = []string{"guard.first_queue", "guard.queues", "guard.flows", "guard.bytes"}

// overlap has packets queued at both placements for a moment, where the table is to have
// another one: what is between the places when the rules change would meet neither. A
// packet that meets both is judged twice, and comes to one queue twice, which the gate is
// told before: that it was judged once proves nothing. What the gate took so far it takes
// until nothing of it waits: a packet that is neither held nor queued would be confirmed
// before those of its flow that wait, and these clash.
func (k *Keeper) overlap(c ruleset.Config) (done bool, err error) {
	before := k.installed.Config()
	if before.Detached || c.Detached || !queues(before.Placement) {
		return false, nil
	}
	gate := k.gateOfBoth(&before, &c)
	moves := before.Placement != c.Placement && queues(c.Placement)
	if moves {
		if k.gate != nil {
			k.gate.SetBehind(bothRounds, k.apart())
		}
		both := c
		both.Also, both.Gate = before.Placement, gate
		if _, err := k.installed.Apply(both); err != nil {
			return false, err
		}
		passed(passedWithin)
	}
	if gate != c.Gate {
		c.Gate = gate
		if _, err := k.installed.Apply(c); err != nil {
			return false, err
		}
		passed(passedWithin)
	}
	return moves, nil
}

// bothRounds is how many queues a packet meets at two placements, where it may be judged twice at each.
const bothRounds = 4

// apart are the queues of others to which no packet comes that has passed the gate. To the process's own they may, as
// the rules change.
func (k *Keeper) apart() map[uint16]bool {
	apart := map[uint16]bool{}
	if k.now.Plan != nil {
		maps.Copy(apart, k.now.Apart)
	}
	maps.DeleteFunc(apart, func(queue uint16, _ bool) bool {
		_, own := k.Judged(queue)
		return own
	})
	return apart
}

// gateOfBoth is a gate for what it takes and is to take, where the process's own rules are to queue other packets, or
// elsewhere; else what it is to be.
func (k *Keeper) gateOfBoth(before, c *ruleset.Config) *ruleset.Gate {
	if before.Gate == nil || before.GateDetached || before.SelectsAs(c) {
		return c.Gate
	}
	both := *before.Gate
	if c.Gate != nil && len(c.Gate.Traffic) > 0 {
		both = *c.Gate
	}
	more := slices.Clone(both.Traffic)
	for _, t := range before.Gate.Traffic {
		if !slices.ContainsFunc(more, t.Equal) {
			more = append(more, t)
		}
	}
	if c.Gate != nil && len(more) == len(c.Gate.Traffic) {
		return c.Gate
	}
	both.Traffic = more
	return &both
}

// queues tells placements that have rules.
func queues(p vocabulary.Placement) bool { return p != "" && p != vocabulary.PlacementNone }

// passedWithin bounds how long two placements are there for what waits in queues between
// them.
const passedWithin = time.Second

// passed returns when what is on its way now has left every queue that it waits in, as
// far as programs judge in order.
func passed(within time.Duration) {
	runner.Barrier()
	mark := map[uint16]nfq.KernelQueue{}
	for until := time.Now().Add(within); time.Now().Before(until); time.Sleep(time.Millisecond) {
		list, err := nfq.ReadKernelQueues()
		if err != nil {
			return
		}
		waits := false
		for _, q := range list {
			was, known := mark[q.Queue]
			if !known || was.PortID != q.PortID {
				was = q
				mark[q.Queue] = q
			}
			waits = waits || int32(q.IDSequence-q.Queued-was.IDSequence) < 0
		}
		if !waits {
			runner.Barrier()
			return
		}
	}
}

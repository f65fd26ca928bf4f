package guard

import (
	"context"
	"fmt"
	"log/slog"
	"reflect"
	"time"

	"verdictd/daemon/internal/engine"
	"verdictd/daemon/internal/exposure"
	"verdictd/daemon/internal/gate/runner"
	"verdictd/internal/config"
	"verdictd/internal/liverules"
	"verdictd/internal/ruleset"
	"verdictd/internal/statistics"
	"verdictd/internal/vocabulary"
)

// Options say what a Keeper guards, and where.
type Options struct {
	Guard *config.Guard
	Log   *slog.Logger
	// Table is the one with the gate's chains. Alone: it has nothing else, and is taken
	// over where it was left.
	Table string
	Alone bool
	// Queues are those to be guarded; none: all.
	Queues []exposure.QueueRange
	// Judged tells the queues that this process judges, and the last packet of one whose
	// verdict has returned; nil: it judges none.
	Judged func(queue uint16) (answered uint32, own bool)

	// Operators is the table in which the operator's own gate rules may be.
	Operators string
	// Own is what the process's own rules take that may clash; nil: there are none.
	Own *liverules.Selection
	// Spread is how many queues these fill by CPU; 0: they do not.
	Spread int
	// Install makes the table; again, where somebody has removed it.
	Install func() (*ruleset.Installed, error)
}

// Keeper keeps a gate in step with the machine's rules.
type Keeper struct {
	Options

	installed *ruleset.Installed
	changes   *liverules.Watcher
	gate      *runner.Gate     // nil: there was nothing to guard so far
	foreign   *ruleset.Settled // the operator's
	hints     hints
	zones     []uint16 // that the gate is open for
	threads   int      // that it has
	now       plan
	said      map[string]bool
	again     <-chan time.Time      // when to read the rules again
	closed    statistics.GateThread // of gates that were closed, as the zones changed
}

// New makes a Keeper, which does nothing until Begin.
func New(o Options) *Keeper {
	if o.Judged == nil {
		o.Judged = func(uint16) (uint32, bool) { return 0, false }
	}
	return &Keeper{Options: o, said: map[string]bool{}}
}

// Hints are for who judges packets, before Begin already.
func (k *Keeper) Hints() engine.Hints { return &k.hints }

// Kind is the queue statement's in the installed rules; empty: none are installed.
func (k *Keeper) Kind() ruleset.Kind {
	if k.installed == nil {
		return ""
	}
	return k.installed.Kind()
}

// wanted reports whether the configuration wants a gate where there is need.
func (k *Keeper) wanted() bool { return k.Guard.Mode != vocabulary.GuardOff }

// Begin makes the table, watches the rules, and opens the gate where there is need.
func (k *Keeper) Begin(ctx context.Context) (err error) {
	if k.installed, err = k.Install(); err != nil || !k.wanted() {
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

// Serve follows the rules until the context ends or the gate cannot go on.
func (k *Keeper) Serve(ctx context.Context) error {
	for {
		select {
		case <-ctx.Done():
			return nil
		case err := <-k.failed():
			return err
		case <-k.changed():
			if k.again == nil {
				k.again = time.After(rulesPause)
			}
		case <-k.ended():
			if err := k.changes.Err(); err != nil {
				return fmt.Errorf("the rules are watched no more: %w", err)
			}
			return nil // the context's end is its own, too
		case <-k.again:
			k.again = nil
			if err := k.follow(ctx); err != nil {
				k.Log.Error("the guard cannot follow the rules: it stays as it is", "error", err)
			}
		}
	}
}

// changed tells of changes of the rules; nil without a gate.
func (k *Keeper) changed() <-chan struct{} {
	if k.changes == nil {
		return nil
	}
	return k.changes.Changes()
}

// ended tells of a watch over the rules that cannot go on.
func (k *Keeper) ended() <-chan struct{} {
	if k.changes == nil {
		return nil
	}
	return k.changes.Done()
}

// failed tells of a gate that cannot go on; nil where there is none.
func (k *Keeper) failed() <-chan error {
	if k.gate == nil {
		return nil
	}
	return k.gate.Failed()
}

// follow brings the gate in step with the rules as they are now.
func (k *Keeper) follow(ctx context.Context) error {
	if err := k.reinstall(ctx); err != nil {
		return err
	}
	p := k.makePlan(ctx)
	if p.incomplete && k.now.active() {
		k.again = time.After(rulesPause) // rules that cannot be read now may be there still
		return nil
	}
	k.say(k.Log.Warn, p.Uncovered...)
	if k.gate != nil {
		k.gate.SetBehind(p.rounds, p.Apart)
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
	k.Log.Info("guard", "mode", k.mode(&p), "because", p.why, "traffic", p.Traffic, "zones", p.Zones)
	for _, e := range p.Exposing {
		k.say(k.Log.Info, "guarded: "+e.String())
	}
	return nil
}

// apply makes the gate what a plan asks for.
func (k *Keeper) apply(ctx context.Context, p *plan) error {
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
func (k *Keeper) fill(p *plan) error {
	if p.active() && !reflect.DeepEqual(p.selected, k.now.selected) {
		k.gate.Darken(true)
		defer k.gate.Darken(false)
	}
	return k.installed.SetGate(k.rules(p))
}

// reinstall makes the table again where somebody has removed it, as a firewall's
// reload does that begins with `flush ruleset`.
func (k *Keeper) reinstall(ctx context.Context) error {
	exists, err := ruleset.Exists(k.Table)
	if exists || err != nil {
		return err
	}
	k.Log.Warn("somebody has removed the table: it is installed again", "table", k.Table)
	installed, err := k.Install()
	if err != nil {
		return err
	}
	k.installed, k.now = installed, plan{}
	return k.beginOwn(ctx)
}

// beginOwn opens the gate for the daemon's own rules before these queue anything:
// what they take is known from the configuration.
func (k *Keeper) beginOwn(ctx context.Context) error {
	if k.Own == nil {
		return nil
	}
	if p := k.planOwn(); p.active() {
		if err := k.apply(ctx, &p); err != nil {
			return err
		}
	}
	return k.installed.Attach()
}

// Mode is what the guard does now.
func (k *Keeper) Mode() vocabulary.GuardMode { return k.mode(&k.now) }

// mode is what the guard does under a plan.
func (k *Keeper) mode(p *plan) vocabulary.GuardMode {
	switch {
	case !k.wanted() || !p.active():
		return vocabulary.GuardOff
	case k.Guard.Mode == vocabulary.GuardDrop:
		return vocabulary.GuardDrop
	}
	return vocabulary.GuardHold
}

// say logs what was not said before.
func (k *Keeper) say(log func(string, ...any), notes ...string) {
	for _, n := range notes {
		if !k.said[n] {
			k.said[n] = true
			log(n)
		}
	}
}

// rulesPause is waited for after a change of rules before all are read: a
// firewall's reload is many changes.
const rulesPause = 100 * time.Millisecond

package guard

import (
	"context"
	"log/slog"
	"reflect"
	"time"

	"verdictd/daemon/internal/engine"
	"verdictd/daemon/internal/exposure"
	"verdictd/daemon/internal/gate/runner"
	"verdictd/daemon/internal/journal"
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
	// Repeats: the process has packets go through their chain once more. HandsOn are
	// queues to which it hands them on.
	Repeats bool
	HandsOn []uint16
	// Rules are what the table has while nothing is guarded; nil: there is no table.
	Rules *ruleset.Config
	// Manage is what is done where somebody else changes the table.
	Manage vocabulary.Manage
	// Report is told how the rules fare; nil: nobody is.
	Report Reporter
	// Lost counts packets that were gone when their verdicts came; nil: nobody knows.
	Lost func() uint64
	// Kept is what a process before this one has left, and what this one leaves; nil:
	// nothing.
	Kept *journal.Kept
}

// Keeper keeps a gate in step with the machine's rules.
type Keeper struct {
	Options

	installed *ruleset.Installed
	changes   *liverules.Watcher
	detached  bool // the verdict rules wait for the gate
	tracks    bool // the table has rules for verdicts that use conntrack, be they left over
	enforcer
	gate    *runner.Gate       // nil: there was nothing to guard so far
	foreign *ruleset.Settled   // the operator's
	listing *ruleset.Settled   // where flows are listed; nil: nowhere
	filled  statistics.Settled // that, as it was counted
	counted time.Time          // when it was
	hints   hints
	zones   []uint16 // that the gate is open for
	threads int      // that it has
	now     plan
	said    map[string]bool
	left    bool                  // the gate stays for who takes it over
	again   <-chan time.Time      // when to read the rules again
	behind  string                // why the rules were not followed when they were last read; empty: they were
	closed  statistics.GateThread // of gates that were closed, as the zones changed
}

// New makes a Keeper, which does nothing until Begin.
func New(o Options) *Keeper {
	if o.Judged == nil {
		o.Judged = func(uint16) (uint32, bool) { return 0, false }
	}
	if o.Report == nil {
		o.Report = unheard{}
	}
	return &Keeper{Options: o, installed: &ruleset.Installed{}, said: map[string]bool{}, enforcer: enforcer{pause: rulesPause}}
}

// Hints are for who judges packets, before Begin already.
func (k *Keeper) Hints() engine.Hints { return &k.hints }

// Kind is the queue statement's in the installed rules; empty: none are installed.
func (k *Keeper) Kind() ruleset.Kind { return k.installed.Kind() }

// wanted reports whether the configuration wants a gate where there is need.
func (k *Keeper) wanted() bool { return k.Guard.Mode != vocabulary.GuardOff }

// Begin opens the gate where there is need, makes the table or takes it over, and watches
// the rules.
func (k *Keeper) Begin(ctx context.Context) (err error) {
	if err := k.watch(ctx); err != nil {
		return err
	}
	if err := k.takeOver(ctx); err != nil {
		return err
	}
	if k.Rules != nil {
		exists, err := ruleset.Exists(k.Table)
		if err != nil {
			return err
		}
		// Nothing is queued until the gate is open. Rules that are there already go on.
		k.detached = !exists
		if err := k.begin(ctx); err != nil {
			return err
		}
	}
	if err := k.follow(ctx); err != nil {
		return err
	}
	if k.gate != nil && !k.now.active() {
		// What is held goes on; nothing comes to it any more.
		if err := k.close(); err != nil {
			return err
		}
	}
	for until := time.Now().Add(lightWithin); k.gate != nil && k.gate.Dark() && time.Now().Before(until); {
		time.Sleep(time.Millisecond)
	}
	return nil
}

// watch begins to watch the rules.
func (k *Keeper) watch(ctx context.Context) (err error) {
	if k.changes, err = liverules.Watch(ctx); err == nil {
		k.changes.Own(ruleset.Own)
		return nil
	}
	if k.changes = nil; k.wanted() {
		return err
	}
	k.Log.Warn("the rules are not watched: nobody is told where somebody else changes them", "error", err)
	return nil
}

// lightWithin bounds how long the start waits until the gate knows what was on its
// way when it began.
const lightWithin = 200 * time.Millisecond

// Serve follows the rules until the context ends or the gate cannot go on. Between two
// readings of them it runs what comes from calls, on its own goroutine.
func (k *Keeper) Serve(ctx context.Context, calls <-chan func()) error {
	for {
		select {
		case <-ctx.Done():
			return nil
		case call := <-calls:
			call()
		case err := <-k.failed():
			return err
		case <-k.changed():
			k.noticed()
		case <-k.look:
			k.look = nil
			k.enforce(ctx)
		case <-k.sweepAt:
			k.sweepAt = nil
			k.sweep()
		case <-k.lostAt:
			k.lostAt = nil
			k.sayLost()
		case <-k.ended():
			if err := k.rewatch(ctx); err != nil {
				return err
			}
		case <-k.again:
			k.again = nil
			k.keepUp(ctx)
			k.Report.Followed()
		}
	}
}

// keepUp follows the rules. What keeps it from that may pass without a change of rules, as where another program holds
// a number that the gate needs: it tries again.
func (k *Keeper) keepUp(ctx context.Context) {
	err := k.follow(ctx)
	switch {
	case err == nil && (k.behind == "" || k.touched || k.again != nil): // nothing was wrong, or it is not done yet
	case err == nil:
		k.Log.Info("the guard follows the rules again", "before", k.behind)
		k.behind = ""
	default:
		if text := err.Error(); text != k.behind {
			k.behind = text
			k.Log.Error("the guard cannot follow the rules: it stays as it is, and tries again", "error", err)
		}
		if k.again == nil {
			k.again = time.After(max(k.pause, followPause))
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
	began := time.Now()
	defer func() { k.pause = max(rulesPause, restFor*time.Since(began)) }()
	if !k.wanted() {
		if k.Operators != "" {
			rules, _ := liverules.Read(k.Table)
			k.report(rules)
		}
		return nil
	}
	if k.touched {
		return nil // the gate's own rules are not what they should be
	}
	p := k.makePlan(ctx)
	if p.incomplete && k.now.active() {
		k.again = time.After(k.pause) // rules that cannot be read now may be there still
		return nil
	}
	k.say(k.Log.Warn, p.Uncovered...)
	if k.gate != nil {
		k.gate.SetBehind(p.rounds, p.Apart)
	}
	if p.same(&k.now) {
		return nil
	}
	if !k.putBackFirst(ctx) {
		return nil // by this plan nothing would be guarded from when they are back until the next one
	}
	if !p.active() && k.now.active() && quiet(0) != nil {
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
	g := k.rules(p)
	return k.bring(&g)
}

// bring makes the table what it should be, with a gate; nil: there is nothing to guard.
func (k *Keeper) bring(g *ruleset.Gate) error {
	c := *k.Rules
	if g != nil && c.Gate != nil {
		c.Gate = g
	}
	c.Detached = k.detached
	overlapped, err := k.overlap(c)
	if err != nil {
		return err
	}
	change, err := k.installed.Apply(c)
	if overlapped {
		passed(passedWithin) // and only then counts what the rules say of queues behind each other
	}
	if err == nil {
		k.inOrder(&change)
	}
	return err
}

// begin makes the table, or takes it over, with a gate for what is known of it: the
// daemon's own rules from the configuration, before they queue anything, and those of
// others as they are.
func (k *Keeper) begin(ctx context.Context) error {
	var p plan
	switch {
	case !k.wanted():
	case k.Own != nil:
		p = k.planOwn()
	default:
		p = k.makePlan(ctx)
	}
	var err error
	if p.active() {
		err = k.apply(ctx, &p)
	} else if err = k.bring(nil); err == nil {
		k.now = p
	}
	if err != nil || !k.detached {
		return err
	}
	k.detached = false
	c := k.installed.Config()
	if c.Table == "" {
		return nil // neither rules nor a gate are wanted, and there is no table
	}
	c.Detached = false
	_, err = k.installed.Apply(c)
	return err
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

// rulesPause is waited for after a change of rules before all are read: a firewall's
// reload is many changes. Where there are so many rules that reading them takes long, it
// is more (restFor).
const (
	rulesPause = 100 * time.Millisecond
	restFor    = 4
	// followPause is before rules that could not be followed are read again, if they do not change.
	followPause = 2 * time.Second
)

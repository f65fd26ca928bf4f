package guard

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"verdictd/daemon/internal/exposure"
	"verdictd/internal/liverules"
	"verdictd/internal/ruleset"
	"verdictd/internal/vocabulary"
)

// A Reporter is told how the rules fare, which anybody may change.
type Reporter interface {
	// Rules tells whether a table is what it should be (owner verdictd), or whether the
	// operator's rules queue anything to this process (operator).
	Rules(owner, table string, present bool)
	// Changed tells that somebody else was found to have changed the daemon's table.
	Changed()
	// Restored tells that it was put back.
	Restored()
	// Followed tells that rules have changed, anybody's, and that the guard has followed.
	Followed()
	// BaseChainsDeleted tells of those of others: with each the kernel drops all packets
	// that wait in queues of the network namespace.
	BaseChainsDeleted(chains int)
}

// unheard is a Reporter for nobody.
type unheard struct{}

func (unheard) Rules(string, string, bool) {}
func (unheard) Changed()                   {}
func (unheard) Restored()                  {}
func (unheard) Followed()                  {}
func (unheard) BaseChainsDeleted(int)      {}

// Owners of rules, as a Reporter is told.
const (
	ownerSelf     = "verdictd"
	ownerOperator = "operator"
)

// enforcer is what the keeper knows of changes by others. Rules are looked at as soon as
// the kernel tells of a change, and put back at once: a packet that comes meanwhile is
// not judged.
type enforcer struct {
	intact  bool     // the table is what it should be
	touched bool     // somebody has changed it, and it is not put back
	seen    string   // differences that were said
	trouble string   // errors that were said
	fed     []string // the operator's rules that queue to this process

	looked  time.Time
	look    <-chan time.Time // when to compare the table
	pause   time.Duration    // before all rules are read again
	fight   fight
	sweepAt <-chan time.Time // when to try to take away what is left over
	lostAt  <-chan time.Time // when to say what base chains have cost
	lost    uint64           // of Lost, that has been said
}

const (
	// lookPause is at least between two looks at the table, as somebody may change rules
	// all the time.
	lookPause = 50 * time.Millisecond
	// sweepPause is between two attempts to take away what is left over.
	sweepPause = 5 * time.Second
	// answersCome bounds how long verdicts for packets that are gone are on their way.
	answersCome = time.Second
)

// Intact reports whether the daemon's table is what it should be, as far as it was
// looked at.
func (k *Keeper) Intact() bool { return k.intact }

// noticed notes that rules have changed.
func (k *Keeper) noticed() {
	if k.look == nil {
		k.look = time.After(max(0, lookPause-time.Since(k.looked)))
	}
	if k.again == nil {
		k.again = time.After(k.pause)
	}
}

// rewatch watches the rules again, where that has ended.
func (k *Keeper) rewatch(ctx context.Context) error {
	why := k.changes.Err()
	if ctx.Err() != nil || why == nil {
		return nil //nolint:nilerr // the context's end, which Serve sees too
	}
	k.Log.Warn("the watch over the rules has ended, and begins again", "error", why)
	if err := k.changes.Close(); err != nil {
		return err
	}
	if err := k.watch(ctx); err != nil {
		return fmt.Errorf("the rules are watched no more: %w", err)
	}
	k.noticed()
	return nil
}

// enforce compares the table with what it should be, and puts it back.
func (k *Keeper) enforce(ctx context.Context) {
	k.looked = time.Now()
	var changers []liverules.Changer
	if k.changes != nil {
		changers = k.changes.Changers()
	}
	by := names(changers)
	k.sayDeleted(changers)
	if k.Rules == nil {
		return
	}
	change, err := k.compare()
	switch {
	case err != nil:
		k.troubled("the table cannot be compared with what it should be", err, by)
		return
	case !change.Any():
		k.inOrder(&change)
		return
	}
	if text := strings.Join(change.Differences, "; "); text != k.seen || !k.touched {
		k.seen = text
		k.Report.Changed()
		k.Log.Warn("somebody has changed the daemon's rules", "table", k.Table, "differences", text, "by", by)
	}
	k.touched, k.intact = true, false
	k.present()
	if k.Manage == vocabulary.ManageObserve {
		return
	}
	if wait := k.fight.wait(k.looked); wait > 0 {
		k.look = time.After(wait)
		return
	}
	if err := k.restore(ctx, &change); err != nil {
		k.troubled("the rules cannot be put back", err, by)
		return
	}
	k.Report.Restored()
	next := k.fight.fought(k.looked)
	k.Log.Warn("the daemon's rules are put back", "table", k.Table, "after", time.Since(k.looked).Round(time.Microsecond))
	if next >= fightSaid {
		k.Log.Warn("another program changes the daemon's rules again and again: they are put back ever more rarely; have it leave table inet "+k.Table+
			" alone, or set rules.manage to observe", "by", by, "not_before", next)
	}
}

// putBackFirst enforces before the kernel has told of a change, where the table is to become another one, and reports
// whether there was nothing to do. What somebody has changed just now would else be mended as a part of that, which
// nobody would be told; and a plan for the gate may come from rules without the daemon's own.
func (k *Keeper) putBackFirst(ctx context.Context) bool {
	if change, err := k.compare(); err == nil && !change.Any() {
		return true
	}
	k.enforce(ctx)
	k.again = time.After(k.pause)
	return false
}

// compare reads the table while the gate lists no flows, so that one state is read.
func (k *Keeper) compare() (ruleset.Change, error) {
	if k.gate != nil {
		k.gate.PauseListing(true)
		defer k.gate.PauseListing(false)
	}
	return k.installed.Check()
}

// troubled says what cannot be done about the rules, and when it is tried again.
func (k *Keeper) troubled(what string, err error, by string) {
	k.touched, k.intact = true, false
	k.present()
	if text := what + err.Error(); text != k.trouble {
		k.trouble = text
		k.Log.Error(what, "table", k.Table, "error", err, "by", by)
	}
	k.look = time.After(k.fight.fought(time.Now()))
}

// restore puts back what somebody has changed. Packets that came meanwhile have met
// neither the gate nor a queue.
func (k *Keeper) restore(ctx context.Context, change *ruleset.Change) error {
	if k.gate != nil {
		k.gate.SetSettled(nil)
	}
	if k.gate != nil && k.now.active() {
		k.gate.Darken(true)
		defer k.gate.Darken(false)
	}
	if change.Made {
		// Conntrack may have gone with the rules of others, and no gate makes it active.
		return k.begin(ctx)
	}
	done, err := k.installed.Apply(k.installed.Config())
	if err != nil {
		return err
	}
	k.inOrder(&done)
	return k.settle()
}

// inOrder notes that the table is what it should be.
func (k *Keeper) inOrder(change *ruleset.Change) {
	if k.touched && !change.Any() {
		k.Log.Info("the daemon's rules are again what they should be", "table", k.Table)
	}
	k.touched, k.intact, k.seen, k.trouble = false, true, "", ""
	k.present()
	k.tracks = change.Tracks() || k.installed.Config().Tracks()
	if len(change.Leftovers) > 0 && k.sweepAt == nil {
		k.sweepAt = time.After(sweepPause)
	}
}

// sweep takes away what is left over in the table, when nothing is in any queue.
func (k *Keeper) sweep() {
	if quiet(0) != nil {
		k.sweepAt = time.After(sweepPause)
		return
	}
	if err := k.installed.Sweep(); err != nil {
		k.Log.Warn("chains that are used no more stay in the table", "error", err)
	}
}

// sayDeleted says what base chains of others have cost.
func (k *Keeper) sayDeleted(changers []liverules.Changer) {
	for _, c := range changers {
		if c.BaseChains > 0 {
			k.Report.BaseChainsDeleted(c.BaseChains)
			k.Log.Warn("somebody has deleted base chains: the kernel has dropped all packets that waited in queues of this network namespace",
				"chains", c.BaseChains, "by", c.String())
			if k.Lost != nil && k.lostAt == nil {
				k.lostAt = time.After(answersCome)
			}
		}
	}
}

// sayLost says how many packets were gone when their verdicts came.
func (k *Keeper) sayLost() {
	if total := k.Lost(); total > k.lost {
		k.Log.Warn("packets were gone when their verdicts came", "packets", total-k.lost, "since_start", total)
		k.lost = total
	}
}

// report tells how the operator's rules that queue to this process have changed.
func (k *Keeper) report(rules *liverules.Rules) {
	if k.Operators == "" || len(rules.Unread) > 0 {
		return
	}
	var fed []string
	for _, q := range rules.Queues {
		if !exposure.IsGate(q) && exposure.Touches(q.QueueStatement, k.Queues) && len(q.Reaches) > 0 {
			fed = append(fed, q.String())
		}
	}
	slices.Sort(fed)
	before := k.fed
	k.fed = fed
	k.present()
	switch {
	case slices.Equal(before, fed):
	case len(fed) == 0:
		k.Log.Warn("no rule queues packets to this daemon any more: they pass unjudged", "before", strings.Join(before, "; "))
	case before == nil:
		k.Log.Info("rules queue packets to this daemon", "rules", strings.Join(fed, "; "))
	default:
		k.Log.Info("the rules that queue packets to this daemon have changed", "rules", strings.Join(fed, "; "), "before", strings.Join(before, "; "))
	}
}

// present reports how things are.
func (k *Keeper) present() {
	if k.installed.Config().Table != "" {
		k.Report.Rules(ownerSelf, k.Table, k.intact)
	}
	if k.Operators != "" {
		k.Report.Rules(ownerOperator, k.Operators, len(k.fed) > 0)
	}
}

// names says who it was.
func names(changers []liverules.Changer) string {
	if len(changers) == 0 {
		return "unknown"
	}
	list := make([]string, len(changers))
	for i, c := range changers {
		list[i] = c.String()
	}
	return strings.Join(list, ", ")
}

package guard

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"verdictd/daemon/internal/childtest"
	"verdictd/daemon/internal/exposure"
	"verdictd/internal/config"
	"verdictd/internal/liverules"
	"verdictd/internal/ruleset"
	"verdictd/internal/testkit"
	"verdictd/internal/vocabulary"
)

// restores counts what a keeper tells of others' changes, on the keeper's goroutine.
type restores struct {
	unheard

	changed, restored int
}

func (r *restores) Changed()  { r.changed++ }
func (r *restores) Restored() { r.restored++ }

// TestPutBackFirst: where somebody removes the daemon's rules at the moment at which the guard is to follow the rules
// as they are, they are put back, and that is told, before any plan is made of what is there without them: a guard
// that followed first would find nothing to guard.
func TestPutBackFirst(t *testing.T) {
	const rounds = 12 // in half of them the keeper would follow first
	ns := testkit.Namespace(t)
	var log strings.Builder
	told := &restores{}
	k := New(optionsOfOutput(&log, told))
	childtest.NFT(t, ns, "table inet tracks { chain c { type filter hook output priority 0; ct state invalid; }; }") // so that there is need
	ctx, cancel := context.WithCancel(t.Context())
	calls, ended := make(chan func()), make(chan error, 1)
	go func() {
		ended <- ns.Do(func() error {
			if err := k.Begin(ctx); err != nil {
				return err
			}
			return k.Serve(ctx, calls)
		})
	}()
	on := func(f func()) { // the keeper's own goroutine, which does nothing else meanwhile
		t.Helper()
		done := make(chan struct{})
		select {
		case calls <- func() { defer close(done); f() }:
			<-done
		case err := <-ended:
			t.Fatal(err)
		}
	}
	for round := range rounds {
		on(func() {
			k.fight = fight{} // this is none
			childtest.NFT(t, ns, "table inet unrelated { chain c {}; }")
		})
		for soon := false; !soon; time.Sleep(time.Millisecond) {
			on(func() { soon = k.again != nil && k.look == nil })
		}
		on(func() {
			log.Reset()
			childtest.NFT(t, ns, "delete table inet "+k.Table)
			time.Sleep(rulesPause + 50*time.Millisecond) // by now it is to follow, and to look
		})
		over, good := false, false
		for until := time.Now().Add(20 * time.Second); !over; time.Sleep(time.Millisecond) {
			on(func() {
				off := k.Mode() == vocabulary.GuardOff
				over = off || told.restored > round || time.Now().After(until)
				good = !off && told.changed == round+1 && told.restored == round+1
			})
		}
		if !good {
			t.Errorf("round %d: a change of the rules is not told and put back at first; the log:\n%s", round, log.String())
			break
		}
	}
	cancel()
	if err := errors.Join(<-ended, ns.Do(func() error { return endOf(k) })); err != nil {
		t.Error(err)
	}
}

// optionsOfOutput are those of a daemon that judges UDP on its way out.
func optionsOfOutput(log io.Writer, report Reporter) Options {
	cfg := config.Default()
	cfg.Guard.Mode = vocabulary.GuardHold
	return Options{
		Guard: &cfg.Guard, Log: slog.New(slog.NewTextHandler(log, nil)), Table: cfg.Rules.Table, Report: report,
		Queues: []exposure.QueueRange{{First: 0, Last: 0}},
		Own:    &liverules.Selection{Families: []liverules.Family{liverules.IPv4, liverules.IPv6}, Protocols: []liverules.Protocol{unix.IPPROTO_UDP}},
		Rules: &ruleset.Config{
			Table: cfg.Rules.Table, Placement: vocabulary.PlacementOutput, Fanout: vocabulary.FanoutBalance, Queues: 1, Bypass: true,
			IPv4: true, IPv6: true, Protocols: []uint8{unix.IPPROTO_UDP},
			Gate: &ruleset.Gate{FirstQueue: cfg.Guard.FirstQueue, Queues: uint16(max(cfg.Guard.Queues, 1))},
		},
		Manage: vocabulary.ManageEnforce,
	}
}

// endOf ends a keeper as a service does.
func endOf(k *Keeper) error {
	k.End()
	if err := k.Detach(); err != nil {
		return err
	}
	return k.Stop()
}

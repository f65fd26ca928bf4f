package guard

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"verdictd/daemon/internal/childtest"
	"verdictd/daemon/internal/exposure"
	"verdictd/internal/config"
	"verdictd/internal/liverules"
	"verdictd/internal/netlab"
	"verdictd/internal/ruleset"
	"verdictd/internal/testkit"
	"verdictd/internal/vocabulary"
)

// served is a keeper at work. What it tells is its own goroutine's to read.
type served struct {
	unheard
	*Keeper

	t                 *testing.T
	ns                *netlab.NetNS
	log               strings.Builder
	changed, restored int
	calls             chan func()
	ended             chan error
	cancel            context.CancelFunc
}

func (s *served) Changed()  { s.changed++ }
func (s *served) Restored() { s.restored++ }

// serve has a keeper guard what a daemon judges, which is UDP on its way out, where something else tracks connections.
func serve(t *testing.T) *served {
	t.Helper()
	return serveWith(t, func(*Options) {})
}

// serveWith is serve with other options.
func serveWith(t *testing.T, change func(*Options)) *served {
	t.Helper()
	s := &served{t: t, ns: testkit.Namespace(t), calls: make(chan func()), ended: make(chan error, 1)}
	childtest.NFT(t, s.ns, "table inet tracks { chain c { type filter hook output priority 0; ct state invalid; }; }")
	o := optionsOfOutput(&s.log, s)
	change(&o)
	s.Keeper = New(o)
	var ctx context.Context
	ctx, s.cancel = context.WithCancel(t.Context())
	go func() {
		s.ended <- s.ns.Do(func() error {
			if err := s.Begin(ctx); err != nil {
				return err
			}
			return s.Serve(ctx, s.calls)
		})
	}()
	return s
}

// optionsOfOutput are those of a daemon that judges UDP on its way out.
func optionsOfOutput(log io.Writer, report Reporter) Options {
	cfg := config.Default()
	cfg.Guard.Mode = vocabulary.GuardHold
	cfg.Guard.Queues = 1 // however many queues rules fill
	return Options{
		Guard: &cfg.Guard, Log: slog.New(slog.NewTextHandler(log, nil)), Table: cfg.Rules.Table, Report: report,
		Queues: []exposure.QueueRange{{First: 0, Last: 0}},
		Own: &liverules.Selection{
			Families: []liverules.Family{liverules.IPv4, liverules.IPv6}, Protocols: []liverules.Protocol{unix.IPPROTO_UDP},
		},
		Rules: &ruleset.Config{
			Table: cfg.Rules.Table, Placement: vocabulary.PlacementOutput, Fanout: vocabulary.FanoutBalance, Queues: 1, Bypass: true,
			IPv4: true, IPv6: true, Protocols: []uint8{unix.IPPROTO_UDP},
			Gate: &ruleset.Gate{FirstQueue: cfg.Guard.FirstQueue, Queues: uint16(max(cfg.Guard.Queues, 1))},
		},
		Manage: vocabulary.ManageEnforce,
	}
}

// on runs f on the keeper's goroutine, which does nothing else meanwhile.
func (s *served) on(f func()) {
	s.t.Helper()
	done := make(chan struct{})
	select {
	case s.calls <- func() { defer close(done); f() }:
		<-done
	case err := <-s.ended:
		s.t.Fatal(err)
	}
}

// remove removes the keeper's table, as another program does.
func (s *served) remove() { childtest.NFT(s.t, s.ns, "delete table inet "+s.Table) }

// aboutToFollow returns when the keeper has seen a change of others' rules, and has yet to follow it.
func (s *served) aboutToFollow() {
	s.t.Helper()
	for change, until := true, time.Now().Add(20*time.Second); time.Now().Before(until); time.Sleep(time.Millisecond) {
		soon := false
		s.on(func() {
			if change {
				childtest.NFT(s.t, s.ns, "table inet unrelated { chain c {}; }")
			}
			pending := s.again != nil
			soon, change = pending && s.look == nil, !pending && s.look == nil // on a busy machine the moment is past
			s.fight = fight{}                                                  // this is none
		})
		if soon {
			return
		}
	}
	s.t.Fatal("the keeper sees no change of others' rules")
}

// end ends the keeper as a service does.
func (s *served) end() {
	s.t.Helper()
	s.cancel()
	if err := errors.Join(<-s.ended, s.ns.Do(func() error { s.End(); return errors.Join(s.Detach(), s.Stop()) })); err != nil {
		s.t.Error(err)
	}
}

// TestPutBackFirst: where somebody removes the daemon's rules at the moment at which the guard is to follow the rules
// as they are, they are put back, and that is told, before any plan is made of what is there without them: a guard
// that followed first would find nothing to guard.
func TestPutBackFirst(t *testing.T) {
	const rounds = 12 // in half of them the keeper would follow first
	s := serve(t)
	for round := range rounds {
		s.aboutToFollow()
		s.on(func() {
			s.log.Reset()
			s.remove()
			time.Sleep(rulesPause + 50*time.Millisecond) // by now it is to follow, and to look
		})
		over, good := false, false
		for until := time.Now().Add(20 * time.Second); !over; time.Sleep(time.Millisecond) {
			s.on(func() {
				off := s.Mode() == vocabulary.GuardOff
				over = off || s.restored > round || time.Now().After(until)
				good = !off && s.changed == round+1 && s.restored == round+1
			})
		}
		if !good {
			t.Errorf("round %d: a change of the rules is not told and put back at first; the log:\n%s", round, s.log.String())
			break
		}
	}
	s.end()
}

// TestPutBackBeforeChange: what somebody has changed just before a reload is told, though the reload would mend it.
func TestPutBackBeforeChange(t *testing.T) {
	s := serve(t)
	s.on(func() {
		s.remove()
		err := s.Change(t.Context(), func(to *Options) { to.Rules.DestinationPorts = []uint16{5300} })
		if err != nil || s.changed != 1 || s.restored != 1 {
			t.Errorf("%v, %d changes told, %d put back, want 1; the log:\n%s", err, s.changed, s.restored, s.log.String())
		}
	})
	s.end()
}

// TestPinnedWhenNeeded: a gate that is open already keeps its threads on their CPUs from when rules fill queues by the
// CPU, as packets of one flow would come to another queue when a thread moved; and no longer.
func TestPinnedWhenNeeded(t *testing.T) {
	if len(allowedCPUs()) < 2 {
		t.Skip("one CPU")
	}
	s := serve(t)
	await := func(what string, want bool) {
		t.Helper()
		for until := time.Now().Add(20 * time.Second); ; time.Sleep(5 * time.Millisecond) {
			all := childtest.Affinities(t, os.Getpid())
			if slices.ContainsFunc(all, func(cpus string) bool { return !strings.ContainsAny(cpus, ",-") }) == want {
				return
			}
			if time.Now().After(until) {
				t.Fatalf("%s: threads run on %v", what, all)
			}
		}
	}
	await("one queue", false)
	const rule = "OUTPUT -t mangle -p udp -m multiport --dports 5300 -j NFQUEUE --queue-balance 0:1 --queue-cpu-fanout"
	childtest.Shell(t, s.ns, "iptables -A "+rule)
	await("queues by CPU", true)
	childtest.Shell(t, s.ns, "iptables -D "+rule)
	await("one queue again", false)
	s.end()
}

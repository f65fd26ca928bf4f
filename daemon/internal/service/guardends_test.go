package service

import (
	"errors"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/google/nftables"

	"verdictd/internal/config"
	"verdictd/internal/nfq"
	"verdictd/internal/ruleset"
	"verdictd/internal/testkit"
)

// TestGuardTakesOver: what a guard that was killed has left is no hindrance, whether
// it had something to guard or not.
func TestGuardTakesOver(t *testing.T) {
	for name, active := range map[string]bool{"active": true, "idle": false} {
		t.Run(name, func(t *testing.T) {
			ns := testkit.Namespace(t)
			judge(t, ns, foreign, slow)
			queueChain(t, "foreign", nftables.ChainHookOutput, -150, foreign)
			cfg := config.Default()
			left := gateRules(guardTable, &cfg.Guard)
			if active {
				left.Gate.Traffic = []ruleset.Traffic{{IPv4: true, Protocols: []uint8{17}}}
			}
			if _, err := ruleset.Install(left); err != nil {
				t.Fatal(err)
			}
			if n := burst(t, loopback, 1); n != 4 {
				t.Errorf("%d of 4 packets arrived while nobody served the gate's queue", n)
			}
			g := startGuard(t, ns, cfg)
			guarded(t, 10)
			s := g.stop()
			checkGuard(t, &s)
			if text := gateText(t, ns); text != "" {
				t.Errorf("the guard has left:\n%s", text)
			}
		})
	}
}

// TestSecondGuard is refused, and leaves the first one alone.
func TestSecondGuard(t *testing.T) {
	ns := testkit.Namespace(t)
	judge(t, ns, foreign, slow)
	queueChain(t, "foreign", nftables.ChainHookOutput, -150, foreign)
	g := startGuard(t, ns, config.Default())
	if err := RunGuard(t.Context(), config.Default(), nil, options(discard)); err == nil || !strings.Contains(err.Error(), guardTable) {
		t.Errorf("the second guard: %v, want an error that names the table", err)
	}
	guarded(t, 10)
	s := g.stop()
	checkGuard(t, &s)
}

// TestGateQueueTaken: the error names the queue and who has it, and nothing stays.
func TestGateQueueTaken(t *testing.T) {
	ns := testkit.Namespace(t)
	cfg := config.Default()
	judge(t, ns, cfg.Guard.FirstQueue, 0)
	queueChain(t, "foreign", nftables.ChainHookOutput, -150, foreign)
	err := RunGuard(t.Context(), cfg, nil, options(discard))
	var inUse *nfq.InUseError
	if !errors.As(err, &inUse) || inUse.Queue != cfg.Guard.FirstQueue {
		t.Errorf("%v, want an InUseError", err)
	}
	if text := gateText(t, ns); text != "" {
		t.Errorf("the guard has left:\n%s", text)
	}
}

// TestGuardStopsUnderLoad: packets that are held, and those behind them, arrive in
// order, and clash no more than without the guard. The one flow that is being sent just
// as the gate's rules go may overtake what of it is in the gate's queue still.
func TestGuardStopsUnderLoad(t *testing.T) {
	ns := testkit.Namespace(t)
	judge(t, ns, foreign, 100*time.Microsecond)
	queueChain(t, "foreign", nftables.ChainHookOutput, -150, foreign)
	g := startGuard(t, ns, config.Default())
	st := newStream(t, ns)
	time.Sleep(200 * time.Millisecond)
	n := clashes(t)
	s := g.stop()
	st.moves++
	if !g.said.has("stays, empty") {
		st.dropped = 8 // the stream had a pause, as a busy machine has, and went on as the table went: docs/limits.md
	}
	time.Sleep(50 * time.Millisecond)
	st.stop()
	if n != 0 || s.Gate.Total.Held == 0 || s.Gate.Total.Unguarded+s.Gate.Total.VerdictErrors != 0 {
		t.Errorf("%d clashes before the stop; gate %+v", n, s.Gate.Total)
	}
}

// TestGuardLeavesWhatWaits: with a base chain the kernel would drop what waits in any
// queue, so the table stays as long as a program that stands still holds packets.
func TestGuardLeavesWhatWaits(t *testing.T) {
	ns := testkit.Namespace(t)
	q, err := nfq.OpenMmsg(nfq.Config{Queue: foreign})
	if err != nil {
		t.Fatal(err)
	}
	queueChain(t, "foreign", nftables.ChainHookOutput, -150, foreign)
	cfg := config.Default()
	cfg.Guard.Hold = 100 * time.Millisecond
	g := startGuard(t, ns, cfg)
	to := netip.AddrPortFrom(loopback, port)
	in, out := listen(t, ns, to), dial(t, ns, to)
	write(t, out, "one", "two")
	time.Sleep(50 * time.Millisecond)
	s := g.stop()
	if text := gateText(t, ns); !emptyBases(text) || !g.said.has("stays, empty") {
		t.Errorf("the guard has left, and should leave base chains alone:\n%s", text)
	}
	if s.Gate.Total.Unguarded+s.Gate.Total.Expired == 0 {
		t.Errorf("gate: %+v; want what was held at the stop to be let go", s.Gate.Total)
	}
	go func() {
		_ = q.Run(func(b *nfq.Batch) error {
			for i := range b.Packets {
				if err := q.Reply(&nfq.Reply{ID: b.Packets[i].ID, Queue: b.Packets[i].Queue, Verdict: nfq.Accept}); err != nil {
					return err
				}
			}
			return q.Flush()
		})
		_ = q.Close()
	}()
	want(t, in, "one", "two")
	g = startGuard(t, ns, config.Default())
	g.stop()
	if text := gateText(t, ns); text != "" {
		t.Errorf("the next guard has left:\n%s", text)
	}
	_ = q.Stop()
}

// emptyBases reports whether the gate's base chains are there, without rules.
func emptyBases(text string) bool {
	for _, name := range []string{"gate-output", "gate-prerouting", "settled-output", "settled-prerouting"} {
		_, chain, found := strings.Cut(text, "chain "+name+" {\n")
		body, _, _ := strings.Cut(chain, "\t}\n")
		if !found || strings.Count(body, "\n") != 1 {
			return false
		}
	}
	return true
}

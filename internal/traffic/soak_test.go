package traffic

import (
	"context"
	"errors"
	"net/netip"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"verdictd/internal/netlab"
)

func TestRoundsCoverTheWholeTime(t *testing.T) {
	for _, tt := range []struct {
		rate     float64
		duration time.Duration
		want     int
	}{{200, time.Minute, 1}, {200, 5 * time.Minute, 1}, {200, 24 * time.Hour, 288}, {100_000, time.Minute, 100}} {
		if got := MixRounds(&MixConfig{Rate: tt.rate, Duration: tt.duration}); got != tt.want {
			t.Errorf("%v flows a second for %v: %d rounds, want %d", tt.rate, tt.duration, got, tt.want)
		}
	}
}

// What rounds saw is added up, and a short mix is one round with the flows of its seed.
func TestRoundsAddUp(t *testing.T) {
	cfg, _ := mixOverLoopback(t)
	cfg.Rate = 400
	var shapes []MixShape
	halted := errors.New("enough")
	first, err := RunMix(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	var total MixResult
	total.Add(first)
	total.Add(first)
	if total.Shape.Flows != 2*first.Shape.Flows || total.Sum().Sent != 2*first.Sum().Sent ||
		total.EchoSent != 2*first.EchoSent ||
		!slices.Equal(total.Targets[0].ReceivedFrom, first.Targets[0].ReceivedFrom) || len(total.Violations()) != 0 ||
		total.Targets[0].Address != cfg.Targets[0].Address || *total.Targets[0].ReceiverDropped != 0 {
		t.Errorf("twice %+v is %+v", first, total)
	}
	res, err := RunRounds(t.Context(), cfg, func(n int, sofar *MixResult) error {
		shapes = append(shapes, sofar.Shape)
		if n != len(shapes) {
			t.Errorf("round %d after %d", n, len(shapes))
		}
		return halted
	})
	if !errors.Is(err, halted) || len(shapes) != 1 || res.Shape != first.Shape {
		t.Errorf("the one round has %+v, RunMix %+v (%v)", shapes, first.Shape, err)
	}
}

func TestSoakPasses(t *testing.T) {
	mix, _ := mixOverLoopback(t)
	cfg := DefaultSoak()
	cfg.Mix = mix
	cfg.WatchPIDs = []int{os.Getppid()}
	rounds := 0
	res, err := RunSoak(t.Context(), cfg, func(n int, _ *MixResult) error { rounds = n; return nil })
	if err != nil {
		t.Fatal(err)
	}
	if len(res.Violations) != 0 || res.Rounds != 1 || rounds != 1 || res.Sum().Sent == 0 || res.Interrupted {
		t.Errorf("%q: %+v", res.Violations, res)
	}
	if w := res.Watched; len(w) != 1 || w[0].PID != os.Getppid() || w[0].Samples < 2 || w[0].Memory.End == 0 {
		t.Errorf("watched %+v", w)
	}
}

func quietly(int, *MixResult) error { return nil }

// A soak in which something is lost says what.
func TestSoakFails(t *testing.T) {
	mix, ns := mixOverLoopback(t)
	if _, err := ns.DropAtRandom(netlab.HookInput, 9, 4); err != nil {
		t.Fatal(err)
	}
	cfg := DefaultSoak()
	cfg.Mix = mix
	cfg.Mix.Duration, cfg.Mix.Linger = 500*time.Millisecond, 500*time.Millisecond
	res, err := RunSoak(t.Context(), cfg, quietly)
	if err != nil {
		t.Fatal(err)
	}
	if len(res.Violations) != 1 || !strings.HasSuffix(res.Violations[0], "packets lost") {
		t.Errorf("%q, want one about the packets that the rule dropped", res.Violations)
	}
}

func TestSoakJudges(t *testing.T) {
	for want, spoil := range map[string]func(*SoakResult){
		"1 packets lost":               func(r *SoakResult) { r.Targets[0].Sent = 1 },
		"1 replies lost":               func(r *SoakResult) { r.EchoSent = 1 },
		"2 packets duplicated":         func(r *SoakResult) { r.Targets[0].Duplicated = 2 },
		"3 packets reordered":          func(r *SoakResult) { r.EchoCounts.Reordered = 3 },
		"4 packets corrupted":          func(r *SoakResult) { r.Targets[1].Corrupted = 4 },
		"5 packets left from another":  func(r *SoakResult) { r.Targets[1].SourcesChanged = 5 },
		"6 sends refused (EPERM)":      func(r *SoakResult) { r.SendErrors["EPERM"] = 6 },
		"7 packets dropped at the rec": func(r *SoakResult) { n := uint64(7); r.Targets[1].ReceiverDropped = &n },
		"live objects are left":        func(r *SoakResult) { r.After.Heap = 100 << 20 },
		"1 descriptors are left open":  func(r *SoakResult) { r.After.Descriptors = 1 },
		"verdictd (process 4) ended":   func(r *SoakResult) { r.Watched[0].Ended = true },
		"grew from 0 to 102400 KiB":    func(r *SoakResult) { r.Watched[0].Memory.End = 100 << 20 },
		"has 17 descriptors open":      func(r *SoakResult) { r.Watched[0].Descriptors.End = 17 },
	} {
		r := SoakResult{
			Config:    DefaultSoak(),
			MixResult: MixResult{Targets: make([]MixTargetResult, 2), SendErrors: map[string]uint64{}},
			Watched:   []Process{{PID: 4, Name: "verdictd"}},
		}
		r.Targets[1].Lossy, r.Targets[1].Sent = true, 9 // none of which arrived
		r.judge()
		if len(r.Violations) != 0 {
			t.Fatalf("without a fault: %q", r.Violations)
		}
		spoil(&r)
		r.judge()
		if len(r.Violations) != 1 || !strings.Contains(r.Violations[0], want) {
			t.Errorf("%q, want one with %q", r.Violations, want)
		}
	}
}

func TestSoakInterrupted(t *testing.T) {
	mix, _ := mixOverLoopback(t)
	cfg := DefaultSoak()
	cfg.Mix = mix
	cfg.Mix.Duration = time.Hour
	ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
	defer cancel()
	res, err := RunSoak(ctx, cfg, quietly)
	if !errors.Is(err, ErrInterrupted) || res == nil || !res.Interrupted || len(res.Violations) != 0 {
		t.Errorf("%+v, %v", res, err)
	}
}

func TestSoakValidates(t *testing.T) {
	cfg := SoakConfig{WatchPIDs: []int{0}, DescriptorGrowth: -1}
	a := netip.MustParseAddr("192.0.2.1")
	cfg.Mix.Sources4 = []netip.Addr{a, a}
	target := MixTarget{Address: netip.AddrPortFrom(a, 9)}
	cfg.Mix.Targets = []MixTarget{target, target}
	_, err := RunSoak(t.Context(), cfg, quietly)
	for _, want := range []string{"rate 0", "process 0", "memory growth 0", "descriptor growth -1",
		"source 192.0.2.1: given twice", "target 192.0.2.1:9: given twice"} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want %q among the problems", err, want)
		}
	}
	cfg = DefaultSoak()
	cfg.Mix.Targets, cfg.Mix.Sources4 = []MixTarget{target}, []netip.Addr{a}
	cfg.WatchPIDs = []int{1 << 30}
	if _, err := RunSoak(t.Context(), cfg, quietly); err == nil || !strings.Contains(err.Error(), "there is none") {
		t.Errorf("%v, want that there is no such process", err)
	}
}

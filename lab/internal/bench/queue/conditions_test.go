package queue

import (
	"slices"
	"strings"
	"testing"

	"verdictd/internal/config"
)

// TestChosen: each case has its own floor, by which its ratios are shown, and no name is there twice.
func TestChosen(t *testing.T) {
	if got := names(chosen(nil)); !slices.Equal(got, Names()) {
		t.Errorf("without a case: %v", got)
	}
	all := chosen(CaseNames())
	list := names(all)
	for i, name := range list {
		if slices.Contains(list[:i], name) {
			t.Errorf("%s is there twice", name)
		}
	}
	sizes := chosen([]string{"sizes"})
	if floorOf(sizes) != "1400B:floor" || len(sizes) != 2*len(ofEachCase) {
		t.Errorf("sizes: %v", names(sizes))
	}
	for _, r := range ratiosOf(sizes) {
		if over, _, _ := strings.Cut(r.Over, ":"); !strings.HasPrefix(r.Under, over+":") {
			t.Errorf("%v compares different sizes", r)
		}
	}
	if n := len(ratiosOf(sizes)); n != 6 {
		t.Errorf("%d ratios of two sizes, want 6", n)
	}
}

// TestCopied: by itself verdictd has as much copied as it looks at, and others all. With a number, and in cases of
// equal copies, everybody has the same.
func TestCopied(t *testing.T) {
	for _, test := range []struct {
		run, of int
		want    config.CopyRange
	}{{0, 0, config.CopyAuto}, {100, 0, 100}, {0, whole, whole}, {100, headers, headers}} {
		b := &comparison{window: 256, payload: 64, cpus: []int{0}, copied: test.run}
		c, err := b.configure(&variant{at: conditions{copied: test.of}}, "")
		if err != nil || c.Queues.CopyRange != test.want {
			t.Errorf("%+v: %v, %v", test, c.Queues.CopyRange, err)
		}
	}
}

// TestConditions: what a variant says goes before the run's settings, and buffers and queues have room for the window.
func TestConditions(t *testing.T) {
	b := &comparison{window: 256, payload: 64, cpus: []int{3, 5}}
	at := b.under(&variant{at: conditions{window: 32_000, queues: 2}})
	if at.window != 32_000 || at.payload != 64 || at.queues != 2 || at.family != "ipv4" || at.maxLength() != 64_000 {
		t.Errorf("%+v", at)
	}
	const usual = 8 << 20
	if got := at.receiveBuffer(usual); got < 32_000*1024 {
		t.Errorf("%d bytes for 32,000 packets", got)
	}
	at.window = 64
	if got := at.receiveBuffer(usual); got != usual {
		t.Errorf("%d bytes for 64 packets", got)
	}
	if pins := b.pins(2); !slices.Equal(pins, []int{5}) {
		t.Errorf("queues are on %v of %v", pins, b.cpus)
	}
	if alone := (&comparison{cpus: []int{3}}); alone.loadCPU() != 3 || alone.daemonCPU() != 3 {
		t.Error("one CPU is not shared")
	}
}

// TestQueueFairness: flows of one queue are taken together, however many there are.
func TestQueueFairness(t *testing.T) {
	l := &pacedLoad{arrived: []int{100, 80, 30, 60}}
	if got := l.queueFairness([]int{0, 0, 1, 1}); got != 0.5 {
		t.Errorf("%v, want 0.5: 45 of 90", got)
	}
	if got := l.queueFairness(nil); got != 1 {
		t.Errorf("one queue: %v", got)
	}
	l.arrived = make([]int, 4)
	if got := l.queueFairness([]int{0, 0, 1, 1}); got != 1 {
		t.Errorf("nothing: %v", got)
	}
}

package queue

import (
	"slices"
	"strings"
	"testing"
)

// TestDisturbed: a round in which the floor took a quarter more than in its cheapest one counts for nobody.
func TestDisturbed(t *testing.T) {
	var samples []sample
	for round, took := range []float64{1.6, 1.7, 2.1, 1.9, 1.5} {
		samples = append(samples, sample{Round: round + 1, Variant: floorVariant, CPUPerPacket: took},
			sample{Round: round + 1, Variant: "mmsg", CPUPerPacket: 3})
	}
	// One that failed tells nothing of its round.
	samples = append(samples, sample{Round: 6, Variant: floorVariant, CPUPerPacket: 9, Invalid: "lost some"})
	if n := markDisturbed(samples, floorVariant); n != 2 {
		t.Errorf("%d rounds were disturbed, want 2", n)
	}
	var marked []int
	for i := range samples {
		if samples[i].Disturbed != "" {
			marked = append(marked, samples[i].Round)
		}
	}
	if want := []int{3, 3, 4, 4}; !slices.Equal(marked, want) {
		t.Errorf("rounds %v are marked, want %v", marked, want)
	}
	b := Result{}
	b.Samples = samples
	b.judge(variants, nil, nil)
	for i := range b.Variants {
		if v := &b.Variants[i]; v.Variant == "mmsg" && v.ValidRounds != 3 {
			t.Errorf("%d rounds of mmsg count, want 3", v.ValidRounds)
		}
	}
	if !strings.Contains(strings.Join(b.Notes, "\n"), "2 rounds were disturbed") {
		t.Errorf("notes: %q", b.Notes)
	}
}

package queue

import (
	"math"
	"strings"
	"testing"

	"verdictd/lab/internal/bench"
)

// medians is a summary with these medians.
func medians(name string, cpu, path float64) *summary {
	of := func(x float64) *bench.Spread { return &bench.Spread{Median: x} }
	return &summary{Variant: name, CPUPerPacket: of(cpu), PathCPUPerPacket: of(path)}
}

// TestModel: 2 us of the program and 1 of the stack, a tenth more with 8 queues, and 8 and 12 where each packet is a
// flow.
func TestModel(t *testing.T) {
	m := newModel(medians("queues=1", 2, 3), medians("queues=8", 2.2, 3.2), medians(newFlows, 8, 20))
	if m.PerQueue != 400_000 || m.QueuesCovered != 8 || math.Abs(m.QueuesFactor-1.1) > 1e-9 || len(m.Rows) != 6 {
		t.Fatalf("%+v", m)
	}
	// 2.2 cores are three queues of 0.8, and the stack's one core two.
	if r := m.Rows[0]; r.Queues != 3 || r.Cores != 5 || r.First != "queues" {
		t.Errorf("a million settled packets: %+v", r)
	}
	if r := m.Rows[1]; r.Kind != newFlows || r.First != "stack" || math.Abs(r.ProgramCores-8.8) > 1e-9 ||
		math.Abs(r.StackCores-12) > 1e-9 {
		t.Errorf("a million new flows: %+v", r)
	}
	var text strings.Builder
	if err := m.writeText(&text); err != nil || !strings.Contains(text.String(), "10000000") {
		t.Errorf("%v:\n%s", err, &text)
	}
	if newModel(nil, nil, nil) != nil || newModel(&summary{}, nil, nil) != nil {
		t.Error("a model of nothing")
	}
}

package guard

import (
	"slices"
	"testing"

	"verdictd/daemon/internal/exposure"
	"verdictd/internal/config"
	"verdictd/internal/liverules"
	"verdictd/internal/nfq"
	"verdictd/internal/testkit"
)

// TestNumbers: a program's queue beside the gate's is not taken for one of them.
func TestNumbers(t *testing.T) {
	for name, test := range map[string]struct {
		queues, threads int
		zones           []liverules.Zone
		last            uint16
	}{
		"one":            {0, 0, nil, 101},
		"configured":     {3, 1, nil, 105},
		"by CPU":         {0, 4, nil, 107},
		"zones":          {0, 0, []liverules.Zone{{ID: 5}, {ID: 7}, {ID: 5}, {Computed: true}}, 105},
		"zones, threads": {2, 0, []liverules.Zone{{ID: 5}}, 107},
	} {
		g := config.Default().Guard
		g.FirstQueue, g.Queues = 100, test.queues
		k := New(Options{Guard: &g})
		k.threads = test.threads
		if got, want := k.numbers(&liverules.Rules{Zones: test.zones}), (exposure.QueueRange{First: 100, Last: test.last}); got != want {
			t.Errorf("%s: %v, want %v", name, got, want)
		}
	}
}

// TestNumbersTaken: a queue that another program holds is not taken for the gate's, though a zone would have it be one.
func TestNumbersTaken(t *testing.T) {
	testkit.Namespace(t)
	q, err := nfq.OpenMmsg(nfq.Config{Queue: 102})
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := q.Close(); err != nil {
			t.Error(err)
		}
	}()
	for numbers, want := range map[exposure.QueueRange][]exposure.QueueRange{
		{First: 100, Last: 101}: {{First: 100, Last: 101}},
		{First: 100, Last: 102}: {{First: 100, Last: 101}},
		{First: 100, Last: 104}: {{First: 100, Last: 101}, {First: 103, Last: 104}},
		{First: 102, Last: 103}: {{First: 103, Last: 103}},
		{First: 102, Last: 102}: nil,
	} {
		if got := New(Options{}).notTaken(numbers); !slices.Equal(got, want) {
			t.Errorf("%v: %v, want %v", numbers, got, want)
		}
	}
}

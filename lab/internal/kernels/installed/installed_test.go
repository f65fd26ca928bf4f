package installed

import (
	"strings"
	"testing"

	"verdictd/internal/traffic"
)

// whole is a ledger of a run in which nothing went wrong.
func whole() *ledger {
	var r ledger
	r.accepted.FloodArrivals, r.dropped.FloodArrivals = &traffic.FloodArrivals{}, &traffic.FloodArrivals{}
	r.accepted.Sent, r.accepted.Delivered, r.dropped.Sent, r.dropped.Lost = 100, 100, 50, 50
	r.accepted.Clashes = new(uint64)
	r.mixed.Targets = []traffic.MixTargetResult{{}}
	r.mixed.Targets[0].Sent = 10
	return &r
}

func TestLedger(t *testing.T) {
	if text, err := whole().judge(); err != nil || !strings.Contains(text, "of 50 to be dropped 0 unjudged") {
		t.Errorf("%q, %v", text, err)
	}
	for what, spoil := range map[string]func(*ledger){
		"100 packets 1 lost": func(r *ledger) { r.accepted.Lost = 1 },
		"2 duplicated":       func(r *ledger) { r.accepted.Duplicated = 2 },
		"3 reordered":        func(r *ledger) { r.accepted.Reordered = 3 },
		"4 unjudged":         func(r *ledger) { r.dropped.Delivered = 4 },
		"5 clashes":          func(r *ledger) { *r.accepted.Clashes = 5 },
		"6 packets lost":     func(r *ledger) { r.mixed.Violations = []string{"6 packets lost"} },
		"has not said":       func(r *ledger) { r.dropped.FloodArrivals = nil },
		"nothing was sent":   func(r *ledger) { r.mixed.Targets[0].Sent = 0 },
	} {
		r := whole()
		spoil(r)
		if _, err := r.judge(); err == nil || !strings.Contains(err.Error(), what) {
			t.Errorf("%v, want it to say %q", err, what)
		}
	}
}

func TestValidate(t *testing.T) {
	if err := (&Load{Rate: 1, Gap: 1}).Validate(); err != nil {
		t.Error(err)
	}
	for _, l := range []Load{{}, {Rate: 1, Gap: 1, Kills: -1}, {Rate: 1}} {
		if l.Validate() == nil {
			t.Errorf("%+v is taken", l)
		}
	}
}

//go:build !race

package nfq_test

import (
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"verdictd/internal/nfnl"
	"verdictd/internal/nfq"
	"verdictd/internal/testkit"
)

// TestNoAllocation is off under the race detector, which allocates itself.
func TestNoAllocation(t *testing.T) {
	testkit.Namespace(t)
	refused := 0
	q := openMmsg(t, nfq.Config{OnRefused: func(uint32, uint32, unix.Errno) { refused++ }})
	wake, err := nfnl.NewAlarm()
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = wake.Close() }()
	turn := func() {
		for id := range uint32(64) {
			if err := q.Reply(&nfq.Reply{ID: id, Verdict: nfq.Accept, Tag: id, SetMark: id == 5}); err != nil {
				t.Fatal(err)
			}
		}
		if err := q.Flush(); err != nil {
			t.Fatal(err)
		}
		for _, wait := range []time.Duration{0, 0, time.Microsecond} {
			if _, err := q.Next(wake, wait); err != nil {
				t.Fatal(err)
			}
		}
		wake.Ring()
		wake.Reset()
	}
	turn()
	if allocs := testing.AllocsPerRun(100, turn); allocs != 0 {
		t.Errorf("%v allocations for 64 verdicts, their refusals and three receives", allocs)
	}
	if refused < 64*100 {
		t.Errorf("%d refusals", refused)
	}
}

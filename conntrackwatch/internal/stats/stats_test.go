package stats

import (
	"bytes"
	"strings"
	"testing"
	"time"

	"verdictd/internal/cli"
	"verdictd/internal/ct"
)

func TestStatsTable(t *testing.T) {
	value := func(n uint64) ct.Value { return ct.Value{N: n, Sent: true} }
	busy := ct.Counters{ct.Found: value(7), ct.InsertFailed: value(12)}
	idle := ct.Counters{ct.Found: value(0), ct.InsertFailed: value(0)}
	r := Result{
		Seconds:   1.25,
		Kernel:    "5.4.0",
		Table:     ct.Table{Entries: value(3)},
		CPUs:      []ct.CPU{{CPU: 0, Counters: idle}, {CPU: 10, Counters: busy}},
		Total:     busy,
		PerSecond: busy.PerSecond(1250 * time.Millisecond),
		Absolute:  busy.Plus(busy),
		Meaning:   map[string]string{"insert_failed": "clashes"},
	}
	const start = "counter         since start  a second  total  counts on Linux 5.4.0\n" +
		"found           7            5.6       14     \n" +
		"invalid         -            -         -      \n" +
		"insert          -            -         -      \n" +
		"insert_failed   12           9.6       24     clashes\n" +
		"drop            -            -         -      \n" +
		"early_drop      -            -         -      \n" +
		"error           -            -         -      \n" +
		"search_restart  -            -         -      \n" +
		"clash_resolve   -            -         -      \n" +
		"chain_toolong   -            -         -      \n"
	const header = "\n    cpu  found  invalid  insert  insert_failed  drop  early_drop  error  search_restart  clash_resolve  chain_toolong\n"
	const idleRow = "      0      0        -       -              0     -           -      -               -              -              -\n"
	const rows = "     10      7        -       -             12     -           -      -               -              -              -\n" +
		"  total      7        -       -             12     -           -      -               -              -              -\n"
	const end = "-: not sent by this kernel (clash_resolve: since 5.10, chain_toolong: since 5.15)\n" +
		"in 1.2 s; the table holds 3 of at most - entries\n"

	for _, tc := range []struct {
		options Options
		want    string
	}{
		{Options{}, start + end},
		{Options{PerCPU: true}, start + header + rows + end},
		{Options{PerCPU: true, All: true}, start + header + idleRow + rows + end},
	} {
		r.options = tc.options
		var b bytes.Buffer
		if err := r.WriteText(&b); err != nil || b.String() != tc.want {
			t.Errorf("%+v: error %v, got\n%swant\n%s", tc.options, err, &b, tc.want)
		}
	}
}

func TestStatsRows(t *testing.T) {
	value := func(n uint64) ct.Value { return ct.Value{N: n, Sent: true} }
	risen := ct.Counters{ct.Found: value(123456789), ct.ClashResolve: value(12)}
	r := &Result{
		Time:    time.Date(2026, 1, 2, 3, 4, 5, 6, time.UTC),
		Total:   risen,
		Last:    &Step{CPUs: []ct.CPU{{CPU: 0}, {CPU: 10, Counters: risen}}, Total: risen},
		options: Options{PerCPU: true},
	}
	const want = "time       cpu   found invalid  insert insert_failed    drop early_drop   error search_restart clash_resolve chain_toolong\n" +
		"03:04:05    10 123456789       -       -             -       -          -       -              -            12             -\n" +
		"03:04:05 total 123456789       -       -             -       -          -       -              -            12             -\n"
	var b bytes.Buffer
	if err := (&Row{r, true}).WriteText(&b); err != nil || b.String() != want {
		t.Errorf("error %v, got\n%swant\n%s", err, &b, want)
	}
}

// A sum over samples has to survive counters that wrap at 32 bits, and that more than once.
func TestReadingsAddUp(t *testing.T) {
	at := func(second int, n uint64) ct.Snapshot {
		return ct.Snapshot{
			Time: time.Unix(int64(second), 0),
			CPUs: []ct.CPU{{CPU: 3, Counters: ct.Counters{ct.ClashResolve: {N: n, Sent: true}}}},
		}
	}
	const step uint64 = 3 << 30 // more than half of what the kernel can count
	r := begin(at(0, 1<<32-1), Options{Interval: true})
	var got *Result
	for i := 1; i <= 4; i++ {
		got = r.add(at(i, uint64(uint32(1<<32-1+uint64(i)*step))))
	}
	if n := got.Total[ct.ClashResolve].N; n != 4*step || got.CPUs[0].Counters[ct.ClashResolve].N != 4*step {
		t.Errorf("%d in total, want %d", n, 4*step)
	}
	if rate, ok := got.PerSecond.Of(ct.ClashResolve); !ok || rate != float64(step) {
		t.Errorf("%v a second, want %d", rate, step)
	}
	if got.Last.Total[ct.ClashResolve].N != step || got.Last.Seconds != 1 {
		t.Errorf("last step %+v", got.Last)
	}
}

// A table of zeros says why there may be nothing to see, and no line is wider than it should be.
func TestIdle(t *testing.T) {
	value := func(n uint64) ct.Value { return ct.Value{N: n, Sent: true} }
	zero := ct.Counters{ct.Found: value(0), ct.InsertFailed: value(0)}
	r := Result{Kernel: "6.1.0", Table: ct.Table{Entries: value(0)}, Total: zero, Absolute: zero,
		Meaning: map[string]string{"insert_failed": strings.Repeat("many words ", 30)}}
	for _, once := range []bool{false, true} {
		r.options.Once = once
		var b bytes.Buffer
		if err := r.WriteText(&b); err != nil || !strings.Contains(b.String(), "nothing can clash") {
			t.Errorf("%v: %s", err, &b)
		}
		for line := range strings.Lines(b.String()) {
			if len(line) > cli.TableColumns+1 {
				t.Errorf("%d columns: %s", len(line), line)
			}
		}
	}
	r.Table.Entries = value(1)
	var b bytes.Buffer
	if err := r.WriteText(&b); err != nil || strings.Contains(b.String(), "nothing can clash") {
		t.Errorf("%v: with an entry: %s", err, &b)
	}
}

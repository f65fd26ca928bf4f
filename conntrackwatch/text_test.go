package main

import (
	"bytes"
	"errors"
	"net/netip"
	"testing"
	"time"

	"verdictd/conntrackwatch/internal/census"
	"verdictd/internal/ct"
)

func TestStatsTable(t *testing.T) {
	value := func(n uint64) ct.Value { return ct.Value{N: n, Sent: true} }
	busy := ct.Counters{ct.Found: value(7), ct.InsertFailed: value(12)}
	idle := ct.Counters{ct.Found: value(0), ct.InsertFailed: value(0)}
	r := statsResult{
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
		cmd  statsCmd
		want string
	}{
		{statsCmd{}, start + end},
		{statsCmd{PerCPU: true}, start + header + rows + end},
		{statsCmd{PerCPU: true, All: true}, start + header + idleRow + rows + end},
	} {
		r.cmd = &tc.cmd
		var b bytes.Buffer
		if err := r.writeText(&b); err != nil || b.String() != tc.want {
			t.Errorf("%+v: error %v, got\n%swant\n%s", tc.cmd, err, &b, tc.want)
		}
	}
}

func TestStatsRows(t *testing.T) {
	value := func(n uint64) ct.Value { return ct.Value{N: n, Sent: true} }
	risen := ct.Counters{ct.Found: value(123456789), ct.ClashResolve: value(12)}
	r := &statsResult{
		Time:  time.Date(2026, 1, 2, 3, 4, 5, 6, time.UTC),
		Total: risen,
		Last:  &statsStep{CPUs: []ct.CPU{{CPU: 0}, {CPU: 10, Counters: risen}}, Total: risen},
		cmd:   &statsCmd{PerCPU: true},
	}
	const want = "time       cpu   found invalid  insert insert_failed    drop early_drop   error search_restart clash_resolve chain_toolong\n" +
		"03:04:05    10 123456789       -       -             -       -          -       -              -            12             -\n" +
		"03:04:05 total 123456789       -       -             -       -          -       -              -            12             -\n"
	var b bytes.Buffer
	if err := (&statsRow{r, true}).writeText(&b); err != nil || b.String() != want {
		t.Errorf("error %v, got\n%swant\n%s", err, &b, want)
	}
}

func TestEventsTable(t *testing.T) {
	counts := ct.EventCounts{
		Total:     ct.Tally{New: 1234, Update: 5, Destroy: 6},
		Protocols: map[ct.Protocol]ct.Tally{17: {New: 1230}, 6: {New: 4, Update: 5, Destroy: 6}},
		Lost:      2, LostEvents: ct.Value{N: 99, Sent: true},
		Undecodable: 1,
	}
	const table = "  protocol   new  update  destroy  new a second\n" +
		"       tcp     4       5        6           2.0\n" +
		"       udp  1230       0        0         615.0\n" +
		"     total  1234       5        6         617.0\n"
	const misunderstood = "1 messages were not understood and are in no row\n"
	for number, lost := range map[string]ct.Value{"99": counts.LostEvents, "an unknown number of": {}} {
		counts.LostEvents = lost
		want := table + "in 2.0 s; the kernel dropped " + number +
			" events on 2 occasions as its buffer was full (4096 bytes by now): give more by --receive-buffer\n" + misunderstood
		var b bytes.Buffer
		if err := newEventsResult(counts, 2*time.Second, 4096).writeText(&b); err != nil || b.String() != want {
			t.Errorf("error %v, got\n%swant\n%s", err, &b, want)
		}
	}
}

func TestFlowsTable(t *testing.T) {
	quantiles := census.Quantiles{Count: 90, P50: 0.5, P90: 1, P99: 2.25, Max: 10}
	s := census.Summary{
		Lifetimes: map[ct.Protocol]census.Quantiles{17: quantiles, 6: quantiles},
		Open:      map[ct.Protocol]census.Quantiles{17: quantiles},
		Talkers:   []census.Talker{{Address: netip.MustParseAddr("2001:db8::1"), Flows: 7, Overcount: 2, Packets: 3, Bytes: 400}},
		Older:     1, OlderEnded: 2, Untracked: 3,
		Corrections: census.Corrections{Readings: 4, New: 5, Update: 6, Destroy: 7},
	}
	const want = `
  lived  flows   median     90 %     99 %   longest
    tcp     90  0.500 s  1.000 s  2.250 s  10.000 s
    udp     90  0.500 s  1.000 s  2.250 s  10.000 s

  open, for  flows   median     90 %     99 %   longest
        udp     90  0.500 s  1.000 s  2.250 s  10.000 s

      address  flows begun  at most too many  packets  bytes
  2001:db8::1            7                 2        3    400

1 flows were there already
2 flows ended whose beginning was not seen
3 flows found no room to be followed: give more by --flows
after losses the kernel's table was read 4 times: 5 flows had begun, 6 had changed and 7 had ended unseen
`
	var b bytes.Buffer
	if err := writeFlows(&b, &s); err != nil || b.String() != want {
		t.Errorf("error %v, got\n%swant\n%s", err, &b, want)
	}
}

// broken is an output that takes nothing, like a full disk.
type broken struct{}

var errFull = errors.New("disk full")

func (broken) Write([]byte) (int, error) { return 0, errFull }

func TestUnwritableOutputIsAnError(t *testing.T) {
	for _, w := range []window{{}, {JSON: true}} {
		for _, r := range []textWriter{&statsResult{cmd: &statsCmd{}}, &eventsResult{}} {
			if err := w.print(output{results: broken{}}, r); !errors.Is(err, errFull) {
				t.Errorf("%T, JSON %v: error %v, want %v", r, w.JSON, err, errFull)
			}
		}
	}
}

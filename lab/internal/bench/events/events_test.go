package events

import (
	"bytes"
	"context"
	"errors"
	"strings"
	"testing"

	"verdictd/internal/ct"
	"verdictd/internal/testkit"
	"verdictd/lab/internal/bench"
)

func TestParseEventSocket(t *testing.T) {
	const header = "sk               Eth Pid        Groups   Rmem     Wmem     Dump  Locks    Drops    Inode\n"
	// not netfilter's
	const other = "00000000b08fdcd5 0   0          00000007 9        0        0     2        9        4       \n" +
		// not a listener
		"00000000b08fdcd6 12  0          00000000 9        0        0     2        9        5       \n"
	s, found, err := parseSocket(header + other +
		"0000000078eb1b31 12  4242       00000007 768      0        0     2        31       6       \n")
	if err != nil || !found || s != (listenerSocket{768, 31}) {
		t.Errorf("%+v, %v, %v; want 768 bytes and 31 drops", s, found, err)
	}
	if s, found, err := parseSocket(header + other); found || err != nil {
		t.Errorf("found %+v, %v where nobody listens", s, err)
	}
	if _, _, err := parseSocket(header + "x 12 1 groups 0 0 0 2 0 6\n"); err == nil {
		t.Error("read groups that are no number")
	}
}

// TestNewFlows makes flows and asks the kernel how many entries there are, and whether any was refused.
func TestNewFlows(t *testing.T) {
	testkit.Namespace(t)
	conn, err := ct.Dial()
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close() }()
	load, err := openFlows()
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = load.Close() }()
	const flows = 1500
	for _, rate := range []float64{10000, 1e6} {
		if err := load.send(t.Context(), flows, rate); err != nil {
			t.Fatal(err)
		}
	}
	s, err := conn.Snapshot()
	if err != nil {
		t.Fatal(err)
	}
	if s.Table.Entries.N != 2*flows {
		t.Errorf("%v entries, want %d: no two flows are the same, and nothing answers them", s.Table.Entries, 2*flows)
	}
	cause := errors.New("enough")
	if err := load.send(cancelled(t, cause), flows, 1000); !errors.Is(err, cause) {
		t.Errorf("ended with %v", err)
	}
}

func TestJudgeEvents(t *testing.T) {
	judged := func(require string, more ...sample) (*Result, string) {
		t.Helper()
		required, err := bench.ParseRequirements(require, Names())
		if err != nil {
			t.Fatal(err)
		}
		r := &Result{}
		r.Settings.Rate, r.Settings.ListenerCPU = 20000, 1
		r.Samples = append([]sample{
			{Round: 1, Listener: "events", CPUPerEvent: 1, FlowsPerSecond: 20000},
			{Round: 1, Listener: "conntrack", CPUPerEvent: 8, FlowsPerSecond: 20000, Lost: 7},
			{Round: 2, Listener: "conntrack", CPUPerEvent: 8, FlowsPerSecond: 20000, Lost: 5},
		}, more...)
		r.judge(required, map[string]error{"timo": errors.New("it is not built")})
		var text bytes.Buffer
		if err := r.WriteText(&text); err != nil {
			t.Fatal(err)
		}
		return r, text.String()
	}
	for _, test := range []struct {
		require string
		more    []sample
		ok      bool
		says    string
	}{
		{"", nil, true, "no bounds were required"},
		{"events/conntrack<=0.125", nil, true, "events / conntrack is 0.125, at most 0.125"},
		{"events/conntrack<=0.12", nil, false, "events / conntrack is 0.125, more than 0.12"},
		{"events/timo<=1", nil, false, "events / timo <= 1 is required, and was not measured"},
		{"", []sample{{Round: 2, Listener: "events", Invalid: "lost some"}}, false,
			"events, round 2 does not count: lost some"},
		{"", []sample{{Round: 2, Listener: "events", CPUPerEvent: 1, FlowsPerSecond: 9000}}, true,
			"was given 14500 flows a second"},
		{"", nil, true, "timo: not measured: it is not built"},
		{"", nil, true, "events+flows: not measured: interrupted"},
	} {
		r, text := judged(test.require, test.more...)
		if r.Verdict.OK != test.ok || !strings.Contains(text, test.says) {
			t.Errorf("%q %v: ok is %v, want %v and %q in:\n%s", test.require, test.more, r.Verdict.OK, test.ok,
				test.says, text)
		}
	}
	if r, _ := judged(""); r.Listeners[3].Lost != 12 {
		t.Errorf("%+v: want the 12 that were lost in both rounds", r.Listeners[3])
	}
}

// cancelled is a context that has ended for a reason.
func cancelled(t *testing.T, cause error) context.Context {
	t.Helper()
	ctx, cancel := context.WithCancelCause(t.Context())
	cancel(cause)
	return ctx
}

package trace

import (
	"bytes"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"
)

var traceTarget = netip.MustParseAddrPort("127.0.0.1:20000")

// tracedBy makes what a faithful trace shows of flows of three packets: two clashes each, one of them at confirm.
func tracedBy(flows int) (made heldResult, clashes []tracedClash, summary tracedSummary) {
	made = heldResult{target: traceTarget, sources: map[netip.AddrPort]int{}, delivered: 3 * flows}
	for i := range flows {
		source := netip.AddrPortFrom(traceTarget.Addr(), uint16(30000+i))
		made.sources[source] = 2
		for k, path := range []string{"confirm", "reinjection"} {
			entry := tracedEntry{
				Address:  fmt.Sprintf("0xffff%d0%d", i, k),
				Original: tracedTuple{Src: source, Dst: traceTarget, Protocol: "udp"},
				Reply:    tracedTuple{Src: traceTarget, Dst: source, Protocol: "udp"},
			}
			winner := entry
			winner.Address = fmt.Sprintf("0xffff%d09", i)
			clashes = append(clashes, tracedClash{Path: path, Outcome: "adopted", Loser: entry, Winner: &winner})
		}
	}
	return made, clashes, tracedSummary{Schema: 1, Clashes: uint64(2 * flows), Shown: uint64(2 * flows)}
}

func TestTraceIsJudged(t *testing.T) {
	const flows = 5
	for _, test := range []struct {
		name   string
		spoil  func(made *heldResult, clashes *[]tracedClash, summary *tracedSummary, counted *uint64)
		reason string // part of a disagreement; empty: all agree
	}{
		{"faithful", nil, ""},
		{"one is not shown", func(_ *heldResult, c *[]tracedClash, s *tracedSummary, _ *uint64) {
			*c = (*c)[:len(*c)-1]
			s.Shown--
		}, "has 1 clashes, not 2"},
		{"one is shown twice", func(_ *heldResult, c *[]tracedClash, s *tracedSummary, _ *uint64) {
			*c = append(*c, (*c)[1])
			s.Shown++
		}, "has 3 clashes, not 2"},
		{"one in place of another", func(_ *heldResult, c *[]tracedClash, _ *tracedSummary,
			_ *uint64) {
			(*c)[1] = (*c)[3]
		}, "has 1 clashes, not 2"},
		{"another port", func(_ *heldResult, c *[]tracedClash, _ *tracedSummary, _ *uint64) {
			(*c)[0].Loser.Original.Dst = netip.MustParseAddrPort("127.0.0.1:1")
		}, "not a clash of this load"},
		{"reply that does not belong", func(_ *heldResult, c *[]tracedClash, _ *tracedSummary, _ *uint64) {
			(*c)[0].Loser.Reply.Dst = netip.MustParseAddrPort("127.0.0.1:1")
		}, "not a clash of this load"},
		{"loser is winner", func(_ *heldResult, c *[]tracedClash, _ *tracedSummary, _ *uint64) {
			(*c)[0].Winner.Address = (*c)[0].Loser.Address
		}, "not a clash of this load"},
		{"no winner", func(_ *heldResult, c *[]tracedClash, _ *tracedSummary, _ *uint64) { (*c)[0].Winner = nil },
			"not a clash of this load"},
		{"another flow's winner", func(_ *heldResult, c *[]tracedClash, _ *tracedSummary,
			_ *uint64) {
			(*c)[0].Winner = (*c)[2].Winner
		}, "not a clash of this load"},
		{"dropped", func(_ *heldResult, c *[]tracedClash, _ *tracedSummary, _ *uint64) { (*c)[0].Outcome = "dropped" },
			"not a clash of this load"},
		{"the kernel counts more", func(_ *heldResult, _ *[]tracedClash, _ *tracedSummary, n *uint64) { *n++ },
			"counts 6 in clash_resolve"},
		{"the kernel counts none", func(_ *heldResult, _ *[]tracedClash, _ *tracedSummary, n *uint64) { *n = 0 },
			"counts 0 in clash_resolve"},
		{"the trace missed some", func(_ *heldResult, _ *[]tracedClash, s *tracedSummary, _ *uint64) { s.Missed = 3 },
			"missed 3"},
		{"lines are missing", func(_ *heldResult, _ *[]tracedClash, s *tracedSummary, _ *uint64) { s.Shown++ },
			"the summary says 11"},
		{"packets are missing", func(m *heldResult, _ *[]tracedClash, _ *tracedSummary, _ *uint64) { m.delivered-- },
			"14 packets of 15"},
	} {
		for _, exact := range []bool{true, false} {
			made, clashes, summary := tracedBy(flows)
			counted := uint64(flows)
			if test.spoil != nil {
				test.spoil(&made, &clashes, &summary, &counted)
			}
			row := Row{Flows: flows, Packets: 3 * flows, Delivered: made.delivered, ClashResolve: counted}
			row.judge(made, exact, clashes, summary)
			found := slices.ContainsFunc(row.Disagreements,
				func(s string) bool { return strings.Contains(s, test.reason) })
			switch {
			case test.reason == "" && len(row.Disagreements) > 0:
				t.Errorf("%s, exact %v: %q", test.name, exact, row.Disagreements)
			case exact && test.reason != "" && !found:
				t.Errorf("%s: %q, want %q", test.name, row.Disagreements, test.reason)
			}
		}
	}

	var row Row
	row.Flows, row.Packets, row.Delivered = flows, 3*flows, 3*flows
	row.judge(heldResult{target: traceTarget}, false, nil, tracedSummary{})
	if len(row.Disagreements) == 0 {
		t.Error("a load without any clash proves nothing, and agrees")
	}
}

func TestTraceReport(t *testing.T) {
	probes := []tracedProbe{{"nf_ct_resolve_clash", "fentry"}, {"nf_conntrack_update", "fentry"}}
	expected := 10
	good := Row{Load: "held", Probes: probes, Expected: &expected, Confirm: 4, ClashResolve: 4, Reinjection: 6}
	bad := Row{Load: "racing", Probes: probes, Disagreements: []string{"too few"}}
	for _, test := range []struct {
		rows      []Row
		disagrees bool
		parts     []string
	}{
		{[]Row{good}, false, []string{"agrees", "nf_ct_resolve_clash by fentry", "Linux 6.1.0"}},
		{[]Row{good, bad}, true, []string{"DISAGREES", "racing, nf_ct_resolve_clash by fentry: too few"}},
		{nil, true, nil},
	} {
		r := Report{Kernel: "6.1.0", Rows: test.rows}
		var out bytes.Buffer
		if err := r.WriteText(&out); err != nil {
			t.Fatal(err)
		}
		if r.Disagrees() != test.disagrees {
			t.Errorf("disagrees: %v\n%s", r.Disagrees(), &out)
		}
		for _, part := range test.parts {
			if !strings.Contains(out.String(), part) {
				t.Errorf("no %q in\n%s", part, &out)
			}
		}
	}
}

func TestTraceDecodes(t *testing.T) {
	const clash = `{"kind":"clash","path":"confirm","outcome":"adopted","loser":{"address":"0x1","original":{"src":"127.0.0.1:1","dst":"127.0.0.1:2","protocol":"udp"},` +
		`"reply":{"src":"127.0.0.1:2","dst":"127.0.0.1:1","protocol":"udp"}},"winner":null,"skb":"0x2"}` + "\n"
	const summary = `{"kind":"summary","schema":1,"clashes":2,"shown":2,"lost":1}` + "\n"
	clashes, s, err := decodeTrace([]byte(clash + clash + summary))
	if err != nil || len(clashes) != 2 || s.Shown != 2 || s.Lost != 1 {
		t.Fatalf("%d clashes, %+v, %v", len(clashes), s, err)
	}
	if c := clashes[1]; c.Path != "confirm" || c.Loser.Original.Dst.Port() != 2 || c.Winner != nil {
		t.Errorf("%+v", c)
	}
	for what, text := range map[string]string{"empty": "", "no summary": clash, "cut short": clash + summary[:20],
		"other schema": strings.Replace(summary, `"schema":1`, `"schema":2`, 1)} {
		if _, _, err := decodeTrace([]byte(text)); err == nil {
			t.Errorf("%s: no error", what)
		}
	}
}

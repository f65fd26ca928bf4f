package soak

import (
	"bytes"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"verdictd/internal/netlab"
	"verdictd/internal/statistics"
	"verdictd/internal/traffic"
)

func target(port uint16) traffic.MixTarget {
	return traffic.MixTarget{
		Address: netip.AddrPortFrom(netlab.Networks["ipv4"].Target, port),
		Echo:    port == portEcho, Lossy: port == portPoliced || port == portFiltered,
	}
}

// cleanShare is one of 1,000 packets, of which the policy dropped 100 and a later rule 50.
func cleanShare() Share {
	s := Share{Placement: "output", Fanout: "cpu", NAT: "none", Guard: "hold", FilterDropped: 50,
		RSS: statistics.Memory{Start: 100, End: 110}}
	s.take(&traffic.SoakResult{MixResult: traffic.MixResult{
		Targets: []traffic.MixTargetResult{
			{MixTarget: target(portEcho), Sent: 400, Counts: traffic.Counts{Delivered: 400}},
			{MixTarget: target(portPlain), Sent: 300, Counts: traffic.Counts{Delivered: 300}},
			{MixTarget: target(portPoliced), Sent: 100},
			{MixTarget: target(portFiltered), Sent: 200, Counts: traffic.Counts{Delivered: 150}},
		},
		EchoSent: 400, EchoCounts: traffic.Counts{Delivered: 400}, Shape: traffic.MixShape{Flows: 120},
	}})
	s.Daemon.Received, s.Daemon.Dropped, s.Daemon.Accepted = 1400, 100, 1300
	s.Gate = &statistics.GateTotals{GateThread: statistics.GateThread{Flows: statistics.Flows{
		Received: 620, First: 220, Held: 400, Confirmed: 390, Gone: 10, Announced: 2, Listed: 70,
	}}}
	return s
}

func TestSoakJudge(t *testing.T) {
	s := cleanShare()
	s.judge(0)
	if len(s.Violations) > 0 || !strings.HasSuffix(s.Line(), "120 flows, 1000 packets: clean") {
		t.Errorf("a clean share: %s", s.Line())
	}
	one := uint64(1)
	for want, spoil := range map[string]func(*Share){
		"1 clashes":                                     func(s *Share) { s.Clashes = 1 },
		"2 packets lost":                                func(s *Share) { s.Load.Targets[1].Delivered = 298 },
		"3 replies lost":                                func(s *Share) { s.Load.EchoCounts.Delivered = 397 },
		"1 packets duplicate":                           func(s *Share) { s.Load.Targets[3].Duplicated = 1 },
		"4 packets reordered":                           func(s *Share) { s.Load.EchoCounts.Reordered = 4 },
		"5 packets corrupted":                           func(s *Share) { s.Load.Targets[0].Corrupted = 5 },
		"6 packets left from":                           func(s *Share) { s.Load.Targets[0].SourcesChanged = 6 },
		"1 packets delivered that the policy drops":     func(s *Share) { s.Load.Targets[2].Delivered = 1 },
		"51 packets lost behind a rule that dropped 50": func(s *Share) { s.Load.Targets[3].Delivered = 149 },
		"50 packets lost behind a rule that dropped 51": func(s *Share) { s.FilterDropped = 51 },
		"the policy dropped 99 of 100":                  func(s *Share) { s.Daemon.Dropped = 99 },
		"2 sends refused (EPERM)":                       func(s *Share) { s.Load.SendErrors = map[string]uint64{"EPERM": 2} },
		"receiver's own socket":                         func(s *Share) { s.Load.Targets[0].ReceiverDropped = &one },
		"from 2 addresses": func(s *Share) {
			s.NAT = "masquerade"
			s.Load.Targets[0].ReceivedFrom = netlab.Networks["ipv4"].SourceList()[:2]
		},
		"verdictd grew":                     func(s *Share) { s.Load.Violations = []string{"verdictd grew from 10 to 20 KiB"} },
		"2 held packets went on":            func(s *Share) { s.Gate.Expired = 2 },
		"3 packets went on unguarded":       func(s *Share) { s.Gate.Unguarded = 3 },
		"1 held packets were no longer":     func(s *Share) { s.Gate.Vanished = 1 },
		"4 packets not taken":               func(s *Share) { s.Gate.UserDropped = 4 },
		"1 verdicts refused":                func(s *Share) { s.Daemon.VerdictErrors = 1 },
		"1 packets dropped on a full queue": func(s *Share) { s.Daemon.QueueDropped = 1 },
		"only 999 of 1000 packets went":     func(s *Share) { s.Daemon.Received = 999 },
		"nothing to do":                     func(s *Share) { s.Gate.Held = 0 },
		"the mask":                          func(s *Share) { s.Tainted = 0x80 },
		"verdictd was killed":               func(s *Share) { s.Error = "verdictd was killed by SIGKILL" },
	} {
		s := cleanShare()
		spoil(&s)
		again := Share{Placement: s.Placement, NAT: s.NAT, Guard: s.Guard, FilterDropped: s.FilterDropped,
			Daemon: s.Daemon, Gate: s.Gate, Clashes: s.Clashes, Tainted: s.Tainted, Error: s.Error}
		s.Load.Violations = append(s.Load.Violations, s.Load.MixResult.Violations()...)
		again.take(s.Load)
		again.judge(0)
		if len(again.Violations) != 1 || !strings.Contains(again.Violations[0], want) {
			t.Errorf("violations %q, want one with %q", again.Violations, want)
		}
		result := Result{Seed: 7, Guard: "hold", Shares: []Share{cleanShare(), again}}
		result.judge()
		if result.Verdict.OK || !strings.Contains(result.Verdict.Line, "seed 7") ||
			!strings.Contains(result.Verdict.Line, want) {
			t.Errorf("verdict %+v, want one that names the seed and %q", result.Verdict, want)
		}
	}
}

// TestSoakOvertaken: what the gate says may have been overtaken as its flow was listed is told, and no failure; one
// packet more is, and any where all of them go through the gate.
func TestSoakOvertaken(t *testing.T) {
	for _, test := range []struct {
		settled         bool
		touched         uint64
		reordered, echo uint64
		ok              bool
	}{{true, 2, 2, 2, true}, {true, 2, 3, 0, false}, {true, 2, 0, 3, false}, {false, 2, 1, 0, false}, {true, 0, 0, 0, true}} {
		s := cleanShare()
		s.Settled, s.Gate.Touched = test.settled, test.touched
		s.Load.Targets[0].Reordered, s.Load.EchoCounts.Reordered = test.reordered, test.echo
		s.Load.Violations, s.Reordered = s.Load.MixResult.Violations(), s.Load.Sum().Reordered
		s.judge(0)
		r := Result{Guard: "hold", Shares: []Share{s}}
		r.judge()
		want := fmt.Sprintf("%d reordered", test.reordered+test.echo)
		if !test.ok {
			want = fmt.Sprintf("%d packets reordered", test.reordered+test.echo)
		}
		if r.Verdict.OK != test.ok || !strings.Contains(r.Verdict.Line, want) {
			t.Errorf("%+v: %+v, want %q", test, r.Verdict, want)
		}
	}
}

func TestSoakSumsUp(t *testing.T) {
	grown := cleanShare()
	grown.RSS = statistics.Memory{Start: 200, End: 300}
	failed := Share{Error: "no figures", Violations: []string{"no figures"}}
	result := Result{Seed: 7, Duration: "2m0s", Guard: "hold", Shares: []Share{cleanShare(), grown, failed}}
	result.judge()
	var b bytes.Buffer
	if err := result.WriteText(&b); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{
		"seed 7, 2m0s over 3 places", "packets     2000 sent", "200 dropped by the policy, 100 by a rule",
		"0 clashes, 0 lost",
		"2800 packets received", "1240 packets received: 440 first, 800 held (780 confirmed, 20 behind a first that was gone), 4 announced; 140 flows listed", "200 KiB at the start and 300 KiB at the end", "Failed: ",
	} {
		if !strings.Contains(b.String(), want) {
			t.Errorf("no %q in:\n%s", want, b.String())
		}
	}
}

func TestSoakSeeds(t *testing.T) {
	var seen []uint64
	for _, p := range places() {
		for _, seed := range []uint64{1, 2} {
			if s := p.seed(seed); slices.Contains(seen, s) || s != p.seed(seed) {
				t.Errorf("%v, seed %d: %d is somebody else's, or changes", p, seed, s)
			} else {
				seen = append(seen, s)
			}
		}
	}
}

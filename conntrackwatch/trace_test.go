package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"net/netip"
	"os"
	"strings"
	"testing"
	"time"

	"verdictd/conntrackwatch/internal/trace"
	"verdictd/internal/cli"
	"verdictd/internal/testkit"
)

// aClash is one as a router would meet it: resolved at confirm, without NAT.
func aClash() trace.Clash {
	forth := trace.Tuple{Src: netip.MustParseAddrPort("192.0.2.1:1000"), Dst: netip.MustParseAddrPort("192.0.2.2:53"), Protocol: 17}
	back := trace.Tuple{Src: forth.Dst, Dst: forth.Src, Protocol: 17}
	return trace.Clash{
		Time: time.Date(2026, 1, 2, 3, 4, 5, 678900, time.UTC), Path: trace.Resolver, Outcome: trace.Adopted,
		Loser:  trace.Entry{Address: 0xffff888000000200, Original: forth, Reply: back},
		Winner: &trace.Entry{Address: 0xffff888000000300, Status: 8, Original: forth, Reply: back},
		After:  0xffff888000000300, CTInfo: 2, CTInfoAfter: 2, Mark: 0x10, CPU: 3, PID: 41, TID: 42, Command: "verdictd", Netns: 7, Result: 1,
	}
}

func TestClashText(t *testing.T) {
	const plain = `03:04:05.000678 udp 192.0.2.1:1000 > 192.0.2.2:53 reply 192.0.2.2:53 > 192.0.2.1:1000, adopted at confirm,` +
		` loser 0xffff888000000200 winner 0xffff888000000300, ctinfo NEW, mark 0x10, cpu 3, "verdictd" pid 41 tid 42`
	if got := clashText(aClash(), false); got != plain {
		t.Errorf("%s\nwant\n%s", got, plain)
	}
	for _, test := range []struct {
		name   string
		change func(*trace.Clash)
		part   string
	}{
		{"re-injection", func(c *trace.Clash) { c.Path = trace.Reinjection }, "adopted at reinjection"},
		{"perhaps no clash", func(c *trace.Clash) {
			c.Path, c.Outcome, c.Uncertain, c.Winner = trace.Confirm, trace.Dropped, true, nil
		}, "dropped at confirm (a clash, or"},
		{"winner not known", func(c *trace.Clash) { c.Winner = nil }, "winner unknown, ctinfo"},
		{"winner dying", func(c *trace.Clash) { c.Outcome, c.Winner.Status = trace.Dropped, 8|1<<9 }, "(the winner was dying)"},
		{"masqueraded", func(c *trace.Clash) { c.Winner.Reply.Dst = netip.MustParseAddrPort("198.51.100.1:1001") },
			"winner 0xffff888000000300 with reply 192.0.2.2:53 > 198.51.100.1:1001"},
		{"from the other side", func(c *trace.Clash) {
			c.Winner.Original, c.Winner.Reply, c.CTInfoAfter = c.Winner.Reply, c.Winner.Original, 3
		}, "of 192.0.2.2:53 > 192.0.2.1:1000 with reply 192.0.2.1:1000 > 192.0.2.2:53, ctinfo NEW then ESTABLISHED_REPLY"},
		{"another one adopted", func(c *trace.Clash) { c.After = 0x400 }, "winner 0xffff888000000300 adopted 0x400"},
		{"conntrack marks", func(c *trace.Clash) { c.Winner.Mark = 5 }, "ct mark 0x0 and 0x5"},
		{"zone", func(c *trace.Clash) { c.Loser.Zone = 9 }, "zone 9"},
		{"IPv6", func(c *trace.Clash) { c.Loser.Original.Src = netip.MustParseAddrPort("[2001:db8::1]:5") }, "udp [2001:db8::1]:5 > "},
		{"ICMP", func(c *trace.Clash) {
			c.Loser.Original = trace.Tuple{Src: netip.MustParseAddrPort("192.0.2.1:77"), Dst: netip.MustParseAddrPort("192.0.2.2:2048"), Protocol: 1}
		}, "icmp 192.0.2.1 > 192.0.2.2 id 77 type 8 code 0"},
	} {
		c := aClash()
		test.change(&c)
		if got := clashText(c, false); !strings.Contains(got, test.part) {
			t.Errorf("%s: no %q in %s", test.name, test.part, got)
		}
	}
	if got := clashText(aClash(), true); !strings.Contains(got, "netns 7") {
		t.Errorf("no namespace in %s", got)
	}
}

func TestTraceSummaryText(t *testing.T) {
	s := traceSummary{Seconds: 2.5, Shown: 3, Outcomes: map[string]uint64{"confirm/adopted": 1, "reinjection/adopted": 2}}
	s.Clashes = 3
	for _, test := range []struct {
		change func(*traceSummary)
		want   string
	}{
		{func(*traceSummary) {}, "3 clashes in 2.5 s: 1 adopted at confirm; 2 adopted at reinjection, in no counter of the kernel\nnone was missed\n"},
		{func(s *traceSummary) { s.Clashes, s.Shown, s.Outcomes = 0, 0, nil }, "0 clashes in 2.5 s\nnone was missed\n"},
		{func(s *traceSummary) { s.Clashes, s.Lost = 9, 6 }, "9 clashes in 2.5 s, 3 shown: "},
		{func(s *traceSummary) { s.Clashes, s.Lost = 9, 6 }, "\n6 of them found the buffer full and are not shown: give more by --buffer\n"},
		{func(s *traceSummary) { s.Missed, s.Unfinished = 1, 1 }, "\n2 calls could not be looked at, any of which may have been a clash more\n"},
	} {
		changed := s
		test.change(&changed)
		var b strings.Builder
		if err := changed.writeText(&b); err != nil {
			t.Fatal(err)
		}
		if !strings.Contains(b.String(), test.want) {
			t.Errorf("%q, want %q in it", b.String(), test.want)
		}
	}
}

func TestProbesText(t *testing.T) {
	probes := []trace.Probe{{Function: "f", Method: trace.Fentry}, {Function: "g", Method: trace.Kprobe}}
	if got := probesText(probes, nil); got != "tracing f by fentry, g by kprobe" {
		t.Error(got)
	}
	if got := probesText(probes[:1], errors.New("why")); !strings.Contains(got, "tracing f by fentry; not packets that a queue gives back") || !strings.HasSuffix(got, ": why") {
		t.Error(got)
	}
}

// Where the machine lets programs trace, the command traces and ends; where not, it says by what, and what else there is.
func TestTraceHere(t *testing.T) {
	var stdout, stderr bytes.Buffer
	status := run(t.Context(), []string{"trace", "--duration", "100ms", "--json"}, output{&stdout, &stderr})
	if status == cli.Done {
		var s traceSummary
		lines := strings.Split(strings.TrimSpace(stdout.String()), "\n")
		if err := json.Unmarshal([]byte(lines[len(lines)-1]), &s); err != nil || s.Kind != "summary" || s.Netns == 0 || len(s.Probes) == 0 {
			t.Errorf("%v, the last line is %s", err, lines[len(lines)-1])
		}
		return
	}
	text := stderr.String()
	t.Log(text)
	if status != cli.Failed || stdout.Len() > 0 {
		t.Errorf("status %d, stdout %q", status, &stdout)
	}
	lines := strings.Split(strings.TrimSpace(text), "\n")
	for i, line := range lines {
		if !strings.HasPrefix(line, "conntrackwatch: ") {
			t.Errorf("line %d is %q", i, line)
		}
	}
	if !strings.HasPrefix(lines[0], "conntrackwatch: tried ") {
		t.Errorf("what was tried is not said: %s", lines[0])
	}
	if !strings.Contains(text, "`conntrackwatch stats` counts clashes") || !strings.Contains(text, "verdictd counts") {
		t.Error("what else shows clashes is not said")
	}
	if !strings.HasPrefix(lines[len(lines)-1], "conntrackwatch: tracing is refused: ") {
		t.Errorf("the last line is %q", lines[len(lines)-1])
	}
	if os.Geteuid() == 0 && strings.Contains(text, "MEMLOCK") {
		t.Error("the limit on locked memory is blamed")
	}
}

func TestTraceNetns(t *testing.T) {
	ns, other := testkit.VethPair(t)
	inode := func(c traceCmd) uint32 {
		t.Helper()
		n, err := c.netns()
		if err != nil {
			t.Fatal(err)
		}
		return n
	}
	own := inode(traceCmd{})
	if own == 0 || own != inode(traceCmd{NetNS: ns.Path()}) {
		t.Errorf("this namespace is %d, by its path %d", own, inode(traceCmd{NetNS: ns.Path()}))
	}
	if inode(traceCmd{NetNS: other.Path()}) == own {
		t.Error("another namespace has the same inode")
	}
	if n := inode(traceCmd{AllNetNS: true}); n != 0 {
		t.Errorf("all namespaces are %d", n)
	}
	c := traceCmd{NetNS: "no-such-namespace"}
	if _, err := c.netns(); err == nil || !strings.Contains(err.Error(), "no-such-namespace") {
		t.Errorf("of one that does not exist: %v", err)
	}
}

func TestTraceUsage(t *testing.T) {
	for _, args := range [][]string{
		{"--buffer", "5000"}, {"--duration", "-1s"}, {"--method", "uprobe"}, {"--function", "nf_conntrack_in"}, {"--count", "-1"}, {"more"},
		{"--netns", "x", "--all-netns"},
	} {
		var stdout, stderr bytes.Buffer
		if status := run(t.Context(), append([]string{"trace"}, args...), output{&stdout, &stderr}); status != cli.Usage || stderr.Len() == 0 || stdout.Len() > 0 {
			t.Errorf("%q: status %d, stdout %q, stderr %q", args, status, &stdout, &stderr)
		}
	}
}

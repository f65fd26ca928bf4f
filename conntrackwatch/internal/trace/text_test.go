package trace

import (
	"errors"
	"net/netip"
	"strings"
	"testing"
	"time"
)

// aClash is one as a router would meet it: resolved at confirm, without NAT.
func aClash() Clash {
	forth := Tuple{Src: netip.MustParseAddrPort("192.0.2.1:1000"), Dst: netip.MustParseAddrPort("192.0.2.2:53"),
		Protocol: 17}
	back := Tuple{Src: forth.Dst, Dst: forth.Src, Protocol: 17}
	return Clash{
		Time: time.Date(2026, 1, 2, 3, 4, 5, 678900, time.UTC), Path: Resolver, Outcome: Adopted,
		Loser:  Entry{Address: 0xffff888000000200, Original: forth, Reply: back},
		Winner: &Entry{Address: 0xffff888000000300, Status: 8, Original: forth, Reply: back},
		After:  0xffff888000000300, CTInfo: 2, CTInfoAfter: 2, Mark: 0x10, CPU: 3, PID: 41, TID: 42, Command: "verdictd",
		Netns: 7, Result: 1,
	}
}

func TestClashText(t *testing.T) {
	const plain = `03:04:05.000678 udp 192.0.2.1:1000 > 192.0.2.2:53 reply 192.0.2.2:53 > 192.0.2.1:1000, adopted at confirm,` +
		` loser 0xffff888000000200 winner 0xffff888000000300, ctinfo NEW, mark 0x10, cpu 3, "verdictd" pid 41 tid 42`
	if got := aClash().Text(false); got != plain {
		t.Errorf("%s\nwant\n%s", got, plain)
	}
	for _, test := range []struct {
		name   string
		change func(*Clash)
		part   string
	}{
		{"re-injection", func(c *Clash) { c.Path = Reinjection }, "adopted at reinjection"},
		{"perhaps no clash", func(c *Clash) {
			c.Path, c.Outcome, c.Uncertain, c.Winner = Confirm, Dropped, true, nil
		}, "dropped at confirm (a clash, or"},
		{"winner not known", func(c *Clash) { c.Winner = nil }, "winner unknown, ctinfo"},
		{"winner dying", func(c *Clash) { c.Outcome, c.Winner.Status = Dropped, 8|1<<9 }, "(the winner was dying)"},
		{"masqueraded", func(c *Clash) { c.Winner.Reply.Dst = netip.MustParseAddrPort("198.51.100.1:1001") },
			"winner 0xffff888000000300 with reply 192.0.2.2:53 > 198.51.100.1:1001"},
		{"from the other side", func(c *Clash) {
			c.Winner.Original, c.Winner.Reply, c.CTInfoAfter = c.Winner.Reply, c.Winner.Original, 3
		}, "of 192.0.2.2:53 > 192.0.2.1:1000 with reply 192.0.2.1:1000 > 192.0.2.2:53, ctinfo NEW then ESTABLISHED_REPLY"},
		{"another one adopted", func(c *Clash) { c.After = 0x400 }, "winner 0xffff888000000300 adopted 0x400"},
		{"conntrack marks", func(c *Clash) { c.Winner.Mark = 5 }, "ct mark 0x0 and 0x5"},
		{"zone", func(c *Clash) { c.Loser.Zone = 9 }, "zone 9"},
		{"IPv6", func(c *Clash) { c.Loser.Original.Src = netip.MustParseAddrPort("[2001:db8::1]:5") },
			"udp [2001:db8::1]:5 > "},
		{"ICMP", func(c *Clash) {
			c.Loser.Original = Tuple{Src: netip.MustParseAddrPort("192.0.2.1:77"),
				Dst: netip.MustParseAddrPort("192.0.2.2:2048"), Protocol: 1}
		}, "icmp 192.0.2.1 > 192.0.2.2 id 77 type 8 code 0"},
	} {
		c := aClash()
		test.change(&c)
		if got := c.Text(false); !strings.Contains(got, test.part) {
			t.Errorf("%s: no %q in %s", test.name, test.part, got)
		}
	}
	if got := aClash().Text(true); !strings.Contains(got, "netns 7") {
		t.Errorf("no namespace in %s", got)
	}
}

func TestTraceSummaryText(t *testing.T) {
	s := Summary{Seconds: 2.5, Shown: 3, Outcomes: map[string]uint64{"confirm/adopted": 1, "reinjection/adopted": 2}}
	s.Clashes = 3
	for _, test := range []struct {
		change func(*Summary)
		want   string
	}{
		{func(*Summary) {}, "3 clashes in 2.5 s: 1 adopted at confirm; 2 adopted at reinjection, in no counter of the kernel\nnone was missed\n"},
		{func(s *Summary) { s.Clashes, s.Shown, s.Outcomes = 0, 0, nil }, "0 clashes in 2.5 s\nnone was missed\n"},
		{func(s *Summary) { s.Clashes, s.Lost = 9, 6 }, "9 clashes in 2.5 s, 3 shown: "},
		{func(s *Summary) { s.Clashes, s.Lost = 9, 6 },
			"\n6 of them found the buffer full and are not shown: give more by --buffer\n"},
		{func(s *Summary) { s.Missed, s.Unfinished = 1, 1 },
			"\n2 calls could not be looked at, any of which may have been a clash more\n"},
	} {
		changed := s
		test.change(&changed)
		var b strings.Builder
		if err := changed.WriteText(&b); err != nil {
			t.Fatal(err)
		}
		if !strings.Contains(b.String(), test.want) {
			t.Errorf("%q, want %q in it", b.String(), test.want)
		}
	}
}

func TestProbesText(t *testing.T) {
	probes := []Probe{{Function: "f", Method: Fentry}, {Function: "g", Method: Kprobe}}
	if got := ProbesText(probes, nil); got != "tracing f by fentry, g by kprobe" {
		t.Error(got)
	}
	if got := ProbesText(probes[:1], errors.New("why")); !strings.Contains(got,
		"tracing f by fentry; not packets that a queue gives back") || !strings.HasSuffix(got, ": why") {
		t.Error(got)
	}
}

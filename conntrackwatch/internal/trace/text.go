package trace

import (
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"

	"golang.org/x/sys/unix"

	"verdictd/internal/vocabulary"
)

// Text is a clash in one line: when, what packet, how it ended, between which entries, whose; netns adds the namespace.
func (c Clash) Text(netns bool) string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s %s reply %s, %s at %s", c.Time.Format("15:04:05.000000"),
		tupleText(c.Loser.Original), directionText(c.Loser.Reply), c.Outcome, c.Path)
	switch {
	case c.Uncertain:
		b.WriteString(" (a clash, or its entry was dying, or the hash chain too long)")
	case c.Outcome == Dropped && c.WinnerDying():
		b.WriteString(" (the winner was dying)")
	}
	fmt.Fprintf(&b, ", loser %v winner ", c.Loser.Address)
	if c.Winner == nil {
		b.WriteString("unknown")
	} else {
		b.WriteString(c.Winner.Address.String())
		// What NAT made of it, or an entry that met it from the other side.
		if c.Winner.Original != c.Loser.Original {
			fmt.Fprintf(&b, " of %s", directionText(c.Winner.Original))
		}
		if c.Winner.Reply != c.Loser.Reply {
			fmt.Fprintf(&b, " with reply %s", directionText(c.Winner.Reply))
		}
		if c.After != c.Winner.Address && c.After != c.Loser.Address {
			fmt.Fprintf(&b, " adopted %v", c.After)
		}
	}
	fmt.Fprintf(&b, ", ctinfo %v", c.CTInfo)
	if c.CTInfoAfter != c.CTInfo {
		fmt.Fprintf(&b, " then %v", c.CTInfoAfter)
	}
	fmt.Fprintf(&b, ", mark %#x", c.Mark)
	if winner := c.Winner; c.Loser.Mark != 0 || winner != nil && winner.Mark != 0 {
		fmt.Fprintf(&b, ", ct mark %#x", c.Loser.Mark)
		if winner != nil {
			fmt.Fprintf(&b, " and %#x", winner.Mark)
		}
	}
	if c.Loser.Zone != 0 {
		fmt.Fprintf(&b, ", zone %d", c.Loser.Zone)
	}
	if netns {
		fmt.Fprintf(&b, ", netns %d", c.Netns)
	}
	fmt.Fprintf(&b, ", cpu %d, %q pid %d tid %d", c.CPU, c.Command, c.PID, c.TID)
	return b.String()
}

func tupleText(t Tuple) string { return t.Protocol.String() + " " + directionText(t) }

// directionText gives ICMP, which has no ports, what the kernel keeps in their place: an identifier, type and code.
func directionText(t Tuple) string {
	if p := t.Protocol; p == vocabulary.Protocol(unix.IPPROTO_ICMP) || p == vocabulary.Protocol(unix.IPPROTO_ICMPV6) {
		return fmt.Sprintf("%s > %s id %d type %d code %d", t.Src.Addr(), t.Dst.Addr(), t.Src.Port(), t.Dst.Port()>>8,
			t.Dst.Port()&0xff)
	}
	return fmt.Sprintf("%s > %s", t.Src, t.Dst)
}

// ProbesText says what is traced, and what is not.
func ProbesText(probes []Probe, unprobed error) string {
	names := make([]string, len(probes))
	for i, p := range probes {
		names[i] = p.String()
	}
	text := "tracing " + strings.Join(names, ", ")
	if unprobed != nil {
		text += fmt.Sprintf("; not packets that a queue gives back, where Linux 4.18 to 6.11 resolve clashes, too: %v",
			unprobed)
	}
	return text
}

// WriteText writes it for people.
func (s Summary) WriteText(w io.Writer) error {
	var b strings.Builder
	fmt.Fprintf(&b, "%s in %.1f s", number(s.Clashes, "clash", "clashes"), s.Seconds)
	if s.Shown != s.Clashes {
		fmt.Fprintf(&b, ", %d shown", s.Shown)
	}
	separator := ": "
	for _, outcome := range slices.Sorted(maps.Keys(s.Outcomes)) {
		path, how, _ := strings.Cut(outcome, "/")
		fmt.Fprintf(&b, "%s%d %s at %s", separator, s.Outcomes[outcome], how, path)
		if path == Reinjection.String() {
			b.WriteString(", in no counter of the kernel")
		}
		separator = "; "
	}
	b.WriteByte('\n')
	if s.Complete() {
		b.WriteString("none was missed\n")
	}
	if s.Lost > 0 {
		fmt.Fprintf(&b, "%d of them found the buffer full and are not shown: give more by --buffer\n", s.Lost)
	}
	if blind := s.Unfinished + s.NoRoom + s.Missed; blind > 0 {
		fmt.Fprintf(&b, "%s could not be looked at, any of which may have been a clash more\n",
			number(blind, "call", "calls"))
	}
	_, err := io.WriteString(w, b.String())
	return err
}

func number(n uint64, one, many string) string {
	if n == 1 {
		return "1 " + one
	}
	return fmt.Sprintf("%d %s", n, many)
}

// WriteText says what was tried, and what shows clashes nevertheless. Hidden is which of them the kernel's counters do
// not see. Why it was refused is the error's.
func (r *Refused) WriteText(w io.Writer, hidden string) {
	for _, line := range r.Tried() {
		fmt.Fprintf(w, "conntrackwatch: tried %s\n", line)
	}
	fmt.Fprintf(w, "conntrackwatch: without a trace, `conntrackwatch stats` counts clashes")
	if hidden != "" {
		fmt.Fprintf(w, " (though on this kernel %s)", hidden)
	}
	fmt.Fprintln(w, ", and verdictd counts in `further` the packets that would clash without its guard")
}

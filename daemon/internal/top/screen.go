package top

import (
	"context"
	"fmt"
	"strings"
	"time"

	"verdictd/daemon/internal/control"
	"verdictd/internal/cli"
)

// Daemon is who is asked.
type Daemon interface {
	Status(context.Context) (*control.Status, error)
}

// Screen implements cli.Live for a daemon.
type Screen struct {
	daemon Daemon
	last   reading // Read's alone

	shown  figures
	failed error // of the last reading
	trend  *cli.History
}

// kept is the longest sparkline.
const kept = 500

// New takes the first reading of a daemon.
func New(ctx context.Context, d Daemon) (*Screen, error) {
	s := &Screen{daemon: d, trend: cli.NewHistory(kept)}
	s.Read(ctx)()
	return s, s.failed
}

// Once waits for an interval and takes a reading.
func (s *Screen) Once(ctx context.Context, interval time.Duration) error {
	select {
	case <-time.After(interval):
	case <-ctx.Done():
		return ctx.Err()
	}
	s.Read(ctx)()
	return s.failed
}

// Read implements cli.Live. A daemon that is gone may come back.
func (s *Screen) Read(ctx context.Context) (put func()) {
	status, err := s.daemon.Status(ctx)
	if err != nil {
		s.last = reading{}
		return func() {
			s.failed = err
			s.trend.Add(nil)
		}
	}
	now := reading{status, time.Now()}
	f := between(s.last, now)
	s.last = now
	return func() {
		s.shown, s.failed = f, nil
		switch {
		case f.received != nil:
			s.trend.Add(f.received)
		case f.gate != nil:
			s.trend.Add(f.gate.received)
		default:
			s.trend.Add(nil)
		}
	}
}

// Title implements cli.Live.
func (s *Screen) Title() string {
	if s.shown.now == nil {
		return "verdictd"
	}
	return fmt.Sprintf("verdictd %s  process %d", s.shown.now.Command, s.shown.now.PID)
}

// Help implements cli.Live.
func (s *Screen) Help() []string {
	return []string{
		"received, recv  packets that were judged, a second", "accepted, acc  those that went on", "dropped, drop  those that the policy drops",
		"waiting, wait  packets that have no verdict yet", "lost  packets that the kernel dropped, as a queue or its socket's buffer was full",
		"oldest, age  how long the oldest packet has waited at least", "held  packets that the guard holds until conntrack has their flow",
		"look-ups  questions of the guard to conntrack", "settled  how full the guard's set of flows is that pass in the kernel",
		"hits  packets that a rule of the policy has decided on", "", "k is 1,000 and M 1,000,000; - is not known yet.",
	}
}

// Head implements cli.Live.
func (s *Screen) Head(l cli.Look) (lines []string) {
	if s.failed != nil {
		lines = append(lines, l.Alarm(s.failed.Error()))
	}
	st := s.shown.now
	if st == nil {
		return lines
	}
	line := func(name, text string) { lines = append(lines, fmt.Sprintf("%-8s %s", name, text)) }
	line("state", fmt.Sprintf("%s for %v", st.State, seconds(st.Uptime).Round(time.Second)))
	if st.Statistics == nil {
		return lines // it begins or ends, and tells no more
	}
	switch r := &st.Rules; {
	case r.Statement == "":
		line("rules", "none of the daemon's own")
	case r.Present:
		line("rules", fmt.Sprintf("there: table inet %s, %s", r.Table, r.Placement))
	default:
		line("rules", l.Alarm(fmt.Sprintf("GONE: table inet %s", r.Table)))
	}
	line("guard", s.guard(l))
	line("packets", s.packets(l))
	return lines
}

// guard says what the guard is at.
func (s *Screen) guard(l cli.Look) string {
	g := s.shown.gate
	text := fmt.Sprintf("%s, %d held", s.shown.now.Guard.Mode, s.shown.now.Guard.Held)
	if g == nil {
		return text
	}
	text += fmt.Sprintf(", %s look-ups/s", amount(g.lookups))
	if g.limit > 0 {
		text += fmt.Sprintf(", settled %.0f%%", 100*float64(g.elements)/float64(g.limit))
	}
	if u := g.unguarded; u != nil && *u > 0 {
		text += ", " + l.Alarm(amount(u)+" unguarded/s")
	}
	return text
}

// packets is how many there are, and how that has changed.
func (s *Screen) packets(l cli.Look) string {
	text := fmt.Sprintf("%6s/s", amount(s.trend.Last()))
	const before, peak, least = 19, 14, 4
	if room := l.Width - before - peak; room >= least {
		text += fmt.Sprintf("  %s  peak %s/s", s.trend.Sparkline(room, l.ASCII), amount(s.trend.Peak(room)))
	}
	return text
}

// wide is from how many columns on a table has whole words and numbers.
const wide = 64

// Blocks implements cli.Live.
func (s *Screen) Blocks(l cli.Look) (blocks [][]string) {
	if s.shown.now == nil {
		return nil
	}
	heads, number, width := []string{"queue", "recv", "acc", "drop", "wait", "lost", "age"}, amount, 5
	if l.Width >= wide {
		heads, number, width = []string{"queue", "received/s", "accepted/s", "dropped/s", "waiting", "lost/s", "oldest"}, plain, 8
	}
	row := func(cells ...string) string {
		var line strings.Builder
		fmt.Fprintf(&line, "%5s", cells[0])
		for i, cell := range cells[1:] {
			fmt.Fprintf(&line, "%*s", max(width, len(heads[i+1])+1), cell)
		}
		return line.String()
	}
	if len(s.shown.queues) > 0 {
		blocks = append(blocks, []string{"", l.Bold(row(heads...))})
	}
	for _, q := range s.shown.queues {
		waiting := float64(q.waiting)
		line := row(fmt.Sprint(q.number), number(q.received), number(q.accepted), number(q.dropped), number(&waiting), number(q.lost), age(q.oldest))
		if q.lost != nil && *q.lost > 0 {
			line = l.Alarm(line)
		}
		blocks = append(blocks, []string{line})
	}
	if g := s.shown.gate; g != nil {
		waiting := float64(g.waiting)
		blocks = append(blocks, []string{row("gate", number(g.received), "", "", number(&waiting), "", age(g.oldest))})
	}
	if len(s.shown.rules) > 0 {
		blocks = append(blocks, []string{"", l.Bold(ruleRow(l, "rule", "", "hits/s", "packets"))})
	}
	for _, r := range s.shown.rules {
		packets := float64(r.packets)
		blocks = append(blocks, []string{ruleRow(l, r.name, r.action, number(r.hits), number(&packets))})
	}
	return blocks
}

// ruleRow has the name take what is left of a line.
func ruleRow(l cli.Look, name, action, hits, packets string) string {
	const figures, most = 8 + 8 + 10, 40
	room := max(4, min(l.Width-figures, most))
	text := []rune(printable(name, l.ASCII))
	if len(text) > room {
		text = text[:room]
	}
	return fmt.Sprintf("%-*s %-7s%8s%10s", room, string(text), action, hits, packets)
}

// printable has a rule's name move no cursor.
func printable(name string, ascii bool) string {
	return strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f || ascii && r > '~' || r >= 0x80 && r < 0xa0 {
			return '?'
		}
		return r
	}, name)
}

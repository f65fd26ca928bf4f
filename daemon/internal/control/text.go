package control

import (
	"fmt"
	"io"
	"strings"
	"text/tabwriter"
	"time"
)

// WriteText writes the status for people.
func (s *Status) WriteText(w io.Writer) error {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	line := func(name, format string, args ...any) { fmt.Fprintf(t, "%s\t%s\n", name, fmt.Sprintf(format, args...)) }
	uptime := time.Duration(s.Uptime * float64(time.Second)).Round(time.Second)
	line("verdictd "+s.Command, "%s for %v, version %s, process %d", s.State, uptime, s.Version, s.PID)
	if s.Statistics == nil {
		return t.Flush() // it begins or ends, and tells no more
	}
	line("configuration", "%s", s.configuration())
	line("rules", "%s", s.rules())
	line("guard", "%s (guard.mode %s), %d held: %s", s.Guard.Mode, s.Guard.Configured, s.Guard.Held, s.Guard.Why)
	for _, g := range s.Guard.Guarded {
		line("", "guarded: %s", g)
	}
	for _, u := range s.Guard.Uncovered {
		line("", "not guarded: %s", u)
	}
	if s.Copied != nil {
		line("copied", "%s", s.Copied.text())
	}
	if total := s.Statistics.Total; total != nil {
		line("verdicts", "%d received, %d accepted, %d dropped; half within %.0f us, 99 of 100 within %.0f us",
			total.Received, total.Accepted, total.Dropped, total.Latency.P50, total.Latency.P99)
	}
	if gate := s.Statistics.Gate; gate != nil {
		line("gate", "%d received, %d held, %d confirmed, %d gone, %d listed", gate.Total.Received, gate.Total.Held,
			gate.Total.Confirmed, gate.Total.Gone, gate.Total.Listed)
	}
	line("loss", "%s", s.Loss.text())
	line("reloads", "%s", s.Reloads.text())
	line("restarts", "%s", s.Takeovers.text())
	if s.Audit.Verdict != "" {
		line("audit", "%s", s.Audit.Answer)
	}
	if err := t.Flush(); err != nil {
		return fmt.Errorf("write the status: %w", err)
	}
	return s.writeQueues(w)
}

func (s *Status) configuration() string {
	text := fmt.Sprintf("%s, read at %s", s.Configuration.File, s.Configuration.Read.Format(time.DateTime))
	switch s.Configuration.OnDisk {
	case "changed":
		text += "; the file says something else now: `verdictd reload`"
	case "unreadable":
		text += "; the file cannot be read now, or has errors: `verdictd check`"
	}
	return text
}

func (s *Status) rules() string {
	switch {
	case s.Rules.Statement == "":
		return "none of the daemon's own"
	case !s.Rules.Present:
		return fmt.Sprintf("table inet %s is GONE: somebody has removed it", s.Rules.Table)
	}
	return fmt.Sprintf("table inet %s, placement %s, %s queue statement", s.Rules.Table, s.Rules.Placement, s.Rules.Statement)
}

func (l *Loss) text() string {
	var parts []string
	for _, p := range []struct {
		n    uint64
		text string
	}{
		{l.QueueDropped, "found a queue full"}, {l.UserDropped, "found a receive buffer full"},
		{l.Unguarded, "passed unguarded"}, {l.Expired, "were held for too long and passed"},
	} {
		if p.n > 0 {
			parts = append(parts, fmt.Sprintf("%d %s", p.n, p.text))
		}
	}
	if parts == nil {
		return "none"
	}
	return strings.Join(parts, ", ")
}

func (t *Takeovers) text() string {
	if t.Restarts == 0 {
		return "none taken over: it began with no queue of a process before"
	}
	return fmt.Sprintf("%d taken over in a row; at this start %d queues of verdicts and %d of the gate", t.Restarts, t.Verdicts, t.Gate)
}

func (r *Reloads) text() string {
	text := fmt.Sprintf("%d done, %d refused", r.Done, r.Refused)
	if l := r.Last; l != nil {
		text += fmt.Sprintf("; the last at %s: %s", l.Began.Format(time.DateTime), l.Result)
		if n := len(l.Problems); n > 0 {
			text += fmt.Sprintf(", %d problems, the first: %s", n, l.Problems[0].Error())
		}
		if l.Error != "" {
			text += ": " + l.Error
		}
	}
	return text
}

func (s *Status) writeQueues(w io.Writer) error {
	if len(s.Queues) == 0 {
		return nil
	}
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprint(t, "\nqueue\tfor\twaiting\tqueued\tqueue full\tbuffer full\t\n")
	for _, q := range s.Queues {
		fmt.Fprintf(t, "%d\t%s\t%d\t%d\t%d\t%d\t\n", q.Queue, q.For, q.Waiting, q.Queued, q.QueueDropped, q.UserDropped)
	}
	if err := t.Flush(); err != nil {
		return fmt.Errorf("write the status: %w", err)
	}
	return nil
}

package audit

import (
	"fmt"
	"io"
	"strings"
	"text/tabwriter"

	"verdictd/internal/kernelfacts"
	"verdictd/internal/liverules"
)

// WriteText writes the report for a person in a hurry: the answer, why, what to
// do, and only then the details.
func (r *Report) WriteText(w io.Writer) error {
	var b strings.Builder
	b.WriteString(r.Sentence + "\n")
	if p := r.Probe; p != nil && p.Probe != nil {
		fmt.Fprintf(&b, "Probe: %s: %s.\n", p.Outcome, p.Meaning)
	} else if p != nil {
		fmt.Fprintf(&b, "Probe: not run: %s.\n", p.Refused)
	}
	if len(r.Why) > 0 {
		b.WriteString("\nWhy\n")
	}
	for _, line := range r.Why {
		fmt.Fprintf(&b, "  - %s\n", line)
	}
	if len(r.Advice) > 0 {
		b.WriteString("\nWhat to do, the cheapest first\n")
	}
	for i, a := range r.Advice {
		fmt.Fprintf(&b, "  %d. %s: %s.\n", i+1, a.Do, a.Because)
		if a.Command != "" {
			fmt.Fprintf(&b, "     %s\n", a.Command)
		}
	}
	r.details(&b)
	if _, err := io.WriteString(w, b.String()); err != nil {
		return fmt.Errorf("write the report: %w", err)
	}
	return nil
}

func (r *Report) details(b *strings.Builder) {
	t := tabwriter.NewWriter(b, 0, 0, 2, ' ', 0)
	title := func(s string) { fmt.Fprintf(t, "\n%s\n", s) }

	title("Machine")
	for _, f := range r.machineLines() {
		fmt.Fprintf(t, "  %s\t%s\n", f[0], f[1])
	}
	title("Queue rules")
	for _, line := range r.ruleLines() {
		fmt.Fprintf(t, "  %s\n", line)
	}
	title("Queues bound now")
	for _, line := range r.queueLines() {
		fmt.Fprintf(t, "  %s\n", line)
	}
	title("What is known of this kernel")
	for _, f := range append(r.Facts, r.KmodRace) {
		fmt.Fprintf(t, "  %s\t%s\t%s: %s\n", f.Status, f.ID+known(f.Fact), f.Effect, f.Reason)
	}
	if p := r.Probe; p != nil && p.Probe != nil {
		title("Probe")
		fmt.Fprintf(t, "  %d flows of %d packets\t%d sent, %d delivered\n", p.Flows, p.PacketsPerFlow, p.Sent, p.Delivered)
		fmt.Fprintf(t, "  conntrack's counters\tclash_resolve %s, insert_failed %s, drop %s\n", shown(p.ClashResolve), shown(p.InsertFailed), shown(p.Drop))
		fmt.Fprintf(t, "  lost in the queue\t%d as it was full, %d as the socket was\n", p.QueueDropped, p.UserDropped)
		fmt.Fprintf(t, "  taint mask\t%d before, %d after\n", p.TaintBefore, p.TaintAfter)
	}
	_ = t.Flush() // into memory
}

func shown(n *uint64) string {
	if n == nil {
		return "-"
	}
	return fmt.Sprint(*n)
}

// value is a reading in words.
func value[T any](r kernelfacts.Reading[T], say func(T) string) string {
	if r.Err != nil {
		return "not readable: " + oneLine(r.Err)
	}
	return say(r.Value)
}

func oneLine(err error) string { return strings.Join(strings.Fields(err.Error()), " ") }

// machineLines are keys and values.
func (r *Report) machineLines() [][2]string {
	h := r.Host
	number := func(n uint64) string { return fmt.Sprint(n) }
	lines := [][2]string{
		{"kernel", value(h.Kernel, sayBuild)},
		{"distribution", value(h.Distribution, func(d kernelfacts.Distribution) string { return d.Name })},
		{"kmod", value(h.Kmod, func(k kernelfacts.Kmod) string { return k.Text })},
		{"user namespaces", fmt.Sprintf("%s: %s", h.UserNamespaces.Access, h.UserNamespaces.Reason)},
		{"conntrack", r.conntrackLine()},
		{"conntrack table", value(h.Conntrack.Count, number) + " of " + value(h.Conntrack.Max, number) + " entries, " + value(h.Conntrack.Buckets, number) + " buckets"},
		{"conntrack timeouts", "UDP " + value(h.Conntrack.UDPTimeout, number) + " s, stream " + value(h.Conntrack.UDPTimeoutStream, number) + " s"},
		{"nf_conntrack_events", value(h.Conntrack.Events, number) + ": " + r.Events.Meaning},
	}
	if r.Events.Listeners.Err != nil {
		lines = append(lines, [2]string{"event listeners", "not readable: " + oneLine(r.Events.Listeners.Err)})
	}
	for _, l := range r.Events.Listeners.Value {
		lines = append(lines, [2]string{"event listener", l.String()})
	}
	for _, m := range h.Modules {
		lines = append(lines, [2]string{"module " + m.Name, fmt.Sprintf("%s (%s)", m.State, m.Reason)})
	}
	return lines
}

func sayBuild(b kernelfacts.Build) string {
	text := fmt.Sprintf("%s, upstream %s", b.Release, b.Version)
	if !b.Exact {
		text += " with changes that the version does not tell"
	}
	if b.Distributor != "" {
		text += ", by " + b.Distributor
	}
	return text
}

func (r *Report) conntrackLine() string {
	c := r.Rules.Conntrack
	return fmt.Sprintf("active for IPv4: %s, IPv6: %s, bridges: %s (%s)", c.IPv4, c.IPv6, c.Bridge, c.Reason)
}

// ruleLines are the rules, each with the ways to it below.
func (r *Report) ruleLines() []string {
	var lines []string
	for _, q := range r.Rules.Queues {
		lines = append(lines, fmt.Sprintf("%s: %s", q.Exposure, q))
		if len(q.Reaches) == 0 {
			lines = append(lines, "    "+q.Reason)
		}
		for _, reach := range q.Reaches {
			lines = append(lines, fmt.Sprintf("    %s at priority %d, %s, %s: %s: %s",
				reach.Hook, reach.Priority, familyList(reach.Families), reach.Position, reach.Exposure, reach.Reason))
		}
	}
	if len(lines) == 0 {
		lines = append(lines, "none seen")
	}
	return lines
}

func familyList(families []liverules.Family) string {
	words := make([]string, len(families))
	for i, f := range families {
		words[i] = string(f)
	}
	return strings.Join(words, " and ")
}

func (r *Report) queueLines() []string {
	if r.Queues.Err != nil {
		return []string{"not readable: " + oneLine(r.Queues.Err)}
	}
	var lines []string
	for _, q := range r.Queues.Value {
		lines = append(lines, fmt.Sprintf("queue %d: port id %d, %s; %d waiting; lost %d as it was full, %d as the socket was",
			q.Queue, q.PortID, q.Holder, q.Queued, q.QueueDropped, q.UserDropped))
	}
	if len(lines) == 0 {
		lines = append(lines, "none")
	}
	return lines
}

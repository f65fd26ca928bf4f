package audit

import (
	"fmt"
	"io"
	"slices"
	"strings"

	"verdictd/internal/kernelfacts"
	"verdictd/internal/liverules"
)

// columns is the width of the text.
const columns = 100

// WriteText writes the report for a person in a hurry: the answer, why, what to
// do, and only then the details. Of what is known of the kernel it shows what applies
// or may, or all of it.
func (r *Report) WriteText(w io.Writer, all bool) error {
	var b strings.Builder
	b.WriteString(wrapped("", "", r.Sentence))
	for i := range r.Daemons {
		b.WriteString(wrapped("", "", r.Daemons[i].String()))
	}
	if p := r.Probe; p != nil && p.Probe != nil {
		b.WriteString(wrapped("", "", fmt.Sprintf("Probe: %s: %s.", p.Outcome, p.Meaning)))
	} else if p != nil {
		b.WriteString(wrapped("", "", fmt.Sprintf("Probe: not run: %s.", p.Refused)))
	}
	if len(r.Why) > 0 {
		b.WriteString("\nWhy\n")
	}
	for _, line := range r.Why {
		b.WriteString(wrapped("  - ", "    ", line))
	}
	if len(r.Advice) > 0 {
		b.WriteString("\nWhat to do, the cheapest first\n")
	}
	for i, a := range r.Advice {
		b.WriteString(wrapped(fmt.Sprintf("  %d. ", i+1), "     ", a.Do+": "+a.Because+"."))
		if a.Command != "" {
			fmt.Fprintf(&b, "     %s\n", a.Command)
		}
	}
	r.details(&b)
	r.findings(&b, all)
	if _, err := io.WriteString(w, b.String()); err != nil {
		return fmt.Errorf("write the report: %w", err)
	}
	return nil
}

func (r *Report) details(b *strings.Builder) {
	title := func(s string) { fmt.Fprintf(b, "\n%s\n", s) }
	pair := func(key, value string) {
		b.WriteString(wrapped(fmt.Sprintf("  %-20s  ", key), strings.Repeat(" ", 24), value))
	}
	list := func(lines []string) {
		for _, line := range lines {
			begin := line[:len(line)-len(strings.TrimLeft(line, " "))]
			b.WriteString(wrapped("  "+begin, "      "+begin, line))
		}
	}
	title("Machine")
	for _, f := range r.machineLines() {
		pair(f[0], f[1])
	}
	title("Queue rules")
	list(r.ruleLines())
	title("Queues bound now")
	list(r.queueLines())
	if p := r.Probe; p != nil && p.Probe != nil {
		title("Probe")
		pair("flows", fmt.Sprintf("%d of %d packets: %d sent, %d delivered", p.Flows, p.PacketsPerFlow, p.Sent, p.Delivered))
		pair("conntrack's counters", fmt.Sprintf("clash_resolve %s, insert_failed %s, drop %s", shown(p.ClashResolve), shown(p.InsertFailed), shown(p.Drop)))
		pair("lost in the queue", fmt.Sprintf("%d as it was full, %d as the socket was", p.QueueDropped, p.UserDropped))
		pair("taint mask", fmt.Sprintf("%d before, %d after", p.TaintBefore, p.TaintAfter))
	}
}

// findings are a line each, cut where it is too long: the reasons are whole in JSON.
func (r *Report) findings(b *strings.Builder, all bool) {
	b.WriteString("\nWhat is known of this kernel\n")
	hidden := 0
	for _, f := range append(slices.Clone(r.Facts), r.KmodRace) {
		if !all && (f.Status == kernelfacts.Fixed || f.Status == kernelfacts.NotAffected) {
			hidden++
			continue
		}
		line := fmt.Sprintf("  %-12s  %-26s  %s", f.Status, f.ID, onOneLine(f.Reason))
		b.WriteString(cut(line) + "\n")
	}
	if hidden > 0 {
		fmt.Fprintf(b, "  and %d that are fixed here, or never were: --all shows them\n", hidden)
	}
}

// wrapped is a paragraph, broken between words, behind a beginning and an indent for
// its other lines.
func wrapped(begin, indent, text string) string {
	var b strings.Builder
	b.WriteString(begin)
	at := len(begin)
	for i, word := range strings.Fields(text) {
		switch {
		case i == 0:
		case at+1+len(word) > columns:
			b.WriteString("\n" + indent)
			at = len(indent)
		default:
			b.WriteByte(' ')
			at++
		}
		b.WriteString(word)
		at += len(word)
	}
	return b.String() + "\n"
}

// cut ends a line at the width.
func cut(line string) string {
	if len(line) > columns {
		line = line[:columns-3] + "..."
	}
	return line
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

func oneLine(err error) string { return onOneLine(err.Error()) }

func onOneLine(text string) string { return strings.Join(strings.Fields(text), " ") }

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

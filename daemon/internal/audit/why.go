package audit

import (
	"fmt"
	"slices"
	"strings"

	"verdictd/daemon/internal/exposure"
	"verdictd/internal/kernelfacts"
	"verdictd/internal/liverules"
)

// sentence is the verdict in words.
func (j *judgement) sentence(m *Machine) string {
	switch j.verdict {
	case NotExposed:
		return "Not exposed: " + m.whyNotExposed() + "."
	case ExposedResolved:
		return fmt.Sprintf("Exposed, and resolved by the kernel: packets of new flows clash %s, and Linux %s is not known to lose any by it.", m.where(), m.release())
	case ExposedLoss:
		return fmt.Sprintf("Exposed, and may lose packets: %s; here: %s.", j.worstEffect(), j.occasionOf(m))
	case ExposedCrash:
		text := fmt.Sprintf("Exposed, and may crash: %s; here: %s.", j.worstEffect(), j.occasionOf(m))
		if j.decisive().fact == kernelfacts.FactClashCrash {
			text += " It takes conntrack events, which are " + m.eventsWord() + "."
		}
		return text
	}
	if j.certain > nothing {
		return fmt.Sprintf("Unknown: exposed %s, but what Linux %s does with a clash is not known for certain.", m.where(), m.release())
	}
	if m.complete() && m.clash() == liverules.No {
		i := slices.IndexFunc(j.rows, func(r judged) bool { return r.possible() && r.outcome == j.worst })
		f := j.rows[i].finding
		return fmt.Sprintf("Unknown: packets are queued, and Linux %s may have this: %s%s.", m.release(), f.Effect, known(f.Fact))
	}
	if !m.complete() {
		return "Unknown: not all rules could be read, so that some may expose this machine."
	}
	return "Unknown: it is not known whether the rules let packets of new flows clash."
}

func (m *Machine) release() string {
	if m.Host.Kernel.Err != nil {
		return "(release not readable)"
	}
	return m.Host.Kernel.Value.Release
}

// where names the first exposed rule, and how many more there are.
func (m *Machine) where() string {
	var places []string
	for s := range m.sites() {
		if s.Reach.Exposure == liverules.Exposed {
			places = append(places, fmt.Sprintf("in %s (%s)", s.Reach.Hook, s.Rule.Place))
		}
	}
	switch len(places) {
	case 0:
		return "perhaps"
	case 1:
		return places[0]
	}
	return fmt.Sprintf("%s and at %d more", places[0], len(places)-1)
}

func (m *Machine) whyNotExposed() string {
	c := m.Rules.Conntrack
	switch {
	case m.impossible():
		return "the kernel has no queues (nfnetlink_queue)"
	case c.IPv4 == liverules.No && c.IPv6 == liverules.No && c.Bridge == liverules.No:
		return "connections are not tracked here (" + c.Reason + ")"
	case len(m.Rules.Queues) == 0:
		return "no rule queues packets"
	case len(m.gatedSites()) > 0:
		return "a gate holds the further packets of new flows (" + m.Gates[0].String() + "), and no other rule holds packets between conntrack's lookup and its confirm"
	case len(m.guarded) > 0:
		return "the guard keeps packets from clashing, and no other rule holds them between conntrack's lookup and its confirm"
	}
	return fmt.Sprintf("none of the %d queue rules holds packets between conntrack's lookup and its confirm", len(m.Rules.Queues))
}

func (m *Machine) eventsWord() string {
	switch m.Events.On {
	case liverules.Yes:
		return "on (" + m.Events.Meaning + ")"
	case liverules.No:
		return "not on now (" + m.Events.Meaning + "), which any listener, sysctl or CT rule can change"
	}
	return "on or not: " + m.Events.Meaning
}

// may: a fact of that name applies, perhaps.
func (j *judgement) may(fact string) bool {
	return slices.ContainsFunc(j.rows, func(r judged) bool { return r.fact == fact && r.possible() })
}

// decisive is the first row that makes the verdict.
func (j *judgement) decisive() *judged {
	i := slices.IndexFunc(j.rows, func(r judged) bool { return r.sure() && r.outcome == j.certain })
	return &j.rows[i]
}

func (j *judgement) worstEffect() string {
	f := j.decisive().finding
	return f.Effect + known(f.Fact)
}

func (j *judgement) occasionOf(m *Machine) string {
	switch d := j.decisive(); {
	case strings.HasPrefix(d.when.name, "an exposed rule"):
		return "packets of new flows clash " + m.where()
	case d.when.name == queuedBridged.name:
		return "bridged packets are queued"
	}
	return "packets are queued"
}

// known names a fact's CVEs and its fix, or what brought it where none is known.
func known(f kernelfacts.Fact) string {
	list := slices.Clone(f.CVEs)
	word, commits := "fixed by ", f.Fix
	if len(commits) == 0 {
		word, commits = "brought by ", f.Cause
	}
	for _, c := range commits {
		name := c.Hash
		if name == "" {
			name = fmt.Sprintf("%q", c.Subject)
		}
		list = append(list, word+name)
		word = ""
	}
	if len(list) == 0 {
		return ""
	}
	return " (" + strings.Join(list, ", ") + ")"
}

// why lists the reasons: the rules, the kernel, and what is around them.
func (j *judgement) why(m *Machine) []string {
	list := []string{}
	say := func(format string, args ...any) { list = append(list, fmt.Sprintf(format, args...)) }
	for s := range m.sites() {
		word := "Exposed"
		if s.Reach.Exposure == liverules.ExposureUnknown {
			word = "Perhaps exposed"
		}
		say("%s: %s, in %s at priority %d: %s.", word, s.Rule, s.Reach.Hook, s.Reach.Priority, s.Reach.Reason)
	}
	for _, s := range m.gatedSites() {
		say("Guarded: %s, in %s at priority %d: the gate holds the further packets of its new flows (%s).", s.Rule, s.Reach.Hook, s.Reach.Priority, joined(m.Gates))
	}
	for i := range j.rows {
		switch r := &j.rows[i]; {
		case r.fact == "" || !r.possible():
		case r.sure():
			say("This kernel: %s%s: %s.", r.finding.Effect, known(r.finding.Fact), r.finding.Reason)
		case r.finding.Status == kernelfacts.Affected:
			say("This kernel, if there is %s: %s%s: %s.", r.when.name, r.finding.Effect, known(r.finding.Fact), r.finding.Reason)
		default:
			say("Perhaps this kernel: %s%s: %s.", r.finding.Effect, known(r.finding.Fact), r.finding.Reason)
		}
	}
	if m.hasSites() {
		list = append(list, aside(m)...)
	}
	if u := m.Host.UserNamespaces; u.Access != kernelfacts.UserNamespacesClosed {
		switch m.worstCrash() {
		case kernelfacts.Affected:
			say("Any local user can make this kernel crash, whatever the rules here, in a user and network namespace of their own (user namespaces: %s, %s).", u.Access, u.Reason)
		case kernelfacts.Unknown:
			say("If this kernel has one of the faults that crash it, any local user can make that happen, whatever the rules here, in a user and network namespace of their own (user namespaces: %s, %s).", u.Access, u.Reason)
		}
	}
	list = append(list, m.remarks()...)
	for _, u := range m.Unread {
		say("Not readable: %s: %s. So %s.", u.Part, u.Why, u.Meaning)
	}
	return list
}

// worstCrash says whether the kernel has a fault that crashes it by rules that
// anyone can make in a namespace: fixed stands for none.
func (m *Machine) worstCrash() kernelfacts.Status {
	worst := kernelfacts.Fixed
	for _, f := range m.crashes(byAnyUser) {
		if f.Status == kernelfacts.Affected {
			return kernelfacts.Affected
		}
		worst = kernelfacts.Unknown
	}
	return worst
}

// crashes lists the faults that may crash the kernel, of the rows that count, and
// which it has or may have.
func (m *Machine) crashes(counts func(row) bool) []kernelfacts.Finding {
	var list []kernelfacts.Finding
	for _, r := range table {
		if r.outcome != crashes || r.when.name == weak.name && m.stronglyOrdered() || !counts(r) {
			continue
		}
		if f := m.fact(r.fact); f.Status == kernelfacts.Affected || f.Status == kernelfacts.Unknown {
			list = append(list, f)
		}
	}
	return list
}

// byAnyUser counts the faults that any local user can give their occasion, be it in a
// namespace of their own: all of them.
func byAnyUser(row) bool { return true }

// byProbe counts those whose occasion is a clash, or a queue of local packets alone.
func byProbe(r row) bool {
	return slices.Contains([]string{clash.name, queued.name, queuedLocally.name, weak.name}, r.when.name)
}

// byRules counts those whose occasion the rules may give, and those that a user may
// give it where users may make namespaces.
func (m *Machine) byRules(r row) bool {
	return m.Host.UserNamespaces.Access != kernelfacts.UserNamespacesClosed || r.when.holds(m) != liverules.No
}

// aside names the faults whose occasion no rule shows, and tells those that packets of
// new flows meet by themselves.
func aside(m *Machine) (list []string) {
	var ids []string
	for _, f := range besides(m) {
		if f.ID == kernelfacts.FactClonedDropped || f.ID == kernelfacts.FactReinjection {
			list = append(list, fmt.Sprintf("Besides, where there is %s: %s%s: %s.", f.Trigger, f.Effect, known(f.Fact), f.Reason))
			continue
		}
		ids = append(ids, f.ID)
	}
	if len(ids) > 0 {
		list = append(list, "Besides, with occasions in the traffic, or in what programs and operators do: "+strings.Join(ids, ", ")+".")
	}
	return list
}

// besides are the affected facts that the table leaves out, or whose occasion the
// rules do not show.
func besides(m *Machine) []kernelfacts.Finding {
	var list []kernelfacts.Finding
	for _, f := range m.Facts {
		inTable := false
		for _, r := range table {
			inTable = inTable || r.fact == f.ID && !(r.fact == kernelfacts.FactClonedDropped && r.when.holds(m) == liverules.No)
		}
		if !inTable && f.Status == kernelfacts.Affected {
			list = append(list, f)
		}
	}
	return list
}

// remarks are what an operator has to know whatever the verdict.
func (m *Machine) remarks() []string {
	var list []string
	say := func(format string, args ...any) { list = append(list, fmt.Sprintf(format, args...)) }
	for _, s := range m.Sequences {
		say("Two queues on one way to the confirm: %s, then %s (held by one program: %s). A new flow's packets wait in both before the first is confirmed.", s.First, s.Then, s.SameHolder)
	}
	for _, t := range m.DNAT {
		say("DNAT before the queue: %s in %s, behind %s. Packets of one flow that clash there may have got different destinations.", t.Rule, t.Hook, strings.Join(t.Rewrites, ", "))
	}
	for _, s := range exposure.SwallowsICMPErrors(m.Rules) {
		say("ICMP errors: %s queues them, in %s. Those that this machine sends in answer to a packet which is not confirmed (port unreachable, time exceeded, fragmentation needed) are lost when their verdict returns, and no counter tells.", s.Rule, s.Reach.Hook)
	}
	list = append(list, m.beyondGate()...)
	for _, q := range m.Rules.Queues {
		if len(q.Reaches) > 0 && m.Queues.Err == nil && !q.Computed {
			if missing := m.unbound(q.QueueStatement); len(missing) > 0 {
				fate := "its packets are dropped"
				if q.Bypass {
					fate = "its packets pass unjudged"
				}
				say("Nobody listens on %s of %s: %s.", queueList(missing), q.Place, fate)
			}
		}
		if len(q.Reaches) > 0 && (q.Fanout == liverules.FanoutCPU || q.Fanout == liverules.FanoutMap) {
			clash := ""
			if slices.ContainsFunc(q.Reaches, func(r liverules.Reach) bool {
				return r.Position == liverules.BeforeLookup && r.Untracked != liverules.Yes
			}) {
				clash = ", and lets its packets go to conntrack at once, where they may clash"
			}
			say("%s spreads by %s: one flow may reach several queues, which can reorder it%s.", q.Place, q.Fanout, clash)
		}
	}
	for _, q := range m.Queues.Value {
		if q.QueueDropped > 0 || q.UserDropped > 0 {
			say("Queue %d (%s) has lost packets: %d as it was full, %d as the socket was.", q.Queue, q.Holder, q.QueueDropped, q.UserDropped)
		}
	}
	if m.tableFull() {
		c := m.Host.Conntrack
		say("Conntrack's table is nearly full: %d of %d entries; new flows are dropped when it is.", c.Count.Value, c.Max.Value)
	}
	if m.KmodRace.Status == kernelfacts.Affected {
		say("Loading modules: %s, by %s (%s).", m.KmodRace.Effect, m.KmodRace.Trigger, m.KmodRace.Reason)
	}
	if m.Host.Kernel.Err == nil && m.hasSites() {
		if hidden := kernelfacts.CountersOf(m.Host.Kernel.Value).Hidden(); hidden != "" {
			say("Counters: %s.", hidden)
		}
	}
	return list
}

// beyondGate is what a gate cannot do for the rules here, be there one or not.
func (m *Machine) beyondGate() (list []string) {
	for _, what := range exposure.Make(m.Rules, exposure.Options{}).Beyond {
		list = append(list, "What a gate cannot do: "+what+".")
	}
	return list
}

// tableFull: nine tenths of conntrack's table are in use.
func (m *Machine) tableFull() bool {
	c := m.Host.Conntrack
	return c.Count.Err == nil && c.Max.Err == nil && c.Max.Value > 0 && c.Count.Value*10 >= c.Max.Value*9
}

// unbound lists the rule's queues that nobody holds.
func (m *Machine) unbound(q liverules.QueueStatement) []uint16 {
	bound := map[uint16]bool{}
	for _, b := range m.Queues.Value {
		bound[b.Queue] = true
	}
	var list []uint16
	for _, n := range numbers(q) {
		if !bound[n] {
			list = append(list, n)
		}
	}
	return list
}

// joined lists things in a row.
func joined[T any](list []T) string {
	words := make([]string, len(list))
	for i, x := range list {
		words[i] = fmt.Sprint(x)
	}
	return strings.Join(words, "; ")
}

func queueList(list []uint16) string {
	if len(list) == 1 {
		return fmt.Sprintf("queue %d", list[0])
	}
	return fmt.Sprintf("%d queues from %d to %d", len(list), list[0], list[len(list)-1])
}

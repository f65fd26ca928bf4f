package audit

import (
	"fmt"
	"slices"
	"strings"

	"verdictd/daemon/internal/exposure"
	"verdictd/internal/kernelfacts"
	"verdictd/internal/liverules"
)

// Advice is one thing to do.
type Advice struct {
	Do      string `json:"do"`
	Because string `json:"because"`
	Command string `json:"command,omitempty"`
}

// advice lists what helps, in the order of what it costs: a look, a setting, a
// rule, a program, a reboot.
func (j *judgement) advice(m *Machine) []Advice {
	list := []Advice{}
	add := func(do, because, command string) { list = append(list, Advice{do, because, command}) }
	if !m.complete() {
		add("Run the audit as root, in the network namespace that has the rules", "not all rules could be read", "sudo verdictd audit")
	}
	if m.hasSites() {
		add("Put a gate before the exposed queues: serve them by verdictd with guard.mode auto or hold, or run verdictd guard beside the program that does",
			"the gate holds the further packets of a new flow until the first one's entry is confirmed, and no packet is changed by it", "verdictd guard")
	}
	j.adviseSettings(m, add)
	if m.hasSites() {
		add("Queue before conntrack's lookup (placement pre-conntrack, priority -300 in PREROUTING and OUTPUT), each flow in one queue, if the verdicts need neither conntrack state nor addresses after NAT",
			"a packet without an entry cannot clash, and packets that one thread lets go follow each other", "")
		add("Exempt the queued traffic from conntrack (placement notrack), if it needs no NAT and no ct state", "an untracked packet cannot clash", "")
	}
	if len(m.DNAT) > 0 {
		add("Where no gate can be, queue what DNAT rewrites before that: in PREROUTING at priority -300", "a clash behind DNAT can leave by a wrong path", "")
	}
	if sites := exposure.SwallowsICMPErrors(m.Rules); len(sites) > 0 {
		add("Let ICMP errors pass before the queue: accept icmp of types 3, 4, 5, 11 and 12, and icmpv6 of types 1 to 4, in front of "+sites[0].Rule.Place.String(),
			"the kernel refuses those of its own making when their verdict returns, so that senders learn of no closed port, no loop and no smaller MTU", "")
	}
	if do, because, needed := j.upgrade(m); needed {
		add(do, because, "")
	}
	if u := m.Host.UserNamespaces; m.worstCrash() != kernelfacts.Fixed && u.Access == kernelfacts.UserNamespacesOpen {
		add("Until the kernel is replaced, forbid user namespaces, if no sandbox or rootless container needs them",
			"otherwise any local user can make the crash happen", "sysctl -w user.max_user_namespaces=0")
	}
	return list
}

// adviseSettings is what a command changes at once.
func (j *judgement) adviseSettings(m *Machine, add func(do, because, command string)) {
	if j.may(kernelfacts.FactClashCrash) && m.Events.On != liverules.No {
		add("Switch conntrack's events off, if nothing needs them (conntrackd, conntrack -E, accounting)",
			"the crash of a clash needs them; it does not change the verdict, as a CT rule or a sysctl brings them back", "sysctl -w net.netfilter.nf_conntrack_events=0")
	}
	var strict []string
	for _, q := range m.Rules.Queues {
		if len(q.Reaches) > 0 && !q.Bypass && !exposure.IsGate(q) {
			strict = append(strict, q.Place.String())
		}
	}
	if len(strict) > 0 {
		add("Add bypass to "+strings.Join(strict, ", "), "without it packets are dropped while nobody listens on the queue", "")
	}
	if slices.ContainsFunc(m.Queues.Value, func(q BoundQueue) bool { return q.QueueDropped > 0 || q.UserDropped > 0 }) {
		add("Make room for bursts: queues.max_length, queues.receive_buffer and net.core.rmem_max (docs/tuning.md)", "queues have lost packets", "")
	}
	if m.tableFull() {
		add("Raise net.netfilter.nf_conntrack_max", "the table is nearly full",
			fmt.Sprintf("sysctl -w net.netfilter.nf_conntrack_max=%d", 2*m.Host.Conntrack.Max.Value))
	}
	if m.KmodRace.Status == kernelfacts.Affected {
		add("Load the modules at boot, one after the other (configs/modules-load.d)", "modprobe has a race: "+m.KmodRace.Reason, "")
	}
}

// upgrade names the kernel that ends what applies here.
func (j *judgement) upgrade(m *Machine) (do, because string, needed bool) {
	if m.Host.Kernel.Err != nil {
		return "", "", false
	}
	faults, avoid := j.faults(m)
	if len(faults) == 0 {
		return "", "", false
	}
	var fixes, ids []string
	for _, f := range faults {
		fixes = append(fixes, f.ID+known(f.Fact))
		ids = append(ids, f.ID)
	}
	because = "it ends " + strings.Join(fixes, ", ")
	b := m.Host.Kernel.Value
	to, found := upgradeTo(b.Version, ids, avoid)
	switch {
	case !b.Exact:
		do = "Update to a kernel of which the distributor says that it has these fixes"
		if found {
			do += fmt.Sprintf(" (upstream has all of them in %s)", to)
		}
	case found:
		do = fmt.Sprintf("Upgrade the kernel to %s or later", to)
	default:
		do = "Upgrade the kernel to one that has the fixes; no version that is known to have all of them is in the table"
	}
	return do, because, true
}

// faults are those that a kernel without them would mend: the ones it surely has,
// or, if there are none, the ones it may have. Avoid are all that such a kernel must
// not bring.
func (j *judgement) faults(m *Machine) (faults []kernelfacts.Finding, avoid []string) {
	candidates := m.crashes(m.byRules)
	for i := range j.rows {
		r := &j.rows[i]
		given := r.occasion != liverules.No || r.outcome == crashes && m.byRules(r.row)
		if r.outcome < loss || !given || len(r.finding.Fix) == 0 {
			continue
		}
		avoid = append(avoid, r.fact)
		if r.outcome == loss && r.possible() {
			candidates = append(candidates, r.finding)
		}
	}
	for _, wanted := range []kernelfacts.Status{kernelfacts.Affected, kernelfacts.Unknown} {
		for _, f := range candidates {
			if f.Status == wanted {
				faults = append(faults, f)
			}
		}
		if len(faults) > 0 {
			break
		}
	}
	return faults, avoid
}

// upgradeTo is the first upstream version after v that surely has none of the facts
// to end, and not one of those to avoid: some kernels with one fix bring the next
// fault.
func upgradeTo(v kernelfacts.Version, end, avoid []string) (kernelfacts.Version, bool) {
	var candidates []kernelfacts.Version
	for _, r := range table {
		f, _ := kernelfacts.FactByID(r.fact)
		for _, c := range slices.Concat(f.Mainline, f.Stable) {
			if c.From.Compare(v) > 0 {
				candidates = append(candidates, c.From)
			}
		}
	}
	slices.SortFunc(candidates, kernelfacts.Version.Compare)
	for _, c := range candidates {
		spoiled := slices.ContainsFunc(table, func(r row) bool {
			f, _ := kernelfacts.FactByID(r.fact)
			now, _ := f.Upstream(v)
			then, _ := f.Upstream(c)
			sound := then == kernelfacts.Fixed || then == kernelfacts.NotAffected
			switch {
			case r.fact == "" || sound:
				return false
			case slices.Contains(end, r.fact):
				return true
			case slices.Contains(avoid, r.fact):
				// What is not known of v need not be known of the next one.
				return then == kernelfacts.Affected || now != kernelfacts.Unknown
			}
			return false
		})
		if !spoiled {
			return c, true
		}
	}
	return kernelfacts.Version{}, false
}

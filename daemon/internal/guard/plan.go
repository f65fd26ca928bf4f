package guard

import (
	"context"
	"slices"

	"verdictd/daemon/internal/exposure"
	"verdictd/daemon/internal/holders"
	"verdictd/internal/liverules"
	"verdictd/internal/nfq"
	"verdictd/internal/ruleset"
	"verdictd/internal/vocabulary"
)

// plan is what has to pass the gate, as the rules are now, and what the gate
// has to know of other queues.
type plan struct {
	*exposure.Plan
	selected []ruleset.Traffic // what the gate's own rules select
	why      string
	// rounds is how many queues a packet may meet behind the gate, one after the
	// other; 0: not known.
	rounds int
	// incomplete: not all rules could be read.
	incomplete bool
}

func (p *plan) active() bool { return p.Plan != nil && len(p.Traffic) > 0 }

// same reports whether both ask for the same rules and the same gate.
func (p *plan) same(other *plan) bool {
	return p.Plan != nil && other.Plan != nil && p.Same(other.Plan) && p.why == other.why
}

// options are what the plan is for.
func (k *Keeper) options(rules *liverules.Rules) exposure.Options {
	return exposure.Options{Queues: k.Queues, Table: k.Table, Gate: k.notTaken(k.numbers(rules)), HandsOn: k.HandsOn, Insist: k.Guard.Mode != vocabulary.GuardAuto}
}

// makePlan makes one from the machine's rules.
func (k *Keeper) makePlan(ctx context.Context) plan {
	if k.gate != nil {
		// Each listing changes the rules, which are read as they are at one time.
		k.gate.PauseListing(true)
		defer k.gate.PauseListing(false)
	}
	rules := k.read()
	k.report(rules)
	p := plan{Plan: exposure.Make(rules, k.options(rules)), incomplete: len(rules.Unread) > 0}
	if bound, err := nfq.ReadKernelQueues(); err == nil {
		p.rounds = exposure.Rounds(rules, bound)
	}
	if p.rounds > 0 && k.Repeats {
		p.rounds++
	}
	if p.rounds > 0 && len(k.HandsOn) > 0 {
		p.rounds++
	}
	p.selected = p.Traffic
	if p.Installed {
		p.selected = p.Missing
	}
	if p.active() {
		if by, err := holders.Queues(ctx); err == nil {
			p.Name(by)
		}
	}
	p.why = p.reason()
	return p
}

// read reads the rules. Whether conntrack is active is asked without the daemon's own table, whose gate would be a
// reason for itself. Its rules for verdicts are one, where they use conntrack: they are there without a gate, too, and
// so is what is left over of them.
func (k *Keeper) read() *liverules.Rules {
	rules, _ := liverules.Read(k.Table) // usable whatever could not be read, which it lists
	if !k.tracks && (k.Rules == nil || !k.Rules.Tracks()) {
		return rules
	}
	active := rules.Conntrack
	active.IPv4, active.IPv6 = liverules.Yes, liverules.Yes
	active.Reason = "needed by the daemon's own rules for verdicts"
	return rules.Assuming(active)
}

// planOwn plans for the process's own rules before they queue anything.
func (k *Keeper) planOwn() plan {
	rules := k.read()
	own := exposure.Own(rules, *k.Own, k.options(rules))
	return plan{Plan: own, selected: own.Traffic, why: "the daemon's own rules queue packets that may be unconfirmed"}
}

// reason is why there is something to guard, or nothing.
func (p *plan) reason() string {
	switch {
	case p.active():
		return p.Exposing[0].String()
	case len(p.Exposing) > 0:
		return "the gate has nothing to do for " + p.Exposing[0].String()
	case p.Conntrack.IPv4 == liverules.No && p.Conntrack.IPv6 == liverules.No:
		return "conntrack is not active: " + p.Conntrack.Reason
	}
	return "no live rule queues packets of these queues that may be unconfirmed"
}

// numbers are the gate's queues, for the conntrack zones that the rules have. An operator's own rules for it have no
// others; those of this program are known by what they say.
func (k *Keeper) numbers(rules *liverules.Rules) exposure.QueueRange {
	zones := map[uint16]bool{0: true}
	for _, z := range rules.Zones {
		zones[z.ID] = true
	}
	last := min(k.lastNumber(len(zones), max(k.Guard.Queues, k.threads, 1)), vocabulary.MaxQueue)
	return exposure.QueueRange{First: k.Guard.FirstQueue, Last: uint16(last)}
}

// notTaken leaves out numbers that another program holds: rules for those are that program's, also where the gate would
// need them for a zone.
func (k *Keeper) notTaken(numbers exposure.QueueRange) (list []exposure.QueueRange) {
	bound, _ := nfq.ReadKernelQueues() // unknown is as good as none
	first := int(numbers.First)
	for n := first; n <= int(numbers.Last)+1; n++ {
		taken := slices.ContainsFunc(bound, func(q nfq.KernelQueue) bool { return int(q.Queue) == n && !k.Owns(q.Queue) })
		if !taken && n <= int(numbers.Last) {
			continue
		}
		if first < n {
			list = append(list, exposure.QueueRange{First: uint16(first), Last: uint16(n - 1)})
		}
		first = n + 1
	}
	return list
}

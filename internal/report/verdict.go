package report

import (
	"fmt"
	"strings"
)

// exposedPer1000 is how many of 1,000 packets that can clash do so at least in an exposed
// row without a guard, whose program takes its time: else the row put nothing to the test.
const exposedPer1000 = 500

// strayPer1000 is how many clashes per 1,000 packets a placement outside of
// conntrack's window may have over the row without a queue: two sender threads
// that meet in the stack clash now and then without any help from a queue.
const strayPer1000 = 2

// Verdict is what the runs add up to.
type Verdict struct {
	OK       bool     `json:"ok"`
	Line     string   `json:"line"`
	Failures []string `json:"failures"`
}

// Judge holds every run against what its row promises.
//
// Every row delivers each packet once, unharmed and in order; guard drop may lose those packets that it says it
// dropped, and under fan-out numgen replies have no order to keep. Behind a guard there are no clashes, all packets
// of a flow leave from one address and port and arrive at one backend, and no packet went on unguarded or as its time
// was up. Without one, an exposed row has clashes, or it shows nothing; what a clash costs is for it to show. A
// placement outside of conntrack's window has no more clashes than the row without a queue has.
func Judge(rep *Report) Verdict {
	v := Verdict{Failures: []string{}}
	baseline := make(map[string]float64) // by family
	for i := range rep.Runs {
		if r := &rep.Runs[i]; r.Placement == PlacementNone && r.Error == "" {
			baseline[r.Family] = max(baseline[r.Family], r.ClashesPer1000)
		}
	}
	for i := range rep.Runs {
		r := &rep.Runs[i]
		if found := failures(r, rep, baseline); len(found) > 0 {
			v.Failures = append(v.Failures, r.Name()+": "+strings.Join(found, "; "))
		}
	}
	switch {
	case rep.Interrupted:
		v.Line = fmt.Sprintf("INTERRUPTED after %d of %d runs", len(rep.Runs), rep.Planned)
		if n := len(v.Failures); n > 0 {
			v.Line += fmt.Sprintf(", %d of them failed", n)
		}
	case len(v.Failures) > 0:
		v.Line = fmt.Sprintf("FAILED: %d of %d runs: %s", len(v.Failures), len(rep.Runs), v.Failures[0])
		if n := len(v.Failures) - 1; n > 0 {
			v.Line += fmt.Sprintf(" (and %d more)", n)
		}
	case len(rep.Runs) == 0:
		v.Line = "FAILED: nothing was run"
	default:
		v.OK = true
		v.Line = summary(rep)
	}
	return v
}

// failures lists what one run did that its row promises not to happen.
func failures(r *Run, rep *Report, baseline map[string]float64) []string {
	if r.Error != "" {
		return []string{r.Error}
	}
	var out []string
	failed := func(format string, args ...any) { out = append(out, fmt.Sprintf(format, args...)) }

	if want := rep.Settings.Flows * rep.Settings.Burst; r.Sent != uint64(want) {
		failed("%s of %s packets were sent (%s send errors)", count(r.Sent), count(want), count(r.SendErrors))
	}
	// Without this a row whose rule matches nothing would look perfect.
	if seen := r.Queued() + r.QueueDropped + r.GateDropped(); r.Placement != PlacementNone && seen < r.Sent {
		failed("only %s of %s packets went through the queue", count(seen), count(r.Sent))
	}
	if r.Guard != GuardOff && r.Clashes() > 0 {
		failed("%s clashes behind the guard, %s per 1,000 packets", count(r.Clashes()), rate(r.ClashesPer1000))
	}
	if low, possible := rep.tooFewClashes(r); low {
		failed("only %s of %s possible clashes: the row shows nothing about a guard", count(r.Clashes()),
			count(possible))
	}
	if r.Placement == PlacementPreConntrack || r.Placement == PlacementNotrack {
		if bound := baseline[r.Family] + strayPer1000; r.ClashesPer1000 > bound {
			failed("%s clashes per 1,000 packets, where no more than %s come without a queue", rate(r.ClashesPer1000),
				rate(bound))
		}
	}
	if r.Guard == GuardDrop {
		if r.Lost > r.GateDropped() {
			failed("%s packets lost, but the guard dropped only %s", count(r.Lost), count(r.GateDropped()))
		}
	} else if r.Lost > 0 && !r.mayLose() {
		failed("%s of %s packets lost (%s)", count(r.Lost), count(r.Sent), whereabouts(r))
	}
	echo := Echo{}
	if r.Echo != nil {
		echo = *r.Echo
		// A reply that the guard dropped is missing on the way back only, and so is one to a request that it dropped.
		if r.Guard == GuardDrop {
			echo.Lost = 0
		}
	}
	for _, c := range []struct {
		n    uint64
		what string
	}{
		{r.Duplicated, "packets duplicated"}, {r.overtaken(), "packets reordered"}, {r.Corrupted, "packets corrupted"},
		{r.misplaced(), "packets left from another address or port than the first of their flow"},
		{r.torn(), "flows were split over backends"},
		{r.mistaken(), "packets waited for a first one that was taken for gone, where nothing was dropped"},
		{r.Expired, "held packets went on as their time was up"},
		{r.Unguarded, "packets went on unguarded, over a bound"},
		{echo.Lost, "replies lost"}, {echo.Duplicated, "replies duplicated"},
		{r.disorder(echo.Reordered), "replies reordered"}, {echo.Corrupted, "replies corrupted"},
	} {
		if c.n > 0 {
			failed("%s %s", count(c.n), c.what)
		}
	}
	if fresh := r.Tainted &^ rep.Host.Tainted; fresh != 0 {
		failed("the kernel tainted itself (mask %#x): look at the kernel log", fresh)
	}
	return out
}

// tooFewClashes says of an exposed row without a guard that it clashed too seldom, and
// out of how many packets that could. Where no time is taken over a packet, or the kernel does not count, nothing
// is to be expected.
func (rep *Report) tooFewClashes(r *Run) (low bool, possible uint64) {
	possible = r.Flows * uint64(max(0, rep.Settings.Burst-1))
	if r.Guard != GuardOff || !r.Exposed() || rep.Host.ClashesUncounted || rep.Settings.Analysis == AnalysisNone ||
		r.Program == ProgramSuricata {
		return false, possible
	}
	return 1000*r.Clashes() < exposedPer1000*possible, possible
}

// mayLose says of a row without a guard that its clashes may cost packets: no kernel
// resolves those of ICMP, and not every one those of both directions or of an entry that drew another backend.
func (r *Run) mayLose() bool {
	return r.Guard == GuardOff && r.Exposed() &&
		(r.Traffic == TrafficICMP || r.Traffic == TrafficBothEnds || r.NAT == NATBackends)
}

// overtaken is how many of the reordered packets nobody can excuse: the way to one
// backend has no order with that to the other.
func (r *Run) overtaken() uint64 {
	if r.Guard == GuardOff && r.NAT == NATBackends {
		return 0
	}
	return r.Reordered
}

// mistaken is how many first packets the gate took for gone. Nothing behind the queue
// drops any.
func (r *Run) mistaken() uint64 {
	if r.Gate == nil || r.Guard != GuardHold {
		return 0
	}
	return r.Gate.Gone
}

// torn is how many flows should not have been split.
func (r *Run) torn() uint64 {
	if r.Guard == GuardOff {
		return 0
	}
	return r.Split
}

// disorder is how many of the reordered replies nobody can excuse. One thread
// answers, and under numgen its packets take different queues, which have no
// common order.
func (r *Run) disorder(reordered uint64) uint64 {
	if r.Fanout == FanoutNumgen {
		return 0
	}
	return reordered
}

// misplaced is how many packets should not have changed their source. Without a
// guard the masqueraded loser of a clash may keep the port that was drawn for it,
// which is for the row to show.
func (r *Run) misplaced() uint64 {
	if r.Guard == GuardOff && r.NAT == NATMasquerade {
		return 0
	}
	return r.SourcesChanged
}

// whereabouts says what is known about lost packets.
func whereabouts(r *Run) string {
	s := fmt.Sprintf("%s dropped on a full queue, %s not taken by the program's socket", count(r.QueueDropped),
		count(r.UserDropped))
	if g := r.Gate; g != nil {
		s += fmt.Sprintf(", %s and %s the same before the gate, %s dropped by it, %s of its packets vanished",
			count(g.QueueDropped), count(g.UserDropped), count(g.Dropped), count(g.Vanished))
	}
	if r.ReceiverDropped != nil {
		s += fmt.Sprintf(", %s dropped by the receiver's own socket", count(*r.ReceiverDropped))
	}
	return s
}

// summary is the one line for a matrix without a failure. It claims no more
// tally is what the runs of a matrix come to, by their guards.
type tally struct {
	worst                          *Run // the most clashes with guard off
	off, hold, drop, foreign       int  // runs
	held, lost, sent, split, flows uint64
	moved                          float64 // per 1,000 packets
}

func (t *tally) add(r *Run) {
	switch {
	case !r.Exposed():
	case r.Guard == GuardHold:
		t.hold++
		t.held += r.Held
		if r.foreign() {
			t.foreign++
		}
	case r.Guard == GuardDrop:
		t.drop++
		t.lost += r.Lost
		t.sent += r.Sent
	default:
		t.off++
		if r.NAT == NATMasquerade {
			t.moved = max(t.moved, 1000*float64(r.SourcesChanged)/float64(max(1, r.Sent)))
		}
		if r.NAT == NATBackends {
			t.split += r.Split
			t.flows += r.Flows
		}
		if t.worst == nil || r.ClashesPer1000 > t.worst.ClashesPer1000 {
			t.worst = r
		}
	}
}

// than what was run: a guard that had nothing to prevent proves nothing.
func summary(rep *Report) string {
	var t tally
	for i := range rep.Runs {
		t.add(&rep.Runs[i])
	}
	var parts []string
	switch {
	case t.worst == nil:
	case t.worst.Clashes() == 0:
		parts = append(parts, fmt.Sprintf("guard off: no clash was counted in %s, so nothing is proved about the guard",
			runs(t.off)))
	default:
		parts = append(parts, fmt.Sprintf("guard off: up to %s clashes per 1,000 packets (%s, %s)",
			rate(t.worst.ClashesPer1000), t.worst.Placement, t.worst.Family))
	}
	if t.moved > 0 {
		parts = append(parts, fmt.Sprintf("guard off, masquerading: up to %s per 1,000 packets left from a port that is not their flow's", rate(t.moved)))
	}
	if t.split > 0 {
		parts = append(parts, fmt.Sprintf("guard off, two backends: %s of %s flows were split", count(t.split),
			count(t.flows)))
	}
	if t.hold > 0 {
		in := runs(t.hold)
		if t.foreign > 0 {
			in += fmt.Sprintf(", %s of them before another program", count(t.foreign))
		}
		parts = append(parts, fmt.Sprintf("guard hold: 0 clashes, 0 lost, 0 duplicated, 0 reordered in %s (%s packets held)", in, count(t.held)))
	}
	if t.drop > 0 {
		parts = append(parts, fmt.Sprintf("guard drop: 0 clashes, %s of %s packets dropped in %s", count(t.lost),
			count(t.sent), runs(t.drop)))
	}
	if len(parts) == 0 {
		return fmt.Sprintf("%s without a queue in conntrack's window: every packet delivered, no more clashes than without a queue", runs(len(rep.Runs)))
	}
	return strings.Join(parts, "; ")
}

func runs(n int) string {
	if n == 1 {
		return "1 run"
	}
	return count(n) + " runs"
}

package engine

import (
	"cmp"
	"fmt"
	"slices"
	"time"

	"verdictd/daemon/internal/names/flows"
	"verdictd/internal/statistics"
	"verdictd/internal/vocabulary"
)

// Names that stand for a rule where none has decided.
const (
	ruleDefault     = "default"
	rulePending     = "pending"
	ruleUndecodable = "undecodable"
)

// rules are what packets are counted by, without counts: the policy's, its default, where it
// knows names the packets whose flow's name is not known yet, and what becomes of
// undecodable packets.
func (j *Judgement) rules() (list []statistics.Rule) {
	add := func(name string, action vocabulary.Action) {
		list = append(list, statistics.Rule{Name: name, Action: action.String()})
	}
	for i := range j.Policy.Rules() {
		name := ""
		if i < len(j.Names) {
			name = j.Names[i]
		}
		add(cmp.Or(name, fmt.Sprintf("#%d", i+1)), j.Policy.Action(i))
	}
	add(ruleDefault, j.Policy.Action(j.Policy.Rules()))
	if j.Policy.Needs().Names {
		add(rulePending, vocabulary.Accept)
	}
	add(ruleUndecodable, j.Undecodable)
	return list
}

// notes are what is kept of each of so many, for the log and as samples; nil: nothing.
func (j *Judgement) notes(rules int) []note {
	list, some := make([]note, rules), false
	for i := range j.Policy.Rules() {
		if i < len(j.Logs) {
			list[i].log = j.Logs[i]
		}
		if i < len(j.SamplesOf) {
			list[i].sample = j.SamplesOf[i]
		}
		some = some || list[i].log+list[i].sample > 0
	}
	if !some {
		return nil
	}
	return list
}

// counted is what looks at a worker have brought, and belongs to who looks.
type counted struct {
	statistics.Verdicts
	judges []*judge // that the worker has, or will have, oldest first
	judge  *judge   // that it has
	hits   []uint64 // of that one
	past   []statistics.Rule
	// setHits are of the sets of that one, pastSets of those before.
	setHits  []uint64
	pastSets map[string]uint64
}

// appoint has the worker judge its next batch by something else.
func (w *worker) appoint(j *judge) {
	w.counted.judges = append(w.counted.judges, j)
	w.next.Store(j)
}

// lookWithin bounds how long a look at a worker's counters waits for it. A worker
// takes longer only where it is stuck, has no CPU, or an analysis is configured.
const lookWithin = 100 * time.Millisecond

// look brings w.counted up to date, and reports whether the worker let it.
func (w *worker) look() bool {
	c := &w.counted
	most := 0
	for _, j := range c.judges {
		most = max(most, len(j.hits))
	}
	hits := make([]uint64, most)
	if !w.window.Look(lookWithin, func() {
		c.Verdicts, c.Transport = w.counters, w.queue.Stats()
		c.Names = w.searched.with(w.judge)
		if c.judge = w.judge; c.judge != nil {
			hits = hits[:copy(hits, c.judge.hits)]
			c.setHits = append(c.setHits[:0], c.judge.decider.Hits()...)
		}
		w.latency.Swap()
	}) {
		return false
	}
	c.Latency, c.hits = w.latency.Spread(), hits
	for c.judge != nil && c.judges[0] != c.judge {
		c.past = sumRules(c.past, c.judges[0].rules, c.judges[0].hits)
		if c.pastSets == nil {
			c.pastSets = map[string]uint64{}
		}
		sumSets(c.pastSets, c.judges[0].sets, c.judges[0].decider.Hits())
		c.judges = c.judges[1:]
	}
	return true
}

// searched is what searches for names have counted.
type searched statistics.Names

// add adds what a table has counted.
func (s *searched) add(t *flows.Table) {
	c := t.Counters()
	statistics.Add((*statistics.Names)(s), &statistics.Names{
		Evicted: c.Evicted, Midstream: c.Midstream,
		Joined: c.Pending.Opened, Pushed: c.Pending.Evicted, Expired: c.Pending.Expired, Conflicts: c.Pending.Conflicts,
	})
}

// with is the same and what the table of a judge has counted, which may be nil.
func (s searched) with(j *judge) statistics.Names {
	if j != nil && j.names != nil {
		s.add(j.names)
	}
	return statistics.Names(s)
}

// sumRules adds counts of rules to a list; a rule is known by its name and action.
func sumRules(sum, rules []statistics.Rule, hits []uint64) []statistics.Rule {
	for i, r := range rules {
		r.Packets = hits[i]
		at := slices.IndexFunc(sum, func(s statistics.Rule) bool { return s.Name == r.Name && s.Action == r.Action })
		if at < 0 {
			sum = append(sum, r)
			continue
		}
		sum[at].Packets += r.Packets
	}
	return sum
}

func sumSets(sum map[string]uint64, names []string, hits []uint64) {
	for i, name := range names {
		sum[name] += hits[i]
	}
}

// Results are what an engine has counted.
type Results struct {
	Queues []statistics.Verdicts // in their order
	Total  statistics.Verdicts
	// Rules are those in force, in their order, and behind them those that were.
	Rules []statistics.Rule
	// SetHits are by the names of sets.
	SetHits map[string]uint64
}

// Results lists what the queues have counted so far. Of a worker that does not answer it
// has what was known before.
func (e *Engine) Results() (r Results) {
	e.reading.Lock()
	defer e.reading.Unlock()
	r.SetHits = map[string]uint64{}
	for _, w := range e.workers {
		w.look()
		c := &w.counted
		if newest := c.judges[len(c.judges)-1]; len(r.Rules) == 0 {
			r.Rules = slices.Clone(newest.rules)
		}
		if c.judge != nil {
			r.Rules = sumRules(r.Rules, c.judge.rules[:len(c.hits)], c.hits)
			sumSets(r.SetHits, c.judge.sets[:len(c.setHits)], c.setHits)
		}
		for name, hits := range c.pastSets {
			r.SetHits[name] += hits
		}
		statistics.Add(&r.Total, &c.Verdicts)
		r.Queues = append(r.Queues, c.Verdicts)
	}
	for _, w := range e.workers {
		r.Rules = sumRules(r.Rules, w.counted.past, packets(w.counted.past))
	}
	return r
}

func packets(rules []statistics.Rule) (list []uint64) {
	for _, r := range rules {
		list = append(list, r.Packets)
	}
	return list
}

// Moving tells for each queue whether its worker answers: one that does not thinks long,
// or is stuck.
func (e *Engine) Moving() (queues []bool) {
	for _, w := range e.workers {
		queues = append(queues, w.window.Look(lookWithin, func() {}))
	}
	return queues
}

// longestTime is what verdicts' times are told up to.
const longestTime = time.Minute

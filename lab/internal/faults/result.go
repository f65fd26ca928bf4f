package faults

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"verdictd/internal/report"
)

// Schema is the number of the document.
const Schema = 1

// Result is the document of `lab faults --json`.
type Result struct {
	Schema  int         `json:"schema"`
	Version string      `json:"version"`
	Host    report.Host `json:"host"`
	Seed    uint64      `json:"seed"`
	Rate    int         `json:"rate"` // packets a second
	Guard   string      `json:"guard"`
	// Settled: flows that go on sending pass in the kernel. A packet may then overtake in the moment in which its flow
	// is listed.
	Settled     bool           `json:"settled"`
	Interrupted bool           `json:"interrupted"`
	Kinds       []Meaning      `json:"kinds"`
	Programs    []*Played      `json:"programs"`
	Verdict     report.Verdict `json:"verdict"`
}

// Meaning is what a kind of fault is, and what it costs whoever judges.
type Meaning struct {
	Kind    string `json:"kind"`
	Meaning string `json:"meaning"`
	// Inherent has the reason for each column that need not be 0.
	Inherent map[string]string `json:"inherent"`
}

func meanings() (list []Meaning) {
	for _, k := range kinds() {
		m := Meaning{Kind: k.name, Meaning: k.meaning, Inherent: map[string]string{}}
		maps.Copy(m.Inherent, k.inherent)
		if k.counted {
			m.Inherent["lost"] = "as many as the kernel counts as dropped, at a full queue or interface"
		}
		list = append(list, m)
	}
	return list
}

// Costs are what a fault has cost.
type Costs struct {
	Lost       uint64 `json:"lost"`     // to be accepted, and not arrived
	Unjudged   uint64 `json:"unjudged"` // to be dropped, and arrived
	Duplicated uint64 `json:"duplicated"`
	Reordered  uint64 `json:"reordered"`
	Clashes    uint64 `json:"clashes"`
}

// columnNames are the names of Costs in documents and in kinds.
var columnNames = [columns]string{"lost", "unjudged", "duplicated", "reordered", "clashes"}

// of is one column.
func (c *Costs) of(i column) *uint64 {
	return [columns]*uint64{&c.Lost, &c.Unjudged, &c.Duplicated, &c.Reordered, &c.Clashes}[i]
}

func (c *Costs) add(o *Costs) {
	for i := range columns {
		*c.of(i) += *o.of(i)
	}
}

// String is the columns that are not 0.
func (c *Costs) String() string {
	var parts []string
	for i := range columns {
		if n := *c.of(i); n > 0 {
			parts = append(parts, fmt.Sprintf("%d %s", n, columnNames[i]))
		}
	}
	if len(parts) == 0 {
		return "nothing"
	}
	return strings.Join(parts, ", ")
}

// Fault is one fault that has happened.
type Fault struct {
	Kind string `json:"kind"`
	// AtMS is when, counted from the first packet, TookMS until packets arrived that were sent after it, LongestGapMS
	// the longest time in it without an arrival. SettingMS is how long it was to last, 0 for one without a length.
	AtMS         float64 `json:"at_ms"`
	TookMS       float64 `json:"took_ms"`
	SettingMS    float64 `json:"setting_ms"`
	LongestGapMS float64 `json:"longest_gap_ms"`
	Costs
	// KernelDropped is what the kernel counted as dropped at the router's queues and at interfaces, the latter by
	// interface in InterfaceDropped: on their way to the router and away from it, when the machine was too busy.
	KernelDropped    uint64            `json:"kernel_dropped"`
	InterfaceDropped map[string]uint64 `json:"interface_dropped"`
	// LetGo is what verdictd's gate counted as let go unguarded, by its counter (docs/guard.md).
	LetGo map[string]uint64 `json:"let_go"`
	Error string            `json:"error,omitempty"`

	began, ended time.Duration
	stalled      time.Duration // the longest time in which the machine did not run the lab itself
}

// took is what was counted while the fault reigned.
func (f *Fault) took(before, after *counts) {
	f.Clashes = after.clashes - before.clashes
	f.InterfaceDropped = since(before.interfaces, after.interfaces)
	f.KernelDropped = sum(since(before.queues, after.queues)) + sum(f.InterfaceDropped)
	f.LetGo = since(before.gate, after.gate)
}

// causes says what was counted that may be why.
func (f *Fault) causes() string {
	var parts []string
	if len(f.InterfaceDropped) > 0 {
		parts = append(parts, "dropped at interfaces: "+listed(f.InterfaceDropped))
	}
	if len(f.LetGo) > 0 {
		parts = append(parts, "let go by the gate: "+listed(f.LetGo))
	}
	if len(parts) == 0 {
		return ""
	}
	return " (" + strings.Join(parts, "; ") + ")"
}

// stallSaid is how long a machine has to stand still to be told.
const stallSaid = 100 * time.Millisecond

// line is the fault while the run goes on, when its losses are not known yet.
func (f *Fault) line() string {
	s := fmt.Sprintf("%7.1f s %-9s %6.0f ms, longest gap %.0f ms", f.AtMS/1000, f.Kind, f.TookMS, f.LongestGapMS)
	if f.stalled >= stallSaid {
		s += fmt.Sprintf(" (the machine itself stood still for %.0f ms)", milliseconds(f.stalled))
	}
	if f.Error != "" {
		s += ": " + f.Error
	}
	return s
}

// Sum is all faults of a kind.
type Sum struct {
	Kind  string `json:"kind"`
	Times int    `json:"times"`
	Costs
	LongestGapMS float64 `json:"longest_gap_ms"`
}

// Played is the sequence with one program.
type Played struct {
	Program string  `json:"program"`
	Keeper  bool    `json:"keeper"` // verdictd supervise held what the program left
	Guard   string  `json:"guard"`
	Seconds float64 `json:"seconds"`
	Sent    uint64  `json:"sent"` // all packets
	Wanted  uint64  `json:"wanted"`
	// Delivered is packets that were wanted. Policed is those to be dropped.
	Delivered  uint64  `json:"delivered"`
	Policed    uint64  `json:"policed"`
	SendErrors uint64  `json:"send_errors"`
	Corrupted  uint64  `json:"corrupted"`
	Faults     []Fault `json:"faults"`
	// Between is what happened outside of any fault.
	Between Fault `json:"between"`
	Kinds   []Sum `json:"kinds"`
	// Inherent is what the faults cost whoever judges, Others what they must not.
	Inherent Costs `json:"inherent"`
	Others   Costs `json:"others"`
	// ReceiverDropped is packets that the receiver's own sockets could not take: a machine too slow for the rate.
	ReceiverDropped uint64   `json:"receiver_dropped"`
	Tainted         uint64   `json:"tainted"`
	Error           string   `json:"error,omitempty"`
	Violations      []string `json:"violations"`
}

// lead is how long before a fault a packet may have been sent that it hits: it waited in a queue.
const lead = 100 * time.Millisecond

// take puts what went wrong down to the faults.
func (p *Played) take(l *load, events []event, before, after *counts) {
	n := l.sent.Load()
	for i := range n {
		switch c, _ := classOf(i); c {
		case fresh, steady:
			p.Wanted++
		case policed:
			p.Policed++
		}
	}
	p.Sent, p.Delivered, p.SendErrors, p.Corrupted = uint64(n), l.delivered, l.failed.Load(), l.corrupted
	p.ReceiverDropped = l.dropped
	for _, e := range events {
		p.enter(e)
	}
	p.Between.took(before, after)
	for i := range p.Faults {
		p.Between.without(&p.Faults[i])
	}
	slices.SortFunc(p.Faults, func(a, b Fault) int { return cmp.Compare(a.AtMS, b.AtMS) })
}

// without takes off what was counted for another fault.
func (f *Fault) without(o *Fault) {
	f.Clashes -= min(f.Clashes, o.Clashes)
	f.KernelDropped -= min(f.KernelDropped, o.KernelDropped)
	for _, m := range [][2]map[string]uint64{{f.InterfaceDropped, o.InterfaceDropped}, {f.LetGo, o.LetGo}} {
		for name, n := range m[1] {
			if m[0][name] <= n {
				delete(m[0], name)
			} else {
				m[0][name] -= n
			}
		}
	}
}

// enter puts an event down to the fault that reigned when its packet was on its way.
func (p *Played) enter(e event) {
	for i := range p.Faults {
		if f := &p.Faults[i]; e.sent >= f.began-lead && e.sent <= f.ended {
			*f.of(e.what)++
			return
		}
	}
	b := &p.Between
	if b.Costs == (Costs{}) {
		b.began = e.sent
	}
	b.began, b.ended = min(b.began, e.sent), max(b.ended, e.sent)
	*b.of(e.what)++
}

// judge tells what is inherent from what is not.
func (p *Played) judge(taintedBefore uint64) {
	violated := func(format string, args ...any) { p.Violations = append(p.Violations, fmt.Sprintf(format, args...)) }
	if p.Error != "" {
		violated("%s", p.Error)
	}
	sums := map[string]*Sum{}
	for i := range p.Faults {
		f := &p.Faults[i]
		s := sums[f.Kind]
		if s == nil {
			s = &Sum{Kind: f.Kind}
			sums[f.Kind] = s
		}
		s.Times++
		s.add(&f.Costs)
		s.LongestGapMS = max(s.LongestGapMS, f.LongestGapMS)
		others := p.split(f)
		if others != (Costs{}) {
			violated("%s at %.1f s: %s%s", f.Kind, f.AtMS/1000, others.String(), f.causes())
		}
		if f.Error != "" {
			violated("%s at %.1f s: %s", f.Kind, f.AtMS/1000, f.Error)
		}
	}
	for _, name := range names() {
		if s := sums[name]; s != nil {
			p.Kinds = append(p.Kinds, *s)
		}
	}
	if others := p.split(&p.Between); others != (Costs{}) {
		violated("outside of any fault, from %.1f to %.1f s: %s%s",
			p.Between.began.Seconds(), p.Between.ended.Seconds(), others.String(), p.Between.causes())
	}
	if p.Corrupted > 0 {
		violated("%d packets arrived damaged", p.Corrupted)
	}
	if p.ReceiverDropped > 0 {
		violated("%d packets were lost at the receiver's own socket: the machine is too slow for this --rate",
			p.ReceiverDropped)
	}
	if grown := p.Tainted &^ taintedBefore; grown > 0 {
		violated("%d is the mask with which the kernel tainted itself", grown)
	}
	if len(p.Faults) == 0 || p.Delivered == 0 {
		violated("nothing has happened")
	}
}

// split adds a fault's costs to those that are inherent and to the others, and returns the latter.
func (p *Played) split(f *Fault) (others Costs) {
	k, _ := kindOf(f.Kind)
	for i := range columns {
		n, inherent := *f.of(i), uint64(0)
		if _, ok := k.inherent[columnNames[i]]; ok {
			inherent = n
		} else if k.counted && i == lost {
			inherent = min(n, f.KernelDropped)
		} else if p.Guard == report.GuardOff && i == clashed {
			inherent = n // nobody keeps them away
		}
		*p.Inherent.of(i) += inherent
		*others.of(i) = n - inherent
	}
	p.Others.add(&others)
	return others
}

// judge is about verdictd alone: the others are there to be compared with.
func (r *Result) judge() {
	v := &r.Verdict
	v.Failures = []string{}
	seed := fmt.Sprintf("seed %d", r.Seed)
	if len(r.Programs) == 0 {
		v.Line = fmt.Sprintf("INTERRUPTED before anything has happened (%s)", seed)
		return
	}
	p := r.Programs[0]
	v.Failures = append(v.Failures, p.Violations...)
	switch {
	case r.Interrupted && len(v.Failures) == 0:
		v.Line = fmt.Sprintf("INTERRUPTED after %d faults (%s)", len(p.Faults), seed)
	case len(v.Failures) > 0:
		v.Line = fmt.Sprintf("FAILED after %d faults (%s): %s", len(p.Faults), seed, v.Failures[0])
	default:
		v.OK = true
		v.Line = fmt.Sprintf("%d faults, %d packets: 0 lost, 0 unjudged, 0 duplicated, 0 reordered, 0 clashes but for "+
			"what is inherent (%s; %s)", len(p.Faults), p.Sent, p.Inherent.String(), seed)
	}
}

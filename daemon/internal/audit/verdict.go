package audit

import (
	"golang.org/x/sys/unix"

	"verdictd/internal/kernelfacts"
	"verdictd/internal/liverules"
)

// Verdict is the overall answer.
type Verdict string

// The verdicts.
const (
	NotExposed      Verdict = "not-exposed"
	ExposedResolved Verdict = "exposed-resolved"
	ExposedLoss     Verdict = "exposed-loss"
	ExposedCrash    Verdict = "exposed-crash"
	Unknown         Verdict = "unknown"
)

// outcome is what becomes of a machine or its packets, the worse the higher.
type outcome int

const (
	nothing outcome = iota
	resolved
	loss
	crashes
)

func (o outcome) verdict() Verdict {
	return [...]Verdict{NotExposed, ExposedResolved, ExposedLoss, ExposedCrash}[o]
}

// row ties a fact to what it needs and to what it does.
type row struct {
	fact    string // of package kernel; "" applies to every kernel
	when    condition
	outcome outcome
}

// table is the whole of the rules for the verdict. The facts that are not in it
// change none: their occasion is in the traffic (flows that are each other's
// reverse, source NAT that gives the loser another port), in what a program does with
// its queue, or in what an operator does to the rules, and neither rules nor settings
// show it. docs/audit.md has the table for readers. The first of the worst rows is the
// one that the answer names.
var table = []row{
	{"", clash, resolved},
	{kernelfacts.FactClashCrash, clash, crashes},
	{kernelfacts.FactConfirmedEarly, clash, crashes},
	{kernelfacts.FactVerdictUAF, queued, crashes},
	{"null-at-verdict", clash, crashes},
	{"reinjected-clash-crash", clash, crashes},
	{"weakly-ordered", weak, crashes},
	{"socket-reference", queuedLocally, crashes},
	{"queue-destroyed", queued, crashes},
	{"ct-template-removed", templated, crashes},
	{"bridge-device-freed", queuedBridged, crashes},
	{"bridge-fake-destination", queuedBridged, crashes},
	{"bridge-port-left", queuedBridged, crashes},
	{"bridge-clones-confirmed", bridged, crashes},
	{kernelfacts.FactNoResolution, clash, loss},
	{"nat-clash-dropped", translated, loss},
	{kernelfacts.FactDNATMisroute, misrouted, loss},
	{kernelfacts.FactGRODropped, clash, loss},
	// Clones also come of multicast behind OUTPUT, which rules do not show.
	{kernelfacts.FactClonedDropped, bridged, loss},
	{"bridge-without-destination", queuedBridged, loss},
	{"icmp-clash-dropped", takes("ICMP", unix.IPPROTO_ICMP, unix.IPPROTO_ICMPV6), loss},
	{"gre-clash-dropped", takes("GRE", unix.IPPROTO_GRE), loss},
	{"sctp-checksums", queues("SCTP", unix.IPPROTO_SCTP), loss},
}

// judged is a row on a machine.
type judged struct {
	row
	finding  kernelfacts.Finding
	occasion liverules.Answer
}

// sure: the row applies. possible: it applies, or may.
func (j judged) sure() bool {
	return j.finding.Status == kernelfacts.Affected && j.occasion == liverules.Yes
}

func (j judged) possible() bool {
	return (j.finding.Status == kernelfacts.Affected || j.finding.Status == kernelfacts.Unknown) && j.occasion != liverules.No
}

// judgement is the table on a machine.
type judgement struct {
	verdict Verdict
	// certain is the worst that surely applies, worst the worst that may.
	certain, worst outcome
	rows           []judged
}

// judge goes through the table.
func judge(m *Machine) judgement {
	var j judgement
	for _, r := range table {
		f := kernelfacts.Finding{Status: kernelfacts.Affected, Reason: "every kernel"}
		if r.fact != "" {
			f = m.fact(r.fact)
		}
		row := judged{row: r, finding: f, occasion: r.when.holds(m)}
		if row.sure() {
			j.certain = max(j.certain, r.outcome)
		}
		if row.possible() {
			j.worst = max(j.worst, r.outcome)
		}
		j.rows = append(j.rows, row)
	}
	j.verdict = j.certain.verdict()
	if j.worst > j.certain {
		j.verdict = Unknown
	}
	return j
}

// Answer is what there is to say about a machine.
type Answer struct {
	Verdict Verdict `json:"verdict"`
	// Sentence is the verdict in words.
	Sentence string `json:"answer"`
	// Why has the reasons, and what else an operator has to know.
	Why []string `json:"why"`
	// Advice is the cheapest first.
	Advice []Advice `json:"advice"`
}

// Judge weighs what was read.
func Judge(m *Machine) Answer {
	j := judge(m)
	return Answer{Verdict: j.verdict, Sentence: j.sentence(m), Why: j.why(m), Advice: j.advice(m)}
}

package soak

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"verdictd/internal/report"
	"verdictd/internal/statistics"
	"verdictd/internal/traffic"
	"verdictd/lab/internal/testbed"
)

const Schema = 2

// Result is the document of `lab soak --json`.
type Result struct {
	Schema      int            `json:"schema"`
	Version     string         `json:"version"`
	Host        report.Host    `json:"host"`
	Seed        uint64         `json:"seed"`
	Duration    string         `json:"duration"`
	Guard       string         `json:"guard"`
	Program     string         `json:"program"`
	Interrupted bool           `json:"interrupted"`
	Shares      []Share        `json:"shares"`
	Verdict     report.Verdict `json:"verdict"`
}

// Share is what one place has shown.
type Share struct {
	Placement string `json:"placement"`
	Fanout    string `json:"fanout"`
	NAT       string `json:"nat"`
	Guard     string `json:"guard"`
	Program   string `json:"program"`
	// What was drawn for the program, and for the gate.
	Queues     int    `json:"queues"`
	Batch      int    `json:"batch"`
	Analysis   string `json:"analysis"`
	GateQueues int    `json:"gate_queues"`
	Settled    bool   `json:"settled"`

	// Load has the counts of each target. Sent and the others are their sums, over those targets whose packets must all
	// arrive where it is about arrival; Echo is the way back.
	Load       *traffic.SoakResult `json:"load"`
	Sent       uint64              `json:"sent"`
	Lost       uint64              `json:"lost"`
	EchoLost   uint64              `json:"echo_lost"`
	Duplicated uint64              `json:"duplicated"`
	Reordered  uint64              `json:"reordered"`
	Corrupted  uint64              `json:"corrupted"`
	Moved      uint64              `json:"sources_changed"`

	// PolicedSent packets were to be dropped by the policy, and PolicedDelivered were not. FilteredLost did not
	// arrive of those that a rule behind the queue drops now and then, which counted FilterDropped.
	PolicedSent      uint64 `json:"policed_sent"`
	PolicedDelivered uint64 `json:"policed_delivered"`
	FilteredLost     uint64 `json:"filtered_lost"`
	FilterDropped    uint64 `json:"filter_dropped"`

	Clashes       uint64 `json:"clashes"`
	ConntrackDrop uint64 `json:"drop"`

	// Daemon is verdictd's engine; of another program what the kernel counts at its queues. Gate is nil without one.
	Daemon  statistics.Totals      `json:"daemon"`
	Gate    *statistics.GateTotals `json:"gate"`
	RSS     statistics.Memory      `json:"rss_kib"`
	Tainted uint64                 `json:"tainted"`

	Error      string   `json:"error,omitempty"`
	Violations []string `json:"violations"`
}

// takeStress waits for stress, within a time. Its violations are in its result: its exit status says no more than that.
func (s *Share) takeStress(stress *testbed.Process, within time.Duration) error {
	ended := stress.Wait(within)
	if cause := context.Cause(stress.Group.Ctx); cause != nil {
		return cause
	}
	if !stress.Over() {
		return ended // it takes too long
	}
	if ended != nil && stress.Stdout.Len() == 0 {
		return ended
	}
	var res traffic.SoakResult
	err := testbed.Decode("stress", stress.Stdout.Bytes(), &res, "targets", "shape", "echo_sent", "echo", "send_errors",
		"echo_errors", "watched", "violations")
	if err != nil {
		return err
	}
	if ended != nil && len(res.Violations) == 0 {
		return ended
	}
	if len(res.Watched) == 0 {
		return errors.New("stress has not watched verdictd")
	}
	s.take(&res)
	return nil
}

func (s *Share) take(res *traffic.SoakResult) {
	s.Load = res
	sum := res.Sum()
	s.Sent, s.Lost, s.EchoLost = sum.Sent, sum.Lost, sum.EchoLost
	s.Duplicated, s.Reordered, s.Corrupted, s.Moved = sum.Duplicated, sum.Reordered, sum.Corrupted, sum.Moved
	for i := range res.Targets {
		t := &res.Targets[i]
		switch t.Address.Port() {
		case portPoliced:
			s.PolicedSent += t.Sent
			s.PolicedDelivered += t.Delivered
		case portFiltered:
			s.FilteredLost += t.Lost()
		}
	}
}

func (s *Share) takeDaemon(_ *report.Run, d *statistics.Document) error {
	if d.Total == nil {
		return errors.New("verdictd's statistics tell of no queue")
	}
	s.Daemon, s.RSS = *d.Total, d.RSS
	if d.Gate != nil {
		s.Gate = &d.Gate.Total
	}
	return nil
}

// takeProgram takes over what is known of another program and of verdictd guard before it.
func (s *Share) takeProgram(counted *report.Run) {
	s.Gate = counted.Gate
	s.Daemon = statistics.Totals{}
	s.Daemon.Received, s.Daemon.QueueDropped, s.Daemon.UserDropped = counted.Queued(), counted.QueueDropped,
		counted.UserDropped
	if counted.RSSKiB != nil {
		s.RSS = *counted.RSSKiB
	}
}

// gate is what the gate counted, zeros without one.
func (s *Share) gate() *statistics.GateTotals {
	if s.Gate == nil {
		return &statistics.GateTotals{}
	}
	return s.Gate
}

// judge holds the share against the promise.
func (s *Share) judge(taintedBefore uint64) {
	s.Violations = []string{}
	violated := func(format string, args ...any) { s.Violations = append(s.Violations, fmt.Sprintf(format, args...)) }
	if s.Error != "" {
		violated("%s", s.Error)
		return
	}
	s.Violations = append(s.Violations, s.Load.Violations...)
	if s.reorderedByListing() {
		s.Violations = slices.DeleteFunc(s.Violations, func(v string) bool { return v == s.Load.Reordering() })
	}
	g := s.gate()
	for _, v := range []struct {
		n    uint64
		what string
	}{
		{s.Clashes, "clashes"},
		{s.PolicedDelivered, "packets delivered that the policy drops"},
		{s.Daemon.VerdictErrors + g.VerdictErrors, "verdicts refused by the kernel"},
		{s.Daemon.QueueDropped + g.QueueDropped, "packets dropped on a full queue"},
		{s.Daemon.UserDropped + g.UserDropped, "packets not taken by a socket"},
		{g.Expired, "held packets went on as their time was up"},
		{g.Unguarded, "packets went on unguarded, over a bound"},
		{g.Vanished, "held packets were no longer there"}, {s.Daemon.Undecodable, "packets could not be decoded"},
		{s.Tainted &^ taintedBefore, "is the mask with which the kernel tainted itself"},
	} {
		if v.n > 0 {
			violated("%d %s", v.n, v.what)
		}
	}
	if s.FilteredLost != s.FilterDropped {
		violated("%d packets lost behind a rule that dropped %d", s.FilteredLost, s.FilterDropped)
	}
	if s.Daemon.Dropped != s.PolicedSent {
		violated("the policy dropped %d of %d packets that it was to drop", s.Daemon.Dropped, s.PolicedSent)
	}
	for i := range s.Load.Targets {
		if n := len(s.Load.Targets[i].ReceivedFrom); s.NAT == report.NATMasquerade && n > 1 {
			violated("packets arrived from %d addresses, and so were not masqueraded", n)
		}
	}
	// Without these a soak in which nothing happens would look perfect.
	if s.Daemon.Received < s.Sent {
		violated("only %d of %d packets went through the queue", s.Daemon.Received, s.Sent)
	}
	if s.Guard == report.GuardHold && g.Held == 0 {
		violated("the guard had nothing to do")
	}
	slices.Sort(s.Violations)
}

// reorderedByListing reports whether packets were reordered, and all of them may have been overtaken while their flow
// was handed over to the settled set, as the gate counts: one that comes then goes through the gate, and the next one
// perhaps past it (docs/guard.md). Answers come back in the order in which packets arrived.
func (s *Share) reorderedByListing() bool {
	echo := s.Load.EchoCounts.Reordered
	return s.Reordered > 0 && s.Settled && max(echo, s.Reordered-echo) <= s.gate().Touched
}

// Line is the share in short.
func (s *Share) Line() string {
	name := fmt.Sprintf("%s, fan-out %s", s.Placement, s.Fanout)
	if s.NAT == report.NATMasquerade {
		name += ", masquerade"
	}
	if s.Error == "" {
		name += fmt.Sprintf(" (%d queues, batch %d, analysis %s; gate: %d queues, settled flows %s): %d flows, "+
			"%d packets",
			s.Queues, s.Batch, s.Analysis, s.GateQueues, map[bool]string{true: "pass", false: "enter"}[s.Settled],
			s.Load.Shape.Flows, s.Sent)
	}
	if len(s.Violations) == 0 && s.Reordered > 0 {
		return fmt.Sprintf("%s: clean but for %d packets that were overtaken as their flows were listed", name, s.Reordered)
	}
	if len(s.Violations) == 0 {
		return name + ": clean"
	}
	return name + ": " + strings.Join(s.Violations, "; ")
}

// guard is the guard in words, and before whom it stood.
func (r *Result) guard() string {
	if r.Program == report.ProgramVerdictd || r.Program == "" {
		return r.Guard
	}
	return r.Guard + " before " + r.Program
}

// judge adds the shares' judgements up.
func (r *Result) judge() {
	v := &r.Verdict
	v.Failures = []string{}
	var sent, reordered, held uint64
	for i := range r.Shares {
		s := &r.Shares[i]
		sent += s.Sent
		reordered += s.Reordered
		held += s.gate().Held
		if len(s.Violations) > 0 {
			v.Failures = append(v.Failures, s.Line())
		}
	}
	seed := fmt.Sprintf("seed %d", r.Seed)
	switch {
	case r.Interrupted:
		v.Line = fmt.Sprintf("INTERRUPTED after %d places, %d of them failed (%s)", len(r.Shares),
			len(v.Failures), seed)
	case len(v.Failures) > 0:
		v.Line = fmt.Sprintf("FAILED: %d of %d places (%s): %s", len(v.Failures), len(r.Shares), seed, v.Failures[0])
	default:
		v.OK = true
		v.Line = fmt.Sprintf("guard %s: 0 clashes, 0 lost, 0 duplicated, %s, 0 corrupted of %d packets in %d places "+
			"(%d held; %s)", r.guard(), inOrder(reordered), sent, len(r.Shares), held, seed)
	}
}

// inOrder tells of packets that were reordered where nothing is wrong.
func inOrder(reordered uint64) string {
	if reordered == 0 {
		return "0 reordered"
	}
	return fmt.Sprintf("%d reordered as their flows were listed", reordered)
}

// WriteText writes the summary for people.
func (r *Result) WriteText(w io.Writer) error {
	var b strings.Builder
	fmt.Fprintf(&b, "Linux %s, %d CPUs; seed %d, %s over %d places, guard %s\n\n", r.Host.Kernel, r.Host.CPUs, r.Seed,
		r.Duration, len(r.Shares), r.guard())
	var shape traffic.MixShape
	var sum Share
	var echoes uint64
	for i := range r.Shares {
		s := &r.Shares[i]
		if s.Load == nil {
			continue
		}
		shape.Add(&s.Load.Shape)
		echoes += s.Load.EchoSent
		sum.add(s)
	}
	row := func(name, format string, args ...any) {
		fmt.Fprintf(&b, "%-12s"+format+"\n", append([]any{name}, args...)...)
	}
	row("flows", "%d: %d IPv6, %d answered, %d longer than 100 ms, %d with a pause of seconds, %d from two threads, "+
		"%d from a port used before",
		shape.Flows, shape.IPv6, shape.Echo, shape.Settling, shape.Paused, shape.Shared, shape.Reused)
	row("packets", "%d sent, %d of them beyond the MTU, %d answers", sum.Sent, shape.Oversized, echoes)
	row("expected", "%d dropped by the policy, %d by a rule behind the queue", sum.Daemon.Dropped, sum.FilterDropped)
	row("faults", "%d clashes, %d lost, %d answers lost, %d duplicated, %d reordered, %d corrupted, %d from a "+
		"changed port",
		sum.Clashes, sum.Lost, sum.EchoLost, sum.Duplicated, sum.Reordered, sum.Corrupted, sum.Moved)
	row("queues", "%d packets received, %d accepted by verdictd", sum.Daemon.Received, sum.Daemon.Accepted)
	g := sum.gate()
	row("gate", "%d packets received: %d first, %d held (%d confirmed, %d behind a first that was gone), %d "+
		"announced; %d flows listed",
		g.Received, g.First, g.Held, g.Confirmed, g.Gone, g.Announced, g.Listed)
	row("memory", "%d KiB at the start and %d KiB at the end, where it grew most", sum.RSS.Start, sum.RSS.End)
	for _, failure := range r.Verdict.Failures {
		fmt.Fprintf(&b, "Failed: %s\n", failure)
	}
	fmt.Fprintf(&b, "%s\n", r.Verdict.Line)
	if _, err := io.WriteString(w, b.String()); err != nil {
		return fmt.Errorf("write the summary: %w", err)
	}
	return nil
}

// add sums up; of the memory it keeps the share that grew most.
func (s *Share) add(o *Share) {
	s.Sent += o.Sent
	s.Lost += o.Lost
	s.EchoLost += o.EchoLost
	s.Duplicated += o.Duplicated
	s.Reordered += o.Reordered
	s.Corrupted += o.Corrupted
	s.Moved += o.Moved
	s.FilterDropped += o.FilterDropped
	s.Clashes += o.Clashes
	statistics.Add(&s.Daemon, &o.Daemon)
	if o.Gate != nil {
		if s.Gate == nil {
			s.Gate = &statistics.GateTotals{}
		}
		statistics.Add(s.Gate, o.Gate)
	}
	if s.RSS.End == 0 || o.RSS.End-min(o.RSS.End, o.RSS.Start) > s.RSS.End-min(s.RSS.End, s.RSS.Start) {
		s.RSS = o.RSS
	}
}

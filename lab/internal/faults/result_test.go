package faults

import (
	"strings"
	"testing"
	"time"

	"verdictd/internal/report"
)

// TestJudgement: what is inherent to a fault is told apart, and nothing else passes.
func TestJudgement(t *testing.T) {
	second := func(n int) time.Duration { return time.Duration(n) * time.Second }
	p := &Played{Program: report.ProgramVerdictd, Delivered: 1, Faults: []Fault{
		{Kind: "interface", began: second(1), ended: second(2)},
		{Kind: "kill", began: second(3), ended: second(4)},
		{Kind: "overload", began: second(5), ended: second(6), KernelDropped: 2},
	}}
	for _, e := range []event{
		{lost, second(1)}, {lost, second(1) - lead}, {duplicated, second(2)}, {unjudged, second(3)},
		{lost, second(5)}, {lost, second(5)}, {lost, second(5)}, {reordered, second(9)},
	} {
		p.enter(e)
	}
	p.judge(0)
	if want := (Costs{Lost: 4}); p.Inherent != want {
		t.Errorf("inherent are %+v, want %+v", p.Inherent, want)
	}
	if want := (Costs{Lost: 1, Unjudged: 1, Duplicated: 1, Reordered: 1}); p.Others != want {
		t.Errorf("others are %+v, want %+v", p.Others, want)
	}
	if len(p.Violations) != 4 {
		t.Errorf("violations %q, want 4", p.Violations)
	}
	r := &Result{Programs: []*Played{p}, Kinds: meanings()}
	r.judge()
	var b strings.Builder
	if err := r.WriteText(&b); err != nil || r.Verdict.OK {
		t.Errorf("%v, verdict %+v", err, r.Verdict)
	}
	for _, want := range []string{"interface", "2* ", "FAILED after 3 faults", "outside of any fault, from 9.0 to 9.0 s: 1 reordered"} {
		if !strings.Contains(b.String(), want) {
			t.Errorf("the text has no %q:\n%s", want, &b)
		}
	}
}

// TestNothingIsNoSuccess: a run in which nothing happens would look perfect.
func TestNothingIsNoSuccess(t *testing.T) {
	p := &Played{}
	p.judge(0)
	if len(p.Violations) == 0 {
		t.Error("no violation")
	}
}

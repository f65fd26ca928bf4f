package dns

import (
	"strings"
	"testing"

	"verdictd/internal/report"
	resolver "verdictd/internal/traffic/dns"
)

// dnsRows are those of a lab that has shown what it is to show.
func dnsRows() *Result {
	run := func(guard string, retried, held uint64) Row {
		return Row{Guard: guard, Held: held, Resolver: &resolver.Result{Resolutions: 100, Resolved: 100,
			Retried: retried, Config: resolver.Config{Queries: resolver.Parallel}}}
	}
	return &Result{planned: 4, Runs: []Row{
		run(noQueue, 0, 0), run(report.GuardOff, 3, 0), run(report.GuardDrop, 90, 0), run(report.GuardHold, 0, 95),
	}}
}

func TestDNSJudge(t *testing.T) {
	r := dnsRows()
	if r.judge(); !r.Verdict.OK || !strings.Contains(r.Verdict.Line, "guard drop: 90 of 100") ||
		!strings.Contains(r.Verdict.Line, "guard hold: 0 of 100") {
		t.Errorf("%+v", r.Verdict)
	}
	for want, spoil := range map[string]func(r *Result){
		"no queue: 1 resolutions had to ask again": func(r *Result) { r.Runs[0].Resolver.Retried = 1 },
		"hold: 2 resolutions had to ask again":     func(r *Result) { r.Runs[3].Resolver.Retried = 2 },
		"hold: 0 resolutions had to ask again, 1":  func(r *Result) { r.Runs[3].Resolver.Failed = 1 },
		"hold: 4 clashes":                          func(r *Result) { r.Runs[3].Clashes = 4 },
		"the guard had nothing to do":              func(r *Result) { r.Runs[3].Held = 0 },
		"nothing was put to the test":              func(r *Result) { r.Runs[2].Resolver.Retried = 0 },
		"hold: 2 packets went on":                  func(r *Result) { r.Runs[3].Expired = 2 },
		"5 wrong answers":                          func(r *Result) { r.Runs[1].Resolver.WrongAnswers = 5 },
		"mask 128":                                 func(r *Result) { r.Runs[1].Tainted = 128 },
		"off: it broke":                            func(r *Result) { r.Runs[1].Error = "it broke" },
	} {
		r := dnsRows()
		spoil(r)
		r.judge()
		if r.Verdict.OK || len(r.Verdict.Failures) != 1 || !strings.Contains(r.Verdict.Line, want) {
			t.Errorf("%+v, want a failure with %q", r.Verdict, want)
		}
	}
	// A resolver that asks one question after the other is not exposed.
	r = dnsRows()
	r.Runs[2].Resolver.Retried, r.Runs[3].Held = 0, 0
	for i := range r.Runs {
		r.Runs[i].Resolver.Config.Queries = resolver.SingleRequest
	}
	if r.judge(); !r.Verdict.OK {
		t.Errorf("%+v", r.Verdict)
	}
	// One that asks from two sockets has nothing that clashes, whatever the guard.
	for retried, right := range map[uint64]bool{0: true, 1: false} {
		r = dnsRows()
		r.Runs[2].Resolver.Retried, r.Runs[2].Resolver.Config.Queries = retried, resolver.Separate
		if r.judge(); r.Verdict.OK != right {
			t.Errorf("%d asked again: %+v", retried, r.Verdict)
		}
	}
	r = dnsRows()
	r.Interrupted = true
	if r.judge(); r.Verdict.OK || !strings.Contains(r.Verdict.Line, "INTERRUPTED after 4 of 4") {
		t.Errorf("%+v", r.Verdict)
	}
}

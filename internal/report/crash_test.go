package report

import (
	"bytes"
	"encoding/json"
	"strings"
	"testing"
)

// fired, clean and guarded are rows as they should be.
func fired() CrashRow {
	after := 0.4
	return CrashRow{
		Kernel: KernelVulnerable, Repeat: 1, Release: "6.1.192-lab-vulnerable-kasan", KASAN: true,
		Expected: OutcomeFires, Ended: "exited",
		Run: Run{Placement: "verdict3", Program: ProgramVerdictd, Fanout: FanoutNumgen, Guard: GuardOff,
			Events: EventsListener, Flows: 2000, Sent: 4000, ClashResolve: new(uint64(531)),
			QueuePackets: []uint64{8000}},
		Signature: "nf_conntrack_confirm", About: "CVE-2022-49561: known",
		Report: []string{"BUG: KASAN: use-after-free in <nf_conntrack_confirm>"}, SecondsToFire: &after,
	}
}

func clean() CrashRow {
	r := fired()
	r.Kernel, r.Expected, r.Signature, r.Report, r.SecondsToFire = KernelFixed, OutcomeClean, "", nil, nil
	r.EventsSeen = new(uint64(10))
	return r
}

func guarded() CrashRow {
	r := clean()
	r.Kernel, r.Guard, r.ClashResolve, r.Held = KernelVulnerable, GuardHold, new(uint64(0)), 2000
	return r
}

func before() CrashRow {
	r := guarded()
	r.Guard, r.Placement, r.Held = GuardOff, PlacementPreConntrack, 0
	return r
}

func TestCrashRowIsJudged(t *testing.T) {
	for _, test := range []struct {
		name    string
		row     CrashRow
		change  func(*CrashRow)
		outcome string
		ok      bool
		problem string
	}{
		{"fires", fired(), nil, OutcomeFires, true, ""},
		{"fires, and the machine dies of it", fired(), func(r *CrashRow) { r.Partial, r.Ended = true, "panic" },
			OutcomeFires, true, ""},
		{"fires, and the workload fails of it", fired(), func(r *CrashRow) { r.Error = "stress: the kernel broke" },
			OutcomeFires, true, ""},
		{"does not fire in spite of clashes", fired(), func(r *CrashRow) { r.Signature = "" }, OutcomeClean, false, ""},
		{"no clash", fired(), func(r *CrashRow) { r.Signature, r.ClashResolve = "", new(uint64(0)) },
			OutcomeInconclusive, false, "no clash"},
		{"clashes not counted", fired(), func(r *CrashRow) { r.Signature, r.ClashResolve = "", nil },
			OutcomeInconclusive, false, "no clash"},
		{"dies of something else", fired(), func(r *CrashRow) { r.Signature, r.Partial, r.Ended = "", true, "panic" },
			OutcomeInconclusive, false, "ended early (panic)"},

		{"fixed", clean(), nil, OutcomeClean, true, ""},
		{"fixed, and no clash", clean(), func(r *CrashRow) { r.ClashResolve = new(uint64(0)) }, OutcomeInconclusive,
			false, "no clash"},
		{"fixed, and it fires", clean(), func(r *CrashRow) { r.Signature = "nf_ct_deliver_cached_events" },
			OutcomeFires, false, ""},
		{"fixed, without KASAN", clean(), func(r *CrashRow) { r.KASAN = false }, OutcomeInconclusive, false,
			"no KASAN"},
		{"fixed, nobody listens", clean(), func(r *CrashRow) { r.EventsSeen = new(uint64(0)) }, OutcomeInconclusive,
			false, "no event"},
		{"fixed, another report", clean(), func(r *CrashRow) { r.Others = []string{"WARNING: at elsewhere"} },
			OutcomeInconclusive, false, "at elsewhere"},
		{"fixed, the workload failed", clean(), func(r *CrashRow) { r.Error = "verdictd failed" }, OutcomeInconclusive,
			false, "verdictd failed"},
		{"fixed, nothing sent", clean(), func(r *CrashRow) { r.Sent = 0 }, OutcomeInconclusive, false,
			"no packet was sent"},
		{"events off", clean(), func(r *CrashRow) {
			r.Kernel, r.Events, r.EventsSeen = KernelVulnerable, EventsOff,
				new(uint64(0))
		}, OutcomeClean, true, ""},
		{"packets lost without a guard", clean(), func(r *CrashRow) { r.Lost = 1 }, OutcomeClean, true, ""},

		{"guard", guarded(), nil, OutcomeClean, true, ""},
		{"guard, without KASAN", guarded(), func(r *CrashRow) { r.KASAN = false }, OutcomeClean, true, ""},
		{"guard, a clash", guarded(), func(r *CrashRow) { r.ClashResolve = new(uint64(1)) }, OutcomeClean, false,
			"1 clashes"},
		{"guard, a loss", guarded(), func(r *CrashRow) { r.Lost = 2 }, OutcomeClean, false, "2 of 4,000 packets lost"},
		{"guard, a packet that expired", guarded(), func(r *CrashRow) { r.Expired = 1 }, OutcomeClean, false,
			"1 held packets went on"},
		{"guard, another program", guarded(), func(r *CrashRow) { r.Program = ProgramGo }, OutcomeClean, true, ""},
		{"guard, it fires", guarded(), func(r *CrashRow) { r.Signature = "nf_conntrack_confirm" }, OutcomeFires,
			false, ""},
		{"guard with nothing to do", guarded(), func(r *CrashRow) { r.Held = 0 }, OutcomeInconclusive, false,
			"nothing to prevent"},
		{"guard, nothing queued", guarded(), func(r *CrashRow) { r.QueuePackets = nil }, OutcomeInconclusive, false,
			"through the queue"},
		{"before conntrack", before(), nil, OutcomeClean, true, ""},
		{"before conntrack, a clash", before(), func(r *CrashRow) { r.ClashResolve = new(uint64(1)) }, OutcomeClean,
			false, "1 clashes"},

		{"an image of one's own fires", fired(), func(r *CrashRow) { r.Kernel, r.Expected = KernelOwn, "" },
			OutcomeFires, true, ""},
		{"an image of one's own does not", clean(), func(r *CrashRow) { r.Kernel, r.Expected = KernelOwn, "" },
			OutcomeClean, true, ""},
	} {
		t.Run(test.name, func(t *testing.T) {
			row := test.row
			if test.change != nil {
				test.change(&row)
			}
			ok := row.Judge()
			problems := strings.Join(row.Problems, "; ")
			if row.Outcome != test.outcome || ok != test.ok || !strings.Contains(problems, test.problem) ||
				test.problem == "" && problems != "" {
				t.Errorf("outcome %s, ok %v, problems %q; want %s, %v, %q", row.Outcome, ok, problems, test.outcome,
					test.ok, test.problem)
			}
		})
	}
}

func crashReport(rows ...CrashRow) *CrashReport {
	rep := &CrashReport{
		Schema: CrashSchema, Version: "test",
		Host:     CrashHost{Kernel: "6.18.0", Architecture: "amd64", CPUs: 2, Accelerator: "tcg"},
		Settings: CrashSettings{Flows: 2000, Burst: 2, Queues: 2, CPUs: 2, Repeat: 1},
		Planned:  len(rows), Notes: []string{"a note"}, Rows: rows,
	}
	JudgeCrash(rep)
	return rep
}

func TestCrashReport(t *testing.T) {
	later := fired()
	late := 1.3
	later.Repeat, later.SecondsToFire = 2, &late
	rep := crashReport(later, fired(), clean(), guarded(), before())
	if !rep.Verdict.OK || len(rep.Verdict.Failures) > 0 {
		t.Errorf("the story as it should be is judged %+v", rep.Verdict)
	}
	for _, part := range []string{"vulnerable, guard off: fires 2 of 2", "fixed, guard off: no report in 531 clashes",
		"vulnerable, guard hold: no report in 2,000 flows", "vulnerable, pre-conntrack: no report in 2,000 flows"} {
		if !strings.Contains(rep.Verdict.Line, part) {
			t.Errorf("the verdict %q does not say %q", rep.Verdict.Line, part)
		}
	}
	if len(rep.Summary) != 4 || rep.Summary[0].Fires != 2 || rep.Summary[0].Flows != 4000 ||
		rep.Summary[0].Clashes != 1062 {
		t.Errorf("the summary is %+v", rep.Summary)
	}

	var text, page bytes.Buffer
	if err := WriteCrashText(&text, rep); err != nil {
		t.Fatal(err)
	}
	for _, part := range []string{"fires 2/2", "0.4 to 1.3 s", "CVE-2022-49561: known", "Note: a note",
		"vulnerable  hold   verdictd  verdict3"} {
		if !strings.Contains(text.String(), part) {
			t.Errorf("the text lacks %q:\n%s", part, text.String())
		}
	}
	if err := WriteCrashHTML(&page, rep); err != nil {
		t.Fatal(err)
	}
	for _, part := range []string{"use-after-free in &lt;nf_conntrack_confirm&gt;", "0.4 to 1.3 s",
		`class="verdict ok"`} {
		if !strings.Contains(page.String(), part) {
			t.Errorf("the page lacks %q", part)
		}
	}

	document, err := json.Marshal(rep)
	if err != nil {
		t.Fatal(err)
	}
	var keys struct {
		Rows []map[string]any `json:"rows"`
	}
	if err := json.Unmarshal(document, &keys); err != nil {
		t.Fatal(err)
	}
	for key := range strings.FieldsSeq("kernel guard placement events flows clash_resolve lost seconds_to_fire report outcome expected") {
		if _, ok := keys.Rows[0][key]; !ok {
			t.Errorf("a row has no %q", key)
		}
	}
}

func TestCrashReportFails(t *testing.T) {
	silent := fired()
	silent.Signature = ""
	rep := crashReport(silent, clean())
	if rep.Verdict.OK || !strings.Contains(rep.Verdict.Line, "1 of 2 machines") ||
		!strings.Contains(rep.Verdict.Failures[0], "clean, and not fires") {
		t.Errorf("a vulnerable kernel that does not fire is judged %+v", rep.Verdict)
	}
	if rep := crashReport(); rep.Verdict.OK {
		t.Error("a report without rows is good")
	}
	rep = crashReport(fired())
	rep.Interrupted = true
	JudgeCrash(rep)
	if rep.Verdict.OK {
		t.Error("an interrupted report is good")
	}
	// Without a bound on the words: a shell, and a page, must get text.
	silent.Release, silent.Error = "<script>", "<script>"
	var page bytes.Buffer
	if err := WriteCrashHTML(&page, crashReport(silent)); err != nil || strings.Contains(page.String(), "<script>") {
		t.Errorf("the page takes text for markup (%v)", err)
	}
}

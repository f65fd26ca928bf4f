package main

import (
	"strings"
	"testing"

	"verdictd/internal/report"
	"verdictd/lab/internal/vm"
)

func TestModloadRows(t *testing.T) {
	proto := map[string]uint64{"EPROTONOSUPPORT": 3}
	for _, test := range []struct {
		row  modloadRow
		want string // part of the problem, "" for none
	}{
		{modloadRow{Modprobe: modprobeStand, Strategy: strategyNaive, Rounds: 10, Failed: 3, Errors: proto}, ""},
		{modloadRow{Modprobe: modprobeStand, Strategy: strategyNaive, Rounds: 10}, "did not show"},
		{modloadRow{Modprobe: modprobeStand, Strategy: strategyNaive, Rounds: 10, Failed: 3, Errors: map[string]uint64{"EMFILE": 3}}, "did not show"},
		{modloadRow{Modprobe: modprobeStand, Strategy: strategyFirst, Rounds: 10, Failed: 3, Errors: proto}, "failures"},
		{modloadRow{Modprobe: modprobeStand, Strategy: strategyVerdictd, Rounds: 10}, ""},
		{modloadRow{Modprobe: modprobeStand, Strategy: strategyVerdictd, Rounds: 10, Failed: 1}, "failures"},
		{modloadRow{Modprobe: modprobeHost, Strategy: strategyNaive, Rounds: 10}, ""},
		{modloadRow{Modprobe: modprobeHost, Strategy: strategyNaive, Rounds: 10, Failed: 1, Errors: proto}, "failures"},
		{modloadRow{Modprobe: modprobeHost, Strategy: strategyNaive, Rounds: 9}, "9 of 10"},
		{modloadRow{Modprobe: modprobeHost, Strategy: strategyNaive, Problem: "module in use"}, "module in use"},
	} {
		r := test.row
		r.judge(10)
		if r.Expected != (test.want == "") || !strings.Contains(r.Problem, test.want) {
			t.Errorf("%+v: expected %v, problem %q; want %q", test.row, r.Expected, r.Problem, test.want)
		}
	}
}

func TestProcnetJudgement(t *testing.T) {
	const found, clean = `{"role":"planted","doing":"waiting","state":"S"}`, ""
	result := func(views, wrong, hangs, reached string) *procnetOutput {
		o, err := takeProcnet(&vm.Result{Ended: vm.EndedExited, ExitStatus: 1, Stdout: []byte(
			`{"schema":1,"views":{"self/net":` + views + `},"wrong_views":` + wrong + `,"hangs":[` + hangs + `],"locks_reached":` + reached + `}`)})
		if err != nil {
			t.Fatal(err)
		}
		return o
	}
	for _, test := range []struct {
		kernel, planted *procnetOutput
		want            string
	}{
		{result("5", "0", clean, "true"), result("5", "0", found, "true"), ""},
		{result("5", "0", clean, "true"), result("5", "0", clean, "true"), "one hang was planted, and 0 were found"},
		{result("5", "0", found, "true"), result("5", "0", found, "true"), "1 threads hang"},
		{result("5", "2", clean, "true"), result("5", "0", found, "true"), "2 readings"},
		{result("0", "0", clean, "true"), result("5", "0", found, "true"), "nothing was read"},
		{result("5", "0", clean, "false"), result("5", "0", found, "true"), "no rename"},
	} {
		r := procnetReport{Kernel: *test.kernel, Planted: test.planted}
		r.judge()
		if (r.Problem == "") != (test.want == "") || !strings.Contains(r.Problem, test.want) {
			t.Errorf("problem %q, want %q", r.Problem, test.want)
		}
	}
	if _, err := takeProcnet(&vm.Result{Ended: vm.EndedPanic}); err == nil {
		t.Error("a panic is taken for a result")
	}
	if _, err := takeProcnet(&vm.Result{Ended: vm.EndedExited, ExitStatus: 2}); err == nil {
		t.Error("wrong usage is taken for a result")
	}
}

// A row that shows nothing is no success.
func TestGuardedRows(t *testing.T) {
	one := uint64(1)
	for _, test := range []struct {
		run report.Run
		ok  bool
	}{
		{report.Run{Delivered: 8, Held: 6}, true},
		{report.Run{Delivered: 8}, false},
		{report.Run{Held: 6}, false},
		{report.Run{Delivered: 8, Held: 6, Lost: 1}, false},
		{report.Run{Delivered: 8, Held: 6, Duplicated: 1}, false},
		{report.Run{Delivered: 8, Held: 6, ClashResolve: &one}, false},
		{report.Run{Delivered: 8, Held: 6, Error: "it broke"}, false},
	} {
		if err := guarded(&test.run); (err == nil) != test.ok {
			t.Errorf("%+v: %v, want success %v", test.run, err, test.ok)
		}
	}
}

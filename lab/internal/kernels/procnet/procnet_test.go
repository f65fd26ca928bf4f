package procnet

import (
	"strings"
	"testing"

	"verdictd/internal/results"
	"verdictd/lab/internal/vm"
)

func TestProcnetJudgement(t *testing.T) {
	const found, clean = `{"role":"planted","doing":"waiting","state":"S"}`, ""
	result := func(views, wrong, hangs, reached string) *results.Procnet {
		o, err := takeProcnet(&vm.Result{Ended: vm.EndedExited, ExitStatus: 1, Stdout: []byte(
			`{"schema":1,"views":{"self/net":` + views + `},"wrong_views":` + wrong + `,"hangs":[` + hangs +
				`],"locks_reached":` + reached + `}`)})
		if err != nil {
			t.Fatal(err)
		}
		return o
	}
	for _, test := range []struct {
		kernel, planted *results.Procnet
		want            string
	}{
		{result("5", "0", clean, "true"), result("5", "0", found, "true"), ""},
		{result("5", "0", clean, "true"), result("5", "0", clean, "true"), "one hang was planted, and 0 were found"},
		{result("5", "0", found, "true"), result("5", "0", found, "true"), "1 threads hang"},
		{result("5", "2", clean, "true"), result("5", "0", found, "true"), "2 readings"},
		{result("0", "0", clean, "true"), result("5", "0", found, "true"), "nothing was read"},
		{result("5", "0", clean, "false"), result("5", "0", found, "true"), "no rename"},
	} {
		r := Report{Kernel: *test.kernel, Planted: test.planted}
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

package modload

import (
	"strings"
	"testing"
)

func TestModloadRows(t *testing.T) {
	proto := map[string]uint64{"EPROTONOSUPPORT": 3}
	for _, test := range []struct {
		row  Row
		want string // part of the problem, "" for none
	}{
		{Row{Modprobe: modprobeStand, Strategy: strategyNaive, Rounds: 10, Failed: 3, Errors: proto}, ""},
		{Row{Modprobe: modprobeStand, Strategy: strategyNaive, Rounds: 10}, "did not show"},
		{Row{Modprobe: modprobeStand, Strategy: strategyNaive, Rounds: 10, Failed: 3,
			Errors: map[string]uint64{"EMFILE": 3}}, "did not show"},
		{Row{Modprobe: modprobeStand, Strategy: strategyFirst, Rounds: 10, Failed: 3, Errors: proto}, "failures"},
		{Row{Modprobe: modprobeStand, Strategy: strategyVerdictd, Rounds: 10}, ""},
		{Row{Modprobe: modprobeStand, Strategy: strategyVerdictd, Rounds: 10, Failed: 1}, "failures"},
		{Row{Modprobe: ModprobeHost, Strategy: strategyNaive, Rounds: 10}, ""},
		{Row{Modprobe: ModprobeHost, Strategy: strategyNaive, Rounds: 10, Failed: 1, Errors: proto}, "failures"},
		{Row{Modprobe: ModprobeHost, Strategy: strategyNaive, Rounds: 9}, "9 of 10"},
		{Row{Modprobe: ModprobeHost, Strategy: strategyNaive, Problem: "module in use"}, "module in use"},
	} {
		r := test.row
		r.judge(10)
		if r.Expected != (test.want == "") || !strings.Contains(r.Problem, test.want) {
			t.Errorf("%+v: expected %v, problem %q; want %q", test.row, r.Expected, r.Problem, test.want)
		}
	}
}

package workload

import (
	"encoding/json"
	"strings"
	"testing"

	"verdictd/internal/crash"
	"verdictd/internal/report"
	"verdictd/lab/internal/vm"
)

// A console as a machine gives it: the workload's mark, and the report after it.
const crashConsole = `[    0.788000] smp: Brought up 1 node, 2 CPUs
[   14.409242] lab: sending begins
[   14.909242] ==================================================================
[   14.911721] BUG: KASAN: use-after-free in nf_conntrack_confirm+0xde/0xf6
[   14.912836] Read of size 1 at addr ffff888000193c04 by task verdictd/81
[   14.912836] 
[   14.912836] CPU: 1 PID: 81 Comm: verdictd Not tainted 6.1.192-lab-vulnerable-kasan #2 
[   14.912836] Call Trace:
[   14.912836]  <TASK>
[   14.912836]  dump_stack_lvl+0x33/0x42
[   14.912836]  ? queued_read_unlock+0x19/0x19
[   14.912836]  nf_conntrack_confirm+0xde/0xf6
[   14.912836]  nf_reinject+0x2c7/0x3e5
[   14.912836] RIP: 0033:0x40d00e
[   14.912836] RAX: ffffffffffffffda RBX: 0000000000000006 RCX: 000000000040d00e
[   14.912836]  </TASK>
[   14.912836] 
[   14.912836] Allocated by task 112:
[   14.912836]  nf_ct_ext_add+0x14c/0x27a
[   14.912836] 
[   14.912836] Freed by task 81:
[   14.912836]  nf_conntrack_free+0x19e/0x1cf
[   14.912836]  __nf_ct_resolve_clash+0x28c/0x34e
[   14.912836] 
[   14.912836] The buggy address belongs to the object at ffff888000193c00
[   14.912836] Memory state around the buggy address:
[   14.912836]  ffff888000193b00: 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00
[   14.912836] ==================================================================
[   14.965099] Disabling lock debugging due to kernel taint
`

func consoleResult(t *testing.T, console string) *vm.Result {
	t.Helper()
	reports, err := crash.Scan(strings.NewReader(console))
	if err != nil {
		t.Fatal(err)
	}
	return &vm.Result{Ended: vm.EndedExited, Console: []byte(console), Reports: reports, Outputs: map[string][]byte{}}
}

func TestMachineThatFinished(t *testing.T) {
	result := consoleResult(t, crashConsole)
	clashes := uint64(531)
	done, err := json.Marshal(Result{Schema: 1, Release: "6.1.192-lab-vulnerable-kasan", KASAN: true, Run: report.Run{
		Placement: "verdict3", Guard: "off", Events: "listener", Flows: 2000, Sent: 4000, ClashResolve: &clashes,
		Error: "stress: the kernel broke",
	}})
	if err != nil {
		t.Fatal(err)
	}
	result.Outputs["row.json"] = done
	row := report.CrashRow{Kernel: "vulnerable", Expected: report.OutcomeFires}
	if err := takeMachine(&row, result); err != nil {
		t.Fatal(err)
	}
	if !row.Judge() || row.Outcome != report.OutcomeFires || row.Flows != 2000 || row.Clashes() != 531 || row.Partial {
		t.Errorf("got %+v", row)
	}
	if row.SecondsToFire == nil || *row.SecondsToFire < 0.49 || *row.SecondsToFire > 0.52 {
		t.Errorf("fires after %v", row.SecondsToFire)
	}
	quoted := strings.Join(row.Report, "\n")
	for _, part := range []string{"BUG: KASAN: use-after-free in nf_conntrack_confirm", " nf_reinject+",
		"Freed by task 81", "__nf_ct_resolve_clash"} {
		if !strings.Contains(quoted, part) {
			t.Errorf("the quotation lacks %q:\n%s", part, quoted)
		}
	}
	for _, part := range []string{"? ", "RAX", "nf_ct_ext_add", "buggy address", "ffff888000193b00"} {
		if strings.Contains(quoted, part) {
			t.Errorf("the quotation has %q:\n%s", part, quoted)
		}
	}
}

// A machine that dies leaves what its workload had told until then.
func TestMachineThatDied(t *testing.T) {
	result := consoleResult(t, "[   14.409242] lab: sending begins\n[   15.5] Kernel panic - not syncing: something else\n")
	result.Ended = vm.EndedPanic
	result.Stdout = []byte(`{"release":"6.1.192","kasan":true,"seconds":0.2,"entries":100,"clash_resolve":3}
{"release":"6.1.192","kasan":true,"seconds":0.5,"entries":240,"clash_resolve":11}
{"release":"6.1.192","kasan":true,"seconds":0.7,"entr`)
	row := report.CrashRow{Kernel: "vulnerable", Expected: report.OutcomeFires,
		Run: report.Run{Placement: "verdict3", Guard: "off", Events: "listener"}}
	if err := takeMachine(&row, result); err != nil {
		t.Fatal(err)
	}
	if row.Judge() || row.Outcome != report.OutcomeInconclusive || !row.Partial || row.Flows != 240 ||
		row.Clashes() != 11 || row.Release != "6.1.192" {
		t.Errorf("got %+v", row)
	}
}

func TestMachineWhoseWorkloadFailed(t *testing.T) {
	result := consoleResult(t, "")
	result.ExitStatus, result.Stderr = 1, []byte("lab: no room\n")
	row := report.CrashRow{Kernel: "fixed", Expected: report.OutcomeClean}
	if err := takeMachine(&row, result); err != nil {
		t.Fatal(err)
	}
	if row.Judge() || row.Outcome != report.OutcomeInconclusive || !strings.Contains(row.Problems[0], "lab: no room") {
		t.Errorf("got %+v", row)
	}
}

package compare

import (
	"os/exec"
	"strings"
	"testing"

	"verdictd/internal/report"
	"verdictd/lab/internal/kernels/workload"
)

// What machines leave is what stress compare reads.
func TestSamplesCompare(t *testing.T) {
	c := sampling{Config: &Config{Machines: workload.Machines{Flows: 500, Burst: 2, CPUs: 2}}}
	var folders []string
	for _, kernel := range []struct {
		name    string
		clashes uint64
	}{{"before", 12}, {"after", 0}} {
		s := &side{name: kernel.name, dir: t.TempDir()}
		for n := range 5 {
			clashes := kernel.clashes + uint64(n)
			row := report.CrashRow{Kernel: kernel.name, Release: "6.1-" + kernel.name, Run: scenarios["queue"]}
			row.Sent, row.Delivered, row.ClashResolve = 1000, 1000, &clashes
			if err := c.keep(s, n, &row); err != nil {
				t.Fatal(err)
			}
		}
		folders = append(folders, s.dir)
	}
	text, err := exec.Command("go", "run", "verdictd/stress", "compare", folders[0], folders[1]).CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, text)
	}
	for _, part := range []string{"clashes", "better", "6.1-before", "6.1-after"} {
		if !strings.Contains(string(text), part) {
			t.Errorf("the comparison lacks %q:\n%s", part, string(text))
		}
	}
}

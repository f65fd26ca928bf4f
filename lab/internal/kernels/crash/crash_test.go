package crash

import (
	"testing"

	"verdictd/lab/internal/kbuild"
)

func TestCrashRows(t *testing.T) {
	type key struct{ kernel, guard, program, placement, fanout, events, expected string }
	for _, test := range []struct {
		name string
		cmd  Config
		want []key
	}{
		{"the story", Config{Variant: kbuild.Vulnerable}, []key{
			{"vulnerable", "off", "verdictd", "verdict3", "numgen", "listener", "fires"},
			{"fixed", "off", "verdictd", "verdict3", "numgen", "listener", "clean"},
			{"vulnerable", "hold", "verdictd", "verdict3", "numgen", "listener", "clean"},
			{"vulnerable", "off", "go-nfqueue", "verdict3", "numgen", "listener", "fires"},
			{"vulnerable", "hold", "go-nfqueue", "verdict3", "numgen", "listener", "clean"},
			{"vulnerable", "off", "verdictd", "pre-conntrack", "balance", "listener", "clean"},
			{"vulnerable", "off", "verdictd", "verdict3", "numgen", "off", "clean"},
		}},
		{"the seed's shape", Config{Variant: kbuild.EL7Shape}, []key{
			{"el7-shape", "off", "verdictd", "verdict3", "numgen", "listener", "fires"},
			{"el7-shape", "hold", "verdictd", "verdict3", "numgen", "listener", "clean"},
		}},
		{"one's own", Config{Variant: kbuild.Vulnerable, Image: "bzImage"}, []key{
			{"own", "off", "verdictd", "verdict3", "numgen", "listener", ""},
			{"own", "hold", "verdictd", "verdict3", "numgen", "listener", "clean"},
			{"own", "off", "go-nfqueue", "verdict3", "numgen", "listener", ""},
			{"own", "hold", "go-nfqueue", "verdict3", "numgen", "listener", "clean"},
			{"own", "off", "verdictd", "pre-conntrack", "balance", "listener", "clean"},
			{"own", "off", "verdictd", "verdict3", "numgen", "off", "clean"},
		}},
	} {
		rows := test.cmd.crashRows()
		if len(rows) != len(test.want) {
			t.Errorf("%s: %d rows, want %d", test.name, len(rows), len(test.want))
			continue
		}
		for i, r := range rows {
			if got := (key{r.Kernel, r.Guard, r.Program, r.Placement, r.Fanout, r.Events,
				r.Expected}); got != test.want[i] {
				t.Errorf("%s: row %d is %v, want %v", test.name, i, got, test.want[i])
			}
		}
	}
}

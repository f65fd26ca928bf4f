package ruleset

import (
	"fmt"
	"testing"

	"verdictd/internal/testkit"
	"verdictd/internal/vocabulary"
)

// same fails unless the table is what it should be, with nothing left over.
func same(t *testing.T, i *Installed) {
	t.Helper()
	change, err := i.Check()
	if err != nil {
		t.Fatal(err)
	}
	if change.Any() || len(change.Leftovers) > 0 {
		t.Errorf("differences %q, left over %q", change.Differences, change.Leftovers)
	}
}

// What was written is read back as equal, whatever it is.
func TestEqual(t *testing.T) {
	for _, placement := range vocabulary.Placements()[1:] {
		for _, fanout := range vocabulary.Fanouts() {
			t.Run(fmt.Sprintf("%s/%s", placement, fanout), func(t *testing.T) {
				testkit.Namespace(t)
				c := udpRules(placement, fanout, 3)
				c.Protocols = []uint8{1, 17, 58}
				i := install(t, c)
				same(t, i)
				c.DestinationPorts, c.SourcePorts, c.Protocols, c.IPv6, c.Bypass = []uint16{53, 443}, []uint16{1}, []uint8{6, 17}, false, true
				if _, err := i.Apply(c); err != nil {
					t.Fatal(err)
				}
				same(t, i)
				g := testGate()
				c.Gate = &g
				if _, err := i.Apply(c); err != nil {
					t.Fatal(err)
				}
				same(t, i)
			})
		}
	}
}

//go:build !race

package gate

import "testing"

// TestAllocations is off under the race detector, which allocates itself.
func TestAllocations(t *testing.T) {
	g := newTable(t, func(c *Config) { c.Flows = 64 })
	turn := turns(g)
	for range 100 { // the lists get their memory
		turn()
	}
	if n := testing.AllocsPerRun(1000, turn); n != 0 {
		t.Errorf("%v allocations a turn", n)
	}
}

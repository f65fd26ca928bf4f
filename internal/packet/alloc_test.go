//go:build !race

package packet

import "testing"

// The race detector's own allocations would be counted.
func TestNoAllocation(t *testing.T) {
	for name, b := range samples() {
		var v View
		var k Key
		if n := testing.AllocsPerRun(100, func() {
			if err := v.Decode(b); err != nil {
				t.Fatal(err)
			}
			v.Key(&k)
			_, _, _, _ = v.Src(), v.Dst(), v.Payload(), v.Fingerprint()
		}); n != 0 {
			t.Errorf("%s: %v allocations, want 0", name, n)
		}
		if n := testing.AllocsPerRun(100, func() { _ = v.Decode(b[:19]) }); n != 0 {
			t.Errorf("%s refused: %v allocations, want 0", name, n)
		}
	}
}

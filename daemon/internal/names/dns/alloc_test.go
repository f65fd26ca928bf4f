//go:build !race

package dns

import (
	"testing"

	"verdictd/daemon/internal/names"
)

func TestAllocations(t *testing.T) {
	dst := make([]byte, 0, names.MaxText)
	for _, b := range seeds(t) {
		if n := testing.AllocsPerRun(100, func() { _, _, _ = Message(b, dst); _, _, _, _ = Stream(b, dst) }); n != 0 {
			t.Errorf("%x: %v allocations", b, n)
		}
	}
}

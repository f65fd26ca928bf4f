//go:build !race

package http1

import (
	"testing"

	"verdictd/daemon/internal/names"
)

func TestAllocations(t *testing.T) {
	dst := make([]byte, 0, names.MaxText)
	for _, test := range requests {
		b := []byte(test.text)
		if n := testing.AllocsPerRun(100, func() { Request(b, dst) }); n != 0 {
			t.Errorf("%q: %v allocations", b, n)
		}
	}
}

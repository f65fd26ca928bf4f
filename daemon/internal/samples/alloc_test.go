//go:build !race

package samples

import (
	"testing"

	"verdictd/internal/vocabulary"
)

// Taking a sample allocates nothing.
func TestSampleAllocatesNothing(t *testing.T) {
	s := open(t, t.TempDir(), 1<<20, 1)
	p := packetOf(1400)
	if n := testing.AllocsPerRun(100, func() { s.Sample("a", vocabulary.Accept, p) }); n != 0 {
		t.Errorf("%v allocations a packet", n)
	}
	if err := s.Close(); err != nil {
		t.Error(err)
	}
}

//go:build !race

package load

import "testing"

func TestNoAllocationForAPacket(t *testing.T) {
	b := packet(0, 0, 0)
	l := NewLedger(testRun, 3, 5, 2)
	broken := damaged()
	in := newIntake(clock{}, NewLedger(testRun, 3, 5, 2), len(b), false)
	for i, p := range burst(1) {
		in.batch.msgs[i].len = uint32(copy(in.batch.bufs[i], p))
	}
	for name, f := range map[string]func(){
		"encode":         func() { headers[1].Put(b) },
		"decode":         func() { _, _ = DecodeHeader(b) },
		"decode damaged": func() { _, _ = DecodeHeader(broken) },
		"ledger":         func() { l.Record(b); l.Record(broken) },
		"intake":         func() { in.take(5) },
	} {
		if n := testing.AllocsPerRun(100, f); n != 0 {
			t.Errorf("%s allocates %v times", name, n)
		}
	}
}

package vocabulary

import "testing"

// All that can be written is read back, is no other value, and stays in its bits.
func TestMarks(t *testing.T) {
	for _, m := range []Marks{DefaultMarks, 0x1f, 0x3e0, 0xf8000000, 0xffff0000} {
		if err := m.Check(); err != nil {
			t.Fatal(err)
		}
		seen := map[uint32]bool{0: true, m.Repeated(): true}
		for v := MarkAccept; v <= MarkReject; v++ {
			for g := uint16(0); g <= m.Generations(); g++ {
				value := m.Value(v, g)
				if seen[value] || value&^uint32(m) != 0 {
					t.Fatalf("%v: verdict %d of generation %d is %#x, which is another's", m, v, g, value)
				}
				seen[value] = true
				gotV, gotG := m.Read(m.Set(^uint32(0), value))
				if gotV != v || gotG != g || value&m.Verdicts() != m.Value(v, 0) {
					t.Fatalf("%v: read verdict %d of generation %d, want %d of %d", m, gotV, gotG, v, g)
				}
			}
		}
		if v, g := m.Read(m.Repeated()); v != MarkNone || g <= m.Generations() || m.Repeated()&^uint32(m) != 0 {
			t.Errorf("%v: a repeated packet is read as verdict %d of generation %d", m, v, g)
		}
		g, rounds := m.Next(0), 1
		for ; m.Next(g) != 1; rounds++ {
			g = m.Next(g)
		}
		if rounds != int(m.Generations()) || m.Next(0) != 1 || m.Next(^uint16(0)) != 1 {
			t.Errorf("%v: %d generations in a round, want %d", m, rounds, m.Generations())
		}
	}
	if m := DefaultMarks; m.Set(0x12345678, 0) != 0x345678 || m.String() != "0xff000000" {
		t.Errorf("set: %#x, text %v", m.Set(0x12345678, 0), m)
	}
}

func TestMarksCheck(t *testing.T) {
	for _, m := range []Marks{0, 1, 0xf, 0xff00ff00, 0xffffffff, 0x2f, 0x1ffff} {
		if err := m.Check(); err == nil {
			t.Errorf("mask %v is taken", m)
		}
	}
}

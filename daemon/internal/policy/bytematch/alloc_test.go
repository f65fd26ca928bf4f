//go:build !race

package bytematch

import "testing"

// The race detector's own allocations would be counted.
func TestMatchDoesNotAllocate(t *testing.T) {
	text := []byte("aaaaaaaaaaaaa word bbbbbbbbbbbbbb\n and a second line of it")
	for _, expr := range exprs {
		r, err := Compile(expr)
		if err != nil {
			t.Fatal(err)
		}
		walked := *r
		walked.next = nil
		s := new(Scratch)
		s.Grow(r)
		if n := testing.AllocsPerRun(100, func() { r.Match(text, true, s); walked.Match(text, true, s) }); n != 0 {
			t.Errorf("%q: %v allocations", expr, n)
		}
	}
}

func BenchmarkMatch(b *testing.B) {
	text := make([]byte, 1024)
	for name, expr := range map[string]string{"table": `(?i)host:\s*example\.org`, "walk": `a.{15}b`} {
		b.Run(name, func(b *testing.B) {
			r, err := Compile(expr)
			if err != nil {
				b.Fatal(err)
			}
			s := new(Scratch)
			s.Grow(r)
			b.SetBytes(int64(len(text)))
			for b.Loop() {
				r.Match(text, true, s)
			}
		})
	}
}

package reassembly

import (
	"math/rand/v2"
	"slices"
	"testing"
)

// TestAges holds places against a list of those that are taken, the oldest first.
func TestAges(t *testing.T) {
	const places = 5
	a := NewAges(places)
	var taken []int32
	for range 10_000 {
		switch i := int32(rand.IntN(places)); {
		case rand.IntN(2) == 0:
			got := a.Take()
			if (got == None) != (len(taken) == places) || slices.Contains(taken, got) {
				t.Fatalf("took %d with %v taken", got, taken)
			}
			if got != None {
				taken = append(taken, got)
			}
		case !slices.Contains(taken, i):
		case rand.IntN(2) == 0:
			a.Give(i)
			taken = slices.DeleteFunc(taken, func(n int32) bool { return n == i })
		default:
			a.Renew(i)
			taken = append(slices.DeleteFunc(taken, func(n int32) bool { return n == i }), i)
		}
		oldest := None
		if len(taken) > 0 {
			oldest = taken[0]
		}
		if got := a.Oldest(); got != oldest {
			t.Fatalf("the oldest is %d, want %d of %v", got, oldest, taken)
		}
	}
}

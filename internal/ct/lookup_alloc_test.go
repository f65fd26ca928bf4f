//go:build !race

package ct_test

import (
	"fmt"
	"testing"

	"verdictd/internal/ct"
	"verdictd/internal/packet"
	"verdictd/internal/testkit"
)

// TestLookupAllocatesNothing is off under the race detector, which allocates itself.
func TestLookupAllocatesNothing(t *testing.T) {
	testkit.Namespace(t)
	l, err := ct.NewLookup()
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = l.Close() }()
	q := questions()
	allocs := testing.AllocsPerRun(100, func() {
		if err := l.Ask(q); err != nil {
			t.Fatal(err)
		}
	})
	if allocs != 0 {
		t.Errorf("%v allocations for %d questions", allocs, len(q))
	}
	for i := range q {
		if refused := i%8 == 7; q[i].Known || (q[i].Err != nil) != refused {
			t.Errorf("question %d: %+v", i, q[i])
		}
	}
}

// questions are about flows of all kinds that do not exist, and an eighth about what is
// no flow.
func questions() []ct.Question {
	q := make([]ct.Question, ct.MaxQuestions)
	for i := range q {
		q[i] = ct.Question{Key: packet.Key{0: 4, 1: 17, 4: 127, 7: 1, 20: 127, 23: 1, 39: 9}, Zone: uint16(i % 3)}
		switch i % 8 {
		case 1:
			q[i].Key[0] = 6
		case 2:
			q[i].Key[1] = 47
		case 7:
			q[i].Key[1], q[i].Key[38] = 1, 3 // destination unreachable
		}
	}
	return q
}

func BenchmarkAsk(b *testing.B) {
	for _, n := range []int{1, 8, ct.MaxQuestions} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			testkit.Namespace(b)
			l, err := ct.NewLookup()
			if err != nil {
				b.Fatal(err)
			}
			defer func() { _ = l.Close() }()
			q := questions()[:n]
			b.ReportAllocs()
			for b.Loop() {
				if err := l.Ask(q); err != nil {
					b.Fatal(err)
				}
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*n), "ns/question")
		})
	}
}

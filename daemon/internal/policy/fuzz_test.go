package policy

import (
	"fmt"
	"slices"
	"testing"
	"time"
)

// check holds a policy's verdicts against those of the reference, and its explanations
// against its verdicts.
func check(t *testing.T, seed uint64, rules, packets int) {
	t.Helper()
	w := newWorld(t, seed)
	cfg := w.config(rules)
	p, err := Compile(*cfg, nil)
	if err != nil {
		t.Fatal(err)
	}
	p.SetDevices(w.ref.devices)
	d := p.NewDecider()
	now := time.Hour
	for range packets {
		in := w.input()
		now += time.Duration(w.IntN(1000)) * time.Millisecond
		in.Now = int64(now)
		if w.sometimes(20) {
			w.fill()
		}
		text := func() string {
			return fmt.Sprintf("%v:%d -> %v:%d protocol %d, %+v", in.View.Src(), in.View.SrcPort, in.View.Dst(), in.View.DstPort, in.View.Protocol, *in)
		}
		e := d.Explain(in)
		var got Verdict
		d.Decide(in, &got)
		if !same(&e.Verdict, &got) {
			t.Fatalf("%s:\nexplained %+v\ndecided   %+v", text(), e.Verdict, got)
		}
		if want := w.ref.decide(in); !same(&got, &want) {
			for i := range min(len(e.Tried), want.Rule+1) {
				t.Logf("%+v", e.Tried[i])
			}
			t.Fatalf("%s:\ngot  %+v\nwant %+v", text(), got, want)
		}
		if got.Rule < rules {
			if last := e.Tried[len(e.Tried)-1]; last.Rule != got.Rule || len(e.Tried) != got.Rule+1 {
				t.Fatalf("decided by rule %d, explained up to %d", got.Rule, last.Rule)
			}
		}
	}
}

func same(a, b *Verdict) bool {
	x, y := *a, *b
	x.Counted, y.Counted = nil, nil
	return fmt.Sprint(x) == fmt.Sprint(y) && slices.Equal(a.Counted, b.Counted)
}

func FuzzDecide(f *testing.F) {
	for seed := range uint64(100) {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, seed uint64) {
		check(t, seed, int(seed%12), 50)
	})
}

// TestManyRules is about the index: of more rules than a word or a chunk has.
func TestManyRules(t *testing.T) {
	for seed, rules := range []int{63, 64, 65, 300, 1025, chunkRules - 1, chunkRules, chunkRules + 1} {
		check(t, uint64(1000+seed), rules, 60)
	}
}

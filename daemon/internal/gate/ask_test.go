package gate

import (
	"testing"
	"time"
)

// TestQuestionsComeInGrowingDistances unless others' verdicts return.
func TestQuestionsComeInGrowingDistances(t *testing.T) {
	g := newTable(t, nil)
	give(g, 1, 1, 2)
	start, last, wait := g.now, g.now, int64(0)
	asked := 0
	for g.now-start < int64(500*time.Millisecond) {
		if sayNow(g, false) > 0 {
			asked++
			if d := g.now - last; d < wait && d < dueFirst<<(dueLists-2) {
				t.Errorf("question %d after %v, the one before after %v", asked, time.Duration(d), time.Duration(wait))
			} else {
				wait = d
			}
			last = g.now
		}
		d := g.Wait()
		if d <= 0 {
			t.Fatalf("nothing is due, but the wait is %d", d)
		}
		g.Begin(g.now+d, 1)
	}
	if want := dueLists + int(int64(500*time.Millisecond)/(dueFirst<<(dueLists-2))); asked < dueLists || asked > want {
		t.Errorf("%d questions, want %d to %d", asked, dueLists, want)
	}
}

// TestQuestionsAreBounded: so many together, then so many a second, oldest first.
func TestQuestionsAreBounded(t *testing.T) {
	const flows = askBurst + 100
	g := newTable(t, func(c *Config) { c.Flows = 2 * flows })
	for i := range uint32(flows) {
		k := key(1)
		k[8], k[9] = byte(i>>8), byte(i)
		g.Packet(&Packet{Key: k, ID: 2 * i, Print: 2 * i})
		g.Packet(&Packet{Key: k, ID: 2*i + 1, Print: 2*i + 1})
	}
	q := make([]Question, flows)
	if n := g.Questions(q); n != 0 {
		t.Fatalf("%d questions at once, where no flow can be known yet", n)
	}
	soon(g)
	n := g.Questions(q)
	if n != askBurst {
		t.Fatalf("%d questions together, want %d", n, askBurst)
	}
	for i := range n {
		if got := int(q[i].Tuple[8])<<8 | int(q[i].Tuple[9]); got != i {
			t.Fatalf("question %d is for flow %d", i, got)
		}
	}
	if d := g.Wait(); d <= 0 {
		t.Errorf("the wait is %d though no question may be put", d)
	}
	g.Begin(g.now+int64(time.Millisecond), 1)
	if n := g.Questions(q); n != askRate/1000 {
		t.Errorf("%d questions after a millisecond, want %d", n, askRate/1000)
	}
}

// TestHints: as many flows are asked for as verdicts have returned, the oldest
// first; none of those that were asked for often.
func TestHints(t *testing.T) {
	g := newTable(t, nil)
	for flow := range byte(8) {
		give(g, flow, uint32(flow)*2, uint32(flow)*2+1)
	}
	soon(g)
	if n := say(g, false); n != 8 {
		t.Fatalf("%d questions, want 8", n)
	}
	q := make([]Question, 64)
	g.Moved(3)
	n := g.Questions(q)
	if n != 3 {
		t.Fatalf("%d questions after 3 verdicts, want 3", n)
	}
	for i := range n {
		if q[i].Tuple[7] != byte(i) {
			t.Errorf("question %d is for flow %d", i, q[i].Tuple[7])
		}
		g.Answer(q[i].Flow, false)
	}
	for range 20 {
		g.Moved(100)
		sayNow(g, false)
	}
	g.Moved(100)
	if n := sayNow(g, false); n != 0 {
		t.Errorf("%d questions, as often as verdicts return", n)
	}
}

func TestWait(t *testing.T) {
	g := newTable(t, nil)
	if d := g.Wait(); d >= 0 {
		t.Errorf("the wait of an empty table is %d", d)
	}
	give(g, 1, 1)
	if d := g.Wait(); d >= 0 || !g.Pending() {
		t.Errorf("the wait is %d, pending %v", d, g.Pending())
	}
	g.Questions(nil)
	give(g, 1, 2)
	if d := g.Wait(); d != dueFirst {
		t.Errorf("the wait is %d, want %d", d, dueFirst)
	}
	soon(g)
	if d := g.Wait(); d != 0 {
		t.Errorf("the wait is %d with a question due", d)
	}
	sayNow(g, false)
	if d := g.Wait(); d != 2*dueFirst {
		t.Errorf("the wait is %d, want %d", d, 2*dueFirst)
	}
	at(g, 1000)
	for sayNow(g, false) > 0 {
		continue
	}
	if d := g.Wait(); d <= 0 || d > expireAgain {
		t.Errorf("the wait is %d where packets expire as soon as their judge moves", d)
	}
}

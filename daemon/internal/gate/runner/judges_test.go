package runner

import (
	"strings"
	"testing"
	"time"

	"verdictd/daemon/internal/gate"
)

// bench is a program that is watched, with a clock of its own: queue 5, where packets
// come and are judged as a test says.
type bench struct {
	t       *testing.T
	j       judges
	now     int64
	reading gate.Reading
	unread  bool
	notices []string
}

func newBench(t *testing.T) *bench {
	t.Helper()
	b := &bench{t: t, now: int64(time.Hour), reading: gate.Reading{Queue: 5, Port: 77}}
	b.j = judges{
		queues: map[uint16]*judge{}, notice: func(s string) { b.notices = append(b.notices, s) },
		readEmpty: func(port uint32) bool { return port == b.reading.Port && !b.unread },
	}
	b.j.see(b.now, []gate.Reading{b.reading})
	return b
}

// after lets time pass, packets come and verdicts return, and reports what the gate is
// told then.
func (b *bench) after(d time.Duration, came, judged uint32) (state gate.Judge, try bool) {
	b.t.Helper()
	for step := int64(100 * ms); int64(d) > step; d -= time.Duration(step) {
		b.now += step
		b.j.see(b.now, []gate.Reading{b.reading})
	}
	b.now += int64(d)
	b.reading.Sequence += came
	b.reading.Waiting += came - judged
	if moved := b.j.see(b.now, []gate.Reading{b.reading}); moved != int(judged) {
		b.t.Errorf("%d verdicts were seen, want %d", moved, judged)
	}
	var blocking []uint16
	if b.reading.Waiting > 0 {
		blocking = []uint16{5}
	}
	return b.j.state(blocking)
}

// expect is after, of which the outcome is known.
func (b *bench) expect(d time.Duration, came, judged uint32, state gate.Judge, try bool) {
	b.t.Helper()
	if s, tried := b.after(d, came, judged); s != state || tried != try {
		b.t.Errorf("after %v: %v, tries %v; want %v, %v", d, s, tried, state, try)
	}
}

const ms = time.Millisecond

func TestProgramThatJudges(t *testing.T) {
	b := newBench(t)
	b.expect(ms, 0, 0, gate.Past, false)
	b.expect(ms, 1, 0, gate.Waiting, false)
	b.expect(100*ms, 0, 0, gate.Waiting, false)
	b.expect(ms, 3, 2, gate.Waiting, false)
	b.expect(ms, 0, 2, gate.Past, false)
	// Nothing to judge is no standing still.
	b.expect(time.Hour, 1, 0, gate.Waiting, false)
}

// TestProgramThatDoesNotRead stands still, and wants nothing.
func TestProgramThatDoesNotRead(t *testing.T) {
	b := newBench(t)
	b.unread = true
	b.expect(ms, 1, 0, gate.Waiting, false)
	for range 10 {
		b.expect(time.Second, 0, 0, gate.Waiting, false)
	}
}

// TestProgramThatWantsASecondPacket is found out by two tries, and said once.
func TestProgramThatWantsASecondPacket(t *testing.T) {
	b := newBench(t)
	for range tryTwice {
		b.expect(ms, 1, 0, gate.Waiting, false)
		b.expect(time.Duration(tryAfter), 0, 0, gate.Waiting, true)
		if !b.j.trying() {
			t.Error("it is not being tried")
		}
		b.expect(5*ms, 1, 2, gate.Past, false) // it judges both, given the second
		if b.j.trying() {
			t.Error("it is still being tried")
		}
	}
	for range 3 {
		b.expect(ms, 1, 0, gate.Waiting, false)
		b.expect(time.Duration(wantsAfter), 0, 0, gate.WantsSecond, false)
		b.expect(ms, 1, 2, gate.Past, false)
	}
	if len(b.notices) != 1 || !strings.Contains(b.notices[0], "queue 5") || !strings.Contains(b.notices[0], "guard.exempt_ports") {
		t.Errorf("notices %q, want one with the queue and what to do", b.notices)
	}
	// It does not want one any more: it got some in vain.
	b.expect(ms, 1, 0, gate.Waiting, false)
	wanted := 0
	for range 2 * gaveInVain {
		if s, try := b.after(time.Duration(gaveWithin)+ms, 1, 0); s == gate.WantsSecond && !try {
			wanted++
		}
	}
	if wanted == 0 || wanted > gaveInVain {
		t.Errorf("it got second packets %d times in vain, want %d at most", wanted, gaveInVain)
	}
	if len(b.notices) != 1 {
		t.Errorf("notices %q", b.notices)
	}
}

// TestProgramThatTakesLong over a packet is tried, rarely, and wants nothing.
func TestProgramThatTakesLong(t *testing.T) {
	b := newBench(t)
	b.expect(ms, 1, 0, gate.Waiting, false)
	tries := 0
	var last, gap int64
	for range 20 * 60 * 10 { // 20 minutes
		s, try := b.after(100*ms, 0, 0)
		if s != gate.Waiting {
			t.Fatalf("it is taken for %v", s)
		}
		if try {
			tries++
			gap, last = b.now-last, b.now
		}
	}
	if gap < tryRarely || tries < 15 || tries > 40 {
		t.Errorf("%d tries in 20 minutes, the last ones %v apart; want about one a minute", tries, time.Duration(gap))
	}
	if len(b.notices) != 0 {
		t.Errorf("notices %q", b.notices)
	}
}

// TestAStopIsNoThinking: a program that stood still together with this process, as two in a frozen container do, is not
// tried for the time of that.
func TestAStopIsNoThinking(t *testing.T) {
	b := newBench(t)
	b.expect(ms, 1, 0, gate.Waiting, false)
	b.now += int64(time.Hour)
	b.expect(ms, 0, 0, gate.Waiting, false)
	b.expect(time.Duration(tryAfter)-251*ms, 0, 0, gate.Waiting, false)
	b.expect(ms, 0, 0, gate.Waiting, true)
	// Nor is what it did meanwhile the answer to a try.
	b.now += int64(time.Hour)
	b.expect(ms, 1, 2, gate.Past, false)
	if b.j.queues[5].hits != 0 {
		t.Error("it is taken for one that wants a second packet")
	}
}

// TestVerdictThatHasNothingToDoWithTheTry: one alone, or a late one, is no answer.
func TestVerdictThatHasNothingToDoWithTheTry(t *testing.T) {
	for name, verdicts := range map[string]struct {
		after time.Duration
		n     uint32
	}{"one": {5 * ms, 1}, "late": {time.Duration(triedWithin) + 10*ms, 2}} {
		t.Run(name, func(t *testing.T) {
			b := newBench(t)
			for range 2 * tryTwice {
				b.expect(ms, 2, 0, gate.Waiting, false)
				for tried := false; !tried; {
					_, tried = b.after(300*ms, 0, 0)
				}
				b.after(verdicts.after, 0, verdicts.n)
				if b.reading.Waiting > 0 {
					b.after(time.Duration(triedWithin)+ms, 0, b.reading.Waiting)
				}
			}
			if len(b.notices) != 0 {
				t.Errorf("notices %q", b.notices)
			}
		})
	}
}

// TestProgramsThatAreNotTried: the engine of this process, and any where guard.hold says
// that a program may take long.
func TestProgramsThatAreNotTried(t *testing.T) {
	for name, own := range map[string]bool{"own": true, "patient": false} {
		t.Run(name, func(t *testing.T) {
			b := newBench(t)
			if own {
				b.reading.Port, b.reading.InOrder = 78, true
				b.j.see(b.now, []gate.Reading{b.reading})
			} else {
				b.j.patient = true
			}
			b.expect(ms, 1, 0, gate.Waiting, false)
			for range 100 {
				b.expect(time.Second, 0, 0, gate.Waiting, false)
			}
		})
	}
}

// TestNewProgramAtAQueue: what was known is of the one before.
func TestNewProgramAtAQueue(t *testing.T) {
	b := newBench(t)
	b.expect(ms, 1, 0, gate.Waiting, false)
	b.expect(time.Duration(tryAfter), 0, 0, gate.Waiting, true)
	b.reading = gate.Reading{Queue: 5, Port: 78}
	b.expect(ms, 0, 0, gate.Past, false)
	if b.j.trying() {
		t.Error("the new program is being tried for the old one")
	}
}

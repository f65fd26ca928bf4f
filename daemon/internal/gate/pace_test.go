package gate

import "testing"

// slowly has a program of others judge so many packets more, one each so many
// milliseconds; packets come as fast. It returns after how many of them, and how
// many milliseconds, a barrier is wanted.
func slowly(s *steps, verdicts int, each int64) (after int, took int64) {
	for n := 1; n <= verdicts; n++ {
		now := Reading{Queue: 1, Port: 10, Sequence: 10 + uint32(n), Waiting: 10}
		for range each {
			s.time += ms
			took++
			if s.Read(s.time, readings(now)) {
				return n, took
			}
		}
	}
	return 0, took
}

func other(sequence, waiting uint32) Reading {
	return Reading{Queue: 1, Port: 10, Sequence: sequence, Waiting: waiting}
}

// TestSlowPrograms of others: what they were given long ago is judged, as far as
// they did judge since. The first 12 or so verdicts are for what was there.
func TestSlowPrograms(t *testing.T) {
	for name, tt := range map[string]struct {
		each     int64
		from, to int64 // milliseconds
	}{
		"2 ms a packet":   {2, 50, 90},            // 16 later, and 50 ms of work
		"10 ms a packet":  {10, 260, 320},         // 16 later
		"one a second":    {1000, 12_000, 15_000}, // of a pause a quarter counts
		"100 ms a packet": {100, 1500, 1800},      // half a second
	} {
		t.Run(name, func(t *testing.T) {
			s := begin(t, other(0, 0))
			s.end(other(10, 10))
			n, took := slowly(s, 400, tt.each)
			if n == 0 || took < tt.from || took > tt.to {
				t.Errorf("after %d verdicts and %d ms, want %d to %d ms", n, took, tt.from, tt.to)
			}
		})
	}
}

// TestPatience: where programs may take long for a packet, time proves nothing.
func TestPatience(t *testing.T) {
	s := begin(t, other(0, 0))
	s.Patient = true
	s.end(other(10, 10))
	if n, _ := slowly(s, 400, 10); n < outOfOrder {
		t.Errorf("past after %d verdicts, want at least %d", n, outOfOrder)
	}
}

// TestAStopIsNoWork: a program of several threads that was stopped has not had the
// time for what each of them has.
func TestAStopIsNoWork(t *testing.T) {
	s := begin(t, other(0, 0))
	s.end(other(10, 10))
	s.read(false, other(50, 20))
	s.time += ms
	s.read(false, other(60, 20)) // many later
	s.time += 10_000 * ms
	s.read(false, other(60, 20))
	s.read(false, other(61, 20)) // it goes on
	s.time += 30 * ms
	s.read(true, other(62, 20))
}

// TestRestart: a device took packets out of the middle; nothing that was judged
// before counts.
func TestRestart(t *testing.T) {
	stands := Reading{Queue: 2, Port: 20, Sequence: 7, Waiting: 7}
	s := begin(t, at1(0, 0), stands)
	s.end(at1(10, 10), stands)
	s.read(false, at1(20, 20), stands)
	s.read(true, at1(20, 8), stands) // 12 have gone with the device, 8 of the first 10 among them
	s.BarrierBegins()
	s.Restart(readings(at1(20, 8), stands))
	s.resolved = nil
	s.BarrierEnds(readings(at1(20, 8), stands), func(e uint64) { s.resolved = append(s.resolved, e) })
	if len(s.resolved) > 0 {
		t.Fatalf("resolved %v", s.resolved)
	}
	s.read(false, at1(30, 12), stands)
	s.read(false, at1(30, 10), stands)
	s.read(true, at1(30, 9), stands)
	s.barrier(readings(at1(30, 9), stands))
}

// TestBlocking: each queue that any epoch waits for.
func TestBlocking(t *testing.T) {
	two := Reading{Queue: 2, Port: 20}
	s := begin(t, at1(0, 0), two)
	s.end(at1(1, 1), two)
	s.read(false, at1(1, 1), two)
	two.Sequence, two.Waiting = 1, 1
	s.end(at1(1, 0), two)
	s.read(true, at1(1, 0), two) // the first epoch waits for a barrier alone
	if b := s.Blocking(); len(b) != 1 || b[0] != 2 {
		t.Errorf("blocking %v, want 2", b)
	}
	two.Waiting = 0
	s.read(true, at1(1, 0), two)
	if b := s.Blocking(); len(b) != 0 {
		t.Errorf("blocking %v, want none", b)
	}
}

// TestStartedAgain: a program that has begun again with the same port id is like any other, however many packets the
// one before has judged and lost.
func TestStartedAgain(t *testing.T) {
	stale := other(10, 10)
	stale.Lost = 5000
	s := begin(t, other(100_000, 0))
	s.read(false, other(100_000, 0))
	s.end(stale)
	s.time += ms
	s.read(false, other(10, 10)) // its own losses are known now
	n, took := slowly(s, 400, 10)
	if n == 0 || took < 260 || took > 320 {
		t.Errorf("past after %d verdicts and %d ms, want 260 to 320 ms", n, took)
	}
}

package gate

import (
	"slices"
	"testing"
)

// at1 is a reading of one queue that is judged in order.
func at1(sequence, waiting uint32) Reading {
	return Reading{Queue: 1, Port: 10, Sequence: sequence, Waiting: waiting, InOrder: true}
}

// steps drives a Progress: epochs 1, 2, ... and readings.
type steps struct {
	*testing.T
	Progress
	time     int64
	epoch    uint64
	resolved []uint64
}

func begin(t *testing.T, r ...Reading) *steps {
	s := &steps{T: t, epoch: 1}
	s.Start(r)
	return s
}

// end ends an epoch; nothing came between the two readings.
func (s *steps) end(after ...Reading) {
	s.Helper()
	next, ok := s.Next(s.epoch)
	if !ok {
		s.Fatalf("epoch %d may not end", s.epoch)
	}
	s.End(s.epoch, slices.Clone(after), after)
	s.epoch = next
}

// read takes a reading, and says whether a barrier is wanted.
func (s *steps) read(want bool, now ...Reading) {
	s.Helper()
	if got := s.Read(s.time, now); got != want {
		s.Fatalf("barrier %v after %+v, want %v", got, now, want)
	}
}

// barrier has one, and says which epochs are resolved then.
func (s *steps) barrier(now []Reading, want ...uint64) {
	s.Helper()
	s.BarrierBegins()
	s.resolved = nil
	s.BarrierEnds(now, func(epoch uint64) { s.resolved = append(s.resolved, epoch) })
	if !slices.Equal(s.resolved, want) {
		s.Fatalf("resolved %v, want %v", s.resolved, want)
	}
}

func readings(r ...Reading) []Reading { return r }

func TestProgressWithoutQueues(t *testing.T) {
	s := begin(t)
	s.end()
	s.read(true)
	s.barrier(nil, 1)
}

func TestProgressOfOneQueue(t *testing.T) {
	for _, base := range []uint32{100, 1<<32 - 3} { // the second one's ids wrap
		s := begin(t, at1(base, 0))
		s.end(at1(base+4, 3))
		s.read(false, at1(base+4, 3))
		s.read(false, at1(base+4, 1))
		s.read(false, at1(base+9, 5))
		s.read(false, at1(base+9, 5)) // as many as there were; but one may have a number and not wait yet
		s.read(false, at1(base+12, 6))
		s.read(true, at1(base+12, 5))
		s.barrier(readings(at1(base+20, 9)), 1)
		if s.Waits() != 0 {
			t.Errorf("%d waits", s.Waits())
		}
	}
}

func TestProgressOfAnEmptyQueue(t *testing.T) {
	s := begin(t, at1(0, 0))
	s.end(at1(4, 3))
	s.read(true, at1(9, 0))
	s.barrier(readings(at1(9, 0)), 1)
}

// TestNumbersOfOneLine are read one after the other: packets that came between
// two of them are not taken for judged.
func TestNumbersOfOneLine(t *testing.T) {
	s := begin(t, at1(0, 0))
	s.end(at1(4, 4))
	s.read(false, at1(50, 4)) // 46 came when the waiting ones had been read
	s.read(false, at1(50, 50))
	s.read(true, at1(50, 44))
}

// TestLost: what found no room in the program's socket was not judged.
func TestLost(t *testing.T) {
	lost := func(sequence, waiting, lost uint32) Reading {
		r := at1(sequence, waiting)
		r.Lost = lost
		return r
	}
	s := begin(t, lost(0, 0, 7))
	s.end(lost(4, 4, 7))
	s.read(false, lost(90, 4, 93))
	s.read(false, lost(90, 4, 93))
	s.read(false, lost(200, 4, 203))
	s.read(false, lost(210, 9, 203))
	s.read(true, lost(210, 4, 203))
}

func TestOutOfOrder(t *testing.T) {
	other := func(sequence, waiting uint32) Reading {
		return Reading{Queue: 1, Port: 10, Sequence: sequence, Waiting: waiting}
	}
	s := begin(t, other(0, 0))
	s.end(other(4, 4))
	s.read(false, other(4+outOfOrder+1, 1))
	s.read(false, other(4+outOfOrder+1, 1)) // one of them may be ours
	s.read(false, other(4+outOfOrder+2, 1))
	s.read(true, other(4+outOfOrder+2, 1))
	s = begin(t, other(0, 0))
	s.end(other(4, 4))
	s.read(true, other(5, 0))
}

// TestStandingQueue: one that none of ours came to may stand for ever.
func TestStandingQueue(t *testing.T) {
	stands := Reading{Queue: 2, Port: 20, Sequence: 50, Waiting: 50}
	s := begin(t, at1(0, 0), stands)
	s.end(at1(4, 4), stands)
	s.read(true, at1(4, 0), stands)
	s.barrier(readings(at1(4, 0), stands))
	s.read(true, at1(4, 0), stands) // for the last one that had a number
	s.barrier(readings(at1(4, 0), stands), 1)
}

func TestQueueGoes(t *testing.T) {
	s := begin(t, at1(0, 0))
	s.end(at1(4, 4))
	s.read(true)
	s.barrier(nil, 1)
	s = begin(t, at1(0, 0))
	s.end(at1(4, 4))
	other := at1(2, 2)
	other.Port = 11
	s.read(true, other) // the queue of another program
	s = begin(t, at1(1000, 0))
	s.end(at1(1004, 4))
	s.read(true, at1(2, 2)) // bound again by the same one
}

// TestRounds: a packet that is past one queue may be in the next.
func TestRounds(t *testing.T) {
	two := func(sequence, waiting uint32) Reading {
		return Reading{Queue: 2, Port: 20, Sequence: sequence, Waiting: waiting, InOrder: true}
	}
	s := begin(t, at1(0, 0), two(0, 0))
	s.end(at1(1, 1), two(0, 0))
	s.read(false, at1(1, 1), two(0, 0))
	s.read(true, at1(1, 0), two(0, 0))
	s.barrier(readings(at1(1, 0), two(1, 1)))
	s.read(false, at1(1, 0), two(1, 1))
	s.read(true, at1(1, 0), two(1, 0))
	s.barrier(readings(at1(1, 0), two(1, 0)), 1)

	// It has a number there when the epoch ends, and does not wait yet.
	s = begin(t, at1(0, 0), two(0, 0))
	s.end(at1(1, 0), two(1, 0))
	s.read(true, at1(1, 0), two(1, 0))
	s.barrier(readings(at1(1, 0), two(1, 1))) // it came then
	s.read(false, at1(1, 0), two(1, 1))
	s.read(true, at1(1, 0), two(1, 0))
	s.barrier(readings(at1(1, 0), two(1, 0)))
	s.read(true, at1(1, 0), two(1, 0))
	s.barrier(readings(at1(1, 0), two(1, 0)), 1)

	s = begin(t, at1(0, 0))
	s.Rounds = 2 // a queue that rules at two hooks feed
	s.end(at1(1, 1))
	s.read(true, at1(1, 0))
	s.barrier(readings(at1(2, 1)))
	s.read(false, at1(2, 1))
	s.read(true, at1(2, 0))
	s.barrier(readings(at1(2, 0)), 1)
}

// TestBarrierCountsForWhatWasPast when it began.
func TestBarrierCountsForWhatWasPast(t *testing.T) {
	s := begin(t, at1(0, 0))
	s.end(at1(1, 1))
	s.read(true, at1(1, 0))
	s.BarrierBegins()
	s.end(at1(2, 0))
	s.read(true, at1(2, 0))
	s.resolved = nil
	s.BarrierEnds(readings(at1(2, 0)), func(epoch uint64) { s.resolved = append(s.resolved, epoch) })
	if !slices.Equal(s.resolved, []uint64{1}) {
		t.Fatalf("resolved %v, want 1 alone", s.resolved)
	}
	s.barrier(readings(at1(2, 0)), 2)
}

// TestEpochsThatStay: what waits in a standing queue keeps its epochs, and all
// others are resolved as ever.
func TestEpochsThatStay(t *testing.T) {
	joined := map[uint64]uint64{}
	stands := Reading{Queue: 2, Port: 20, Sequence: 1, Waiting: 1, InOrder: true}
	s := begin(t, at1(0, 0), stands)
	s.Joined = func(epoch, earlier uint64) { joined[epoch] = earlier }
	taken := map[uint64]uint64{} // place: epoch
	for i := range uint32(1000) {
		if e, ok := taken[s.epoch%EpochsKept]; ok {
			t.Fatalf("epoch %d has the place of %d, which is waited for", s.epoch, e)
		}
		epoch := s.epoch
		if i%2 == 0 {
			stands.Sequence++
			stands.Waiting++
			taken[epoch%EpochsKept] = epoch
		}
		s.end(at1(i+1, 0), stands)
		for joinedEpoch := range joined {
			delete(taken, joinedEpoch%EpochsKept)
		}
		clear(joined)
		for range 2 {
			s.Read(s.time, readings(at1(i+1, 0), stands))
			s.BarrierBegins()
			s.BarrierEnds(readings(at1(i+1, 0), stands), func(e uint64) {
				if i%2 == 0 || e != epoch {
					t.Fatalf("epoch %d is resolved, and packets of it wait", e)
				}
				epoch = 0
			})
		}
		if i%2 == 1 && epoch != 0 {
			t.Fatalf("epoch %d is not resolved", epoch)
		}
	}
	if s.Waits() > maxWaits {
		t.Errorf("%d waits", s.Waits())
	}
	if b := s.Blocking(); !slices.Equal(b, []uint16{2}) {
		t.Errorf("blocking %v, want queue 2", b)
	}
	stands.Waiting = 0
	n := s.Waits()
	for range 2 {
		s.Read(s.time, readings(at1(1000, 0), stands))
		s.BarrierBegins()
		s.BarrierEnds(readings(at1(1000, 0), stands), func(uint64) { n-- })
	}
	if n != 0 || s.Waits() != 0 {
		t.Errorf("%d epochs are not resolved when the program goes on", s.Waits())
	}
}

// TestNextWithoutJoins: then the present epoch stays when all places are taken.
func TestNextWithoutJoins(t *testing.T) {
	stands := at1(0, 0)
	s := begin(t, stands)
	for range EpochsKept - 1 {
		stands.Sequence++
		stands.Waiting++
		s.end(stands)
	}
	if next, ok := s.Next(s.epoch); ok {
		t.Errorf("epoch %d is next with %d waits", next, s.Waits())
	}
}

func TestUnion(t *testing.T) {
	r := func(queue uint16, sequence uint32) Reading { return Reading{Queue: queue, Sequence: sequence} }
	a, b := readings(r(1, 5), r(2, 1<<32-1), r(3, 1)), readings(r(1, 4), r(2, 1), r(4, 9))
	if got, want := union(a, b, true), readings(r(1, 5), r(2, 1), r(3, 1), r(4, 9)); !slices.Equal(got, want) {
		t.Errorf("higher: %+v, want %+v", got, want)
	}
	if got, want := union(a, b, false), readings(r(1, 4), r(2, 1<<32-1)); !slices.Equal(got, want) {
		t.Errorf("lower: %+v, want %+v", got, want)
	}
}

// TestSlowQueue: epochs are resolved although more of them are under way than
// there are places, a bit later than each of them would be.
func TestSlowQueue(t *testing.T) {
	const lag = 5 * EpochsKept
	s := begin(t, at1(0, 0))
	joined := map[uint64][]uint64{}
	s.Joined = func(epoch, earlier uint64) {
		joined[earlier] = append(append(joined[earlier], epoch), joined[epoch]...)
		delete(joined, epoch)
	}
	ended := map[uint64]int{}
	worst, resolved := 0, 0
	for i := range 20 * lag {
		ended[s.epoch] = i
		now := at1(uint32(i+1), uint32(min(i+1, lag)))
		s.end(now)
		if !s.Read(s.time, readings(now)) {
			continue
		}
		s.BarrierBegins()
		s.BarrierEnds(readings(now), func(epoch uint64) {
			for _, e := range append(joined[epoch], epoch) {
				late := i - ended[e] - lag
				if late < 0 {
					t.Fatalf("epoch %d is resolved while it waits", e)
				}
				worst = max(worst, late)
				resolved++
			}
			delete(joined, epoch)
		})
	}
	if worst > lag/2 || resolved < 18*lag {
		t.Errorf("%d epochs are resolved, up to %d later than their last packet was judged after %d", resolved, worst, lag)
	}
}

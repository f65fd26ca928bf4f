package runner

import (
	"fmt"
	"time"

	"verdictd/internal/gate"
)

const (
	// standing: a program that has judged nothing for so long stands still.
	standing = int64(100 * time.Millisecond)
	// Whether a program wants a second packet is tried once it has judged nothing
	// for tryAfter though it has read all. It does if it then judges several packets
	// within triedWithin, twice. After a miss it is not tried for tryAgain, and twice
	// as long each time, up to tryRarely.
	tryAfter    = int64(250 * time.Millisecond)
	triedWithin = int64(50 * time.Millisecond)
	tryTwice    = 2
	tryAgain    = int64(time.Second)
	tryRarely   = int64(time.Minute)
	// wantWithin: a program that is known to want second packets and judges nothing
	// for so long although it gets them does not want them any more.
	wantWithin = int64(50 * time.Millisecond)
	// wantsAfter is how long such a program waits before it gets them.
	wantsAfter = int64(4 * time.Millisecond)
)

// judge is what is known of the program behind a queue.
type judge struct {
	port    uint32
	own     bool // the verdict engine of this process: it wants nothing
	judged  uint32
	waiting uint32
	moved   int64 // when it judged something, or had nothing to judge
	triedAt int64 // 0: it is not being tried
	hits    int
	notTill int64
	misses  int
	wants   bool
	said    bool
}

// judges watches how programs give their verdicts.
type judges struct {
	queues    map[uint16]*judge
	readEmpty func(port uint32) bool
	notice    func(string)
}

// see takes a reading, and returns how many verdicts have returned since the last.
func (j *judges) see(now int64, readings []gate.Reading) (moved int) {
	for _, r := range readings {
		q := j.queues[r.Queue]
		judged := r.Sequence - r.Waiting
		if q == nil || q.port != r.Port {
			j.queues[r.Queue] = &judge{port: r.Port, own: r.InOrder, judged: judged, waiting: r.Waiting, moved: now}
			continue
		}
		if n := int32(judged - q.judged); n > 0 {
			moved += int(n)
			j.judgedAgain(r.Queue, q, now, int(n))
			q.moved = now
		} else if r.Waiting == 0 || q.waiting == 0 {
			q.moved = now // what waits has come since the last reading, however long ago that was
		}
		q.judged, q.waiting = judged, r.Waiting
	}
	return moved
}

// judgedAgain learns from a program that has been given a second packet.
func (j *judges) judgedAgain(queue uint16, q *judge, now int64, verdicts int) {
	if q.triedAt == 0 {
		return
	}
	if now-q.triedAt > triedWithin || verdicts < 2 {
		q.missed(now)
		return
	}
	q.triedAt = 0
	if q.hits++; q.hits < tryTwice {
		return
	}
	q.wants = true
	if !q.said {
		q.said = true
		j.notice(fmt.Sprintf("the program of queue %d judges a flow's first packet when it has seen the second: packets of such flows are held for %v only, and may clash; guard.exempt_ports takes their ports out of the gate", queue, time.Duration(wantsAfter)))
	}
}

// missed notes that a program does not want a second packet.
func (q *judge) missed(now int64) {
	q.triedAt, q.hits, q.wants = 0, 0, false
	q.notTill = now + min(tryAgain<<min(q.misses, 6), tryRarely)
	q.misses++
}

// trying reports whether a program is being tried.
func (j *judges) trying() bool {
	for _, q := range j.queues {
		if q.triedAt != 0 {
			return true
		}
	}
	return false
}

// state is what the programs do that packets of the gate may wait for. try: let
// the packets of one flow go on to find it out.
func (j *judges) state(now int64, blocking []uint16) (state gate.Judge, try bool) {
	for _, n := range blocking {
		q := j.queues[n]
		if q == nil {
			continue
		}
		still := now - q.moved
		if q.wants && still >= wantWithin || q.triedAt != 0 && now-q.triedAt > triedWithin {
			q.missed(now)
		}
		if still < wantsAfter {
			continue
		}
		// A program that does not even read stands still.
		switch read := j.readEmpty(q.port); {
		case !read:
			if still >= standing {
				state = gate.Standing
			}
		case q.wants:
			return gate.WantsSecond, false
		case still >= tryAfter && !q.own && q.triedAt == 0 && now >= q.notTill:
			q.triedAt, try = now, true
		}
	}
	return state, try
}

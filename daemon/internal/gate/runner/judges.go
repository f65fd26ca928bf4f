package runner

import (
	"fmt"
	"time"

	"verdictd/daemon/internal/gate"
)

const (
	// Whether a program wants a second packet is tried once it has judged nothing for tryAfter though it has read
	// all, and for twice as long as it ever took. It does if it then judges several packets within triedWithin,
	// twice. After a miss it is not tried for tryAgain, and twice as long each time, up to tryRarely.
	tryAfter    = int64(time.Second)
	triedWithin = int64(50 * time.Millisecond)
	tryTwice    = 2
	tryAgain    = int64(time.Second)
	tryRarely   = int64(time.Minute)
	// patientFrom is a guard.hold that is set by who knows that programs take long
	// over a packet, as those do that ask a person.
	patientFrom = 2 * time.Second
	// A program that is known to want second packets, and gets some, and judges
	// nothing within gaveWithin, gaveInVain times in a row, does not want them.
	gaveWithin = int64(200 * time.Millisecond)
	gaveInVain = 5
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
	since   int   // verdicts since then
	hits    int
	notTill int64
	misses  int
	longest int64 // that it took for a verdict, untried
	gaveAt  int64 // since when it has got second packets and judged nothing; 0: it has judged
	vain    int
	wants   bool
	said    bool
}

// judges watches how programs give their verdicts.
type judges struct {
	queues    map[uint16]*judge
	clock     gate.Clock
	now       int64 // of the last reading, on clock
	readEmpty func(port uint32) bool
	// patient: programs are not tried, as guard.hold says that they may take long.
	patient bool
	notice  func(string)
}

// see takes a reading of a time in nanoseconds, and returns how many verdicts have returned
// since the last.
func (j *judges) see(at int64, readings []gate.Reading) (moved int) {
	j.now = j.clock.Pass(at)
	now := j.now
	for _, r := range readings {
		q := j.queues[r.Queue]
		judged := r.Sequence - r.Waiting
		if q == nil || q.port != r.Port {
			j.queues[r.Queue] = &judge{port: r.Port, own: r.InOrder, judged: judged, waiting: r.Waiting, moved: now}
			continue
		}
		if n := int32(judged - q.judged); n > 0 {
			moved += int(n)
			if q.triedAt == 0 && q.waiting != 0 {
				q.longest = max(q.longest, now-q.moved)
			}
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
	q.gaveAt, q.vain = 0, 0
	if q.triedAt == 0 {
		return
	}
	if now-q.triedAt > triedWithin {
		q.missed(now)
		return
	}
	if q.since += verdicts; q.since < 2 {
		return // the other one may be read of later
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
	q.triedAt, q.hits, q.wants, q.gaveAt, q.vain = 0, 0, false, 0, 0
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

// state is what the programs do that packets of the gate may wait for: those of
// the queues that block. try: let a packet go on to find out what they want.
func (j *judges) state(blocking []uint16) (state gate.Judge, try bool) {
	now := j.now
	for _, n := range blocking {
		state = max(state, gate.Waiting)
		q := j.queues[n]
		if q == nil || now-q.moved < wantsAfter || !j.readEmpty(q.port) {
			continue // it judges, or it does not even read
		}
		if q.triedAt != 0 && now-q.triedAt > triedWithin {
			q.missed(now)
		}
		switch {
		case q.wants:
			if q.give(now) {
				return gate.WantsSecond, false
			}
		case now-q.moved >= max(tryAfter, 2*q.longest) && !q.own && !j.patient && q.triedAt == 0 && now >= q.notTill:
			q.triedAt, q.since, try = now, 0, true
		}
	}
	return state, try
}

// give reports whether a program gets second packets. Where it judges nothing
// although it got some, several times in a row, it does not want them any more.
func (q *judge) give(now int64) bool {
	switch {
	case q.gaveAt == 0:
		q.gaveAt = now
	case now-q.gaveAt > gaveWithin:
		q.gaveAt = now
		if q.vain++; q.vain >= gaveInVain {
			q.missed(now)
			return false
		}
	}
	return true
}

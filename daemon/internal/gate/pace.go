package gate

import "slices"

// Programs of others may judge packets before one that was queued earlier: threads
// share a queue, and one packet is looked at longer than another. Nothing tells
// which packets wait, only how many. So a packet is taken for judged when its
// program has judged many that came later, or some, and some time has passed in
// which it did, or one, and a long time has.
const (
	outOfOrder = 256
	someLater  = 16
	someRun    = int64(50_000_000)
	longRun    = int64(500_000_000)
	// Of a pause between two verdicts no more than this counts for some and for one:
	// a program that is stopped has not had the time for what it was going to judge.
	somePause = int64(25_000_000)
	longPause = int64(250_000_000)
)

// pace is how long a program was seen to judge packets.
type pace struct {
	queue      uint16
	port       uint32
	judged     uint32 // the most that was read
	sequence   uint32 // the last one
	movedAt    int64
	some, long int64 // without longer pauses
}

// mark is when the program of a queue had judged as many packets as the wait is
// for, by its pace.
type mark struct {
	queue      uint16
	port       uint32
	some, long int64
}

// run notes which programs have judged something.
func (p *Progress) run(at int64, now []Reading) {
	gone := func(o pace) bool {
		_, ok := find(now, Reading{Queue: o.queue, Port: o.port})
		return !ok
	}
	p.paces = slices.DeleteFunc(p.paces, gone)
	for _, r := range now {
		judged := r.Sequence - r.Waiting - r.Lost
		switch o := p.pace(r); {
		case o == nil:
			p.paces = append(p.paces, pace{queue: r.Queue, port: r.Port, judged: judged, sequence: r.Sequence, movedAt: at})
		case int32(r.Sequence-o.sequence) < 0: // started again, with the same port id
			o.judged, o.sequence, o.movedAt = judged, r.Sequence, at
		case int32(judged-o.judged) > 0:
			o.some += min(at-o.movedAt, somePause)
			o.long += min(at-o.movedAt, longPause)
			o.judged, o.sequence, o.movedAt = judged, r.Sequence, at
		}
	}
}

func (p *Progress) pace(of Reading) *pace {
	for i := range p.paces {
		if o := &p.paces[i]; o.queue == of.Queue && o.port == of.Port {
			return o
		}
	}
	return nil
}

// note notes since when a program has judged what the wait is for.
func (p *Progress) note(w *wait, to Reading, ahead int32) {
	i := w.mark(to)
	o := p.pace(to)
	switch {
	case o == nil || to.InOrder || ahead < 0:
		if i >= 0 {
			w.marks = slices.Delete(w.marks, i, i+1)
		}
	case i < 0:
		w.marks = append(w.marks, mark{to.Queue, to.Port, o.some, o.long})
	}
}

func (w *wait) mark(to Reading) int {
	return slices.IndexFunc(w.marks, func(m mark) bool { return m.queue == to.Queue && m.port == to.Port })
}

// passed reports whether a program that has judged so many packets more than there
// were has judged all that there were.
func (p *Progress) passed(w *wait, to Reading, ahead int32) bool {
	if ahead < 0 || to.InOrder || ahead >= outOfOrder {
		return ahead >= 0
	}
	i, o := w.mark(to), p.pace(to)
	if i < 0 || o == nil || p.Patient {
		return false
	}
	m := &w.marks[i]
	return o.long-m.long >= longRun || ahead >= someLater && o.some-m.some >= someRun
}

package gate

import (
	"slices"
	"time"

	"verdictd/internal/packet"
)

// reference says what a Table is to decide, as plainly as it can be said: no list
// is kept that can be found out, and nothing is bounded but by counting.
type reference struct {
	cfg          Config
	now          int64
	epoch        uint64
	unresolved   []uint64 // ended epochs
	rulesChanged int64
	flows        map[packet.Key]*refFlow
	out          []Verdict // of the last step; First is 0 or none

	judge          Judge // as it was
	ran            int64 // time, as far as this process runs
	clock, clockAt int64 // time in which nothing that was released waits in a queue
	holds          int   // counts flows that began to hold packets

	changing  bool // rules are
	dark      uint64
	darkSince int64
	darkRan   int64 // ran then
}

type refFlow struct {
	key       packet.Key
	pending   bool
	several   bool
	epochs    []uint64 // unresolved ones, from the oldest in which packets of it left to the last
	first     Packet
	at, since int64 // when the first was released, and came
	known     int64
	held      []refHeld
	gone      bool // resolved
	heldRan   int64
	heldClock int64
	hold      int // number of the beginning

	seen, packets int64
	passed        uint64 // the epoch in which a packet came or left last
}

type refHeld struct {
	Packet
	since int64
}

func (r *reference) begin(now int64, epoch uint64) {
	r.ran += min(now-r.now, awayStep)
	r.now, r.epoch, r.out = now, epoch, nil
	if r.changing {
		r.darken(true)
	}
}

func (r *reference) darken(changing bool) {
	r.changing, r.dark, r.darkSince, r.darkRan = changing, r.epoch, r.now, r.ran
}

func (r *reference) isDark() bool {
	most := r.cfg.Hold
	if r.judge == Waiting {
		most = r.cfg.HoldLimit
	}
	if !r.changing && (r.ran-r.darkRan >= int64(most) || len(r.underWay(0, r.dark)) == 0) {
		r.dark = 0 // and does not begin once more when programs are slow later
	}
	return r.dark != 0
}

// underWay are the epochs after one and up to another that are not resolved.
func (r *reference) underWay(after, last uint64) (list []uint64) {
	for _, e := range append(slices.Clone(r.unresolved), r.epoch) {
		if e > after && e <= last {
			list = append(list, e)
		}
	}
	return list
}

func (r *reference) held() (packets int, bytes int64) {
	for _, f := range r.flows {
		for _, h := range f.held {
			packets++
			bytes += int64(h.Bytes) + packetOverhead
		}
	}
	return packets, bytes
}

func (r *reference) give(p *Packet, first int32) {
	r.out = append(r.out, Verdict{ID: p.ID, Queue: p.Queue, Accept: true, First: first})
}

// room reports whether a flow that is not remembered can be.
func (r *reference) room() bool {
	if len(r.flows) < r.cfg.Flows {
		return true
	}
	for _, f := range r.flows {
		if !f.pending {
			return true
		}
	}
	return false
}

func (r *reference) packet(p Packet) {
	f := r.flows[p.Key]
	if f == nil {
		if !r.room() {
			r.give(&p, none)
			return
		}
		f = &refFlow{key: p.Key}
		r.flows[p.Key] = f
	}
	unseen := r.isDark() && f.seen < r.darkSince
	f.seen, f.passed = r.now, r.epoch
	f.packets++
	again := p.Print == f.first.Print && r.now-f.at < reentry && r.rulesChanged > f.since-changeTold
	switch {
	case p.Announced:
		f.several = f.pending
		r.first(f, refHeld{p, r.now})
	case !f.pending && r.now < f.known:
		r.give(&p, none)
	case unseen:
		if !f.pending {
			f.at, f.first.Turned = 0, p.Turned
		}
		f.pending, f.several, f.gone = true, true, false
		r.wait(f, r.dark)
		r.hold(f, p)
	case !f.pending || again:
		r.first(f, refHeld{p, r.now})
	default:
		r.hold(f, p)
	}
}

func (r *reference) first(f *refFlow, p refHeld) {
	f.pending, f.known, f.first, f.at, f.since = true, 0, p.Packet, r.now, p.since
	r.left(f)
	r.give(&p.Packet, 0)
}

// left notes that packets of a flow are on their way from now on.
func (r *reference) left(f *refFlow) {
	f.gone, f.passed = false, r.epoch
	if len(f.epochs) == 0 {
		f.epochs = []uint64{r.epoch}
	}
	r.wait(f, r.epoch)
}

// wait has a flow wait for an epoch, too, and for those before it.
func (r *reference) wait(f *refFlow, last uint64) {
	after := uint64(0)
	if len(f.epochs) > 0 {
		after = f.epochs[len(f.epochs)-1]
	}
	f.epochs = append(f.epochs, r.underWay(after, last)...)
}

// holdBegins notes that a flow holds packets from now on, or for another first one.
func (r *reference) holdBegins(f *refFlow) {
	if r.oldest() == nil {
		r.clockAt = r.now
	}
	r.holds++
	f.heldRan, f.heldClock, f.hold = r.ran, r.clock, r.holds
}

func (r *reference) hold(f *refFlow, p Packet) {
	_, bytes := r.held()
	if len(f.held) >= r.cfg.FlowPackets || bytes+int64(p.Bytes)+packetOverhead > r.cfg.Bytes {
		r.letGo(f)
		r.give(&p, none)
		return
	}
	if len(f.held) == 0 {
		r.holdBegins(f)
	}
	f.held = append(f.held, refHeld{p, r.now})
}

func (r *reference) release(f *refFlow, accept bool) {
	for _, h := range f.held {
		f.passed = r.epoch
		r.out = append(r.out, Verdict{ID: h.ID, Queue: h.Queue, Accept: accept, First: none})
	}
	f.held = nil
}

func (r *reference) letGo(f *refFlow) {
	r.release(f, true)
	f.several = true
	r.left(f)
}

func (f *refFlow) open() { f.pending, f.several, f.gone, f.epochs = false, false, false, nil }

func (r *reference) goneFirst(f *refFlow) {
	f.open()
	if len(f.held) > 0 {
		h := f.held[0]
		rest := f.held[1:]
		f.held = nil
		r.first(f, h)
		if len(rest) > 0 {
			r.holdBegins(f)
			f.held = rest
		}
	}
}

func (r *reference) answer(f *refFlow, known bool) {
	switch {
	case known:
		f.open()
		f.known = r.now + trust
		r.release(f, true)
	case len(f.held) == 0:
	case f.gone:
		r.goneFirst(f)
	case r.cfg.Drop && f.at != 0:
		r.release(f, false)
	}
}

// resolve takes an epoch out of those that flows wait for.
func (r *reference) resolve(epoch uint64) {
	for _, f := range r.flows {
		i := slices.Index(f.epochs, epoch)
		if i < 0 {
			continue
		}
		if f.epochs = slices.Delete(f.epochs, i, i+1); len(f.epochs) > 0 {
			continue
		}
		if len(f.held) == 0 {
			f.open()
		} else {
			f.gone, f.several = true, false
		}
	}
}

// join puts an earlier epoch in the place of one.
func (r *reference) join(epoch, earlier uint64) {
	for _, f := range r.flows {
		if i := slices.Index(f.epochs, epoch); i >= 0 {
			f.epochs = slices.Delete(f.epochs, i, i+1)
			if !slices.Contains(f.epochs, earlier) {
				f.epochs = append(f.epochs, earlier)
				slices.Sort(f.epochs)
			}
		}
	}
}

// lost is a drop or a refusal of the packet that was released as the first.
func (r *reference) lost(f *refFlow) {
	if f != nil && f.pending && !f.several {
		r.goneFirst(f)
	}
}

// oldest is the flow that holds packets longest.
func (r *reference) oldest() (oldest *refFlow) {
	for _, f := range r.flows {
		if len(f.held) > 0 && (oldest == nil || f.hold < oldest.hold) {
			oldest = f
		}
	}
	return oldest
}

func (r *reference) expire(j Judge, looked int64) {
	if looked > r.now {
		looked = r.now
	}
	if looked > r.clockAt {
		if j != Waiting && r.judge != Waiting {
			r.clock += min(looked-r.clockAt, clockStep)
		}
		r.clockAt = looked
	}
	r.judge = j
	for f := r.oldest(); f != nil; f = r.oldest() {
		age := time.Duration(r.ran - f.heldRan)
		if age < r.cfg.HoldLimit && time.Duration(r.clock-f.heldClock) < r.cfg.Hold && (j != WantsSecond || int64(age) < secondWait) {
			return
		}
		r.letGo(f)
	}
}

// try lets one packet go.
func (r *reference) try() {
	if f := r.oldest(); f != nil {
		h := f.held[0]
		f.held = f.held[1:]
		r.out = append(r.out, Verdict{ID: h.ID, Queue: h.Queue, Accept: true, First: none})
		f.several = true
		r.left(f)
	}
}

func (r *reference) drain() {
	for f := r.oldest(); f != nil; f = r.oldest() {
		r.letGo(f)
	}
}

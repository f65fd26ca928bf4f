package overload

import "time"

// ages works out how long the oldest packet of a queue has waited. The kernel gives
// packets ids in the order in which they come, and tells the last one (id_sequence); a
// packet that had its id at one look is at least as old as that look.
type ages struct{ looks []look }

// look is the last id at one time.
type look struct {
	at time.Time
	id uint32
}

// looksKept bounds what is remembered: a minute at four looks a second. Of older ones
// every second is forgotten, so that ages become coarser, and never too great.
const looksKept = 240

// oldest is how long the oldest of waiting packets has waited at least.
func (a *ages) oldest(now time.Time, last, waiting uint32) time.Duration {
	if waiting == 0 {
		a.looks = a.looks[:0]
		return 0
	}
	if len(a.looks) == looksKept {
		kept := a.looks[:0]
		for i := 0; i < len(a.looks); i += 2 {
			kept = append(kept, a.looks[i])
		}
		a.looks = kept
	}
	a.looks = append(a.looks, look{now, last})
	first := last - waiting + 1 // where packets were answered in their order; an older one otherwise
	for len(a.looks) > 0 && int32(a.looks[0].id-first) < 0 {
		a.looks = a.looks[1:]
	}
	if len(a.looks) == 0 {
		return 0
	}
	return now.Sub(a.looks[0].at)
}

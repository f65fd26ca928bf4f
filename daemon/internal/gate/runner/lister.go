package runner

import (
	"errors"
	"runtime"
	"sync/atomic"
	"time"

	"verdictd/daemon/internal/gate"
	"verdictd/daemon/internal/ring"
	"verdictd/internal/nfnl"
	"verdictd/internal/packet"
	"verdictd/internal/ruleset"
)

// Settled is the set in the kernel whose flows do not come to the gate.
type Settled interface {
	// Add puts flows in, both directions of each, in one transaction.
	//
	// Errors: ruleset.ErrFull where there is no room; then none was put in.
	Add(flows []packet.Key) error
}

const (
	// listTogether flows go into one transaction at most.
	listTogether = 512
	// listPause is at least between two transactions, so that they are few.
	listPause = 2 * time.Millisecond
	// listAgain is how long nothing is listed after the set did not take something.
	listAgain = time.Second
)

// lister is a thread of its own, as a transaction waits for those of others: a
// firewall's reload takes seconds.
type lister struct {
	bell    bell
	flows   *ring.Ring[gate.Listing]
	settled atomic.Pointer[Settled]
	failed  atomic.Uint64
	said    map[string]bool // the lister's own
	ended   chan struct{}
	stopped atomic.Bool
	paused  atomic.Bool
}

func newLister() (*lister, error) {
	alarm, err := nfnl.NewAlarm()
	if err != nil {
		return nil, err
	}
	return &lister{bell: bell{Alarm: alarm}, flows: ring.New[gate.Listing](1 << 13), said: map[string]bool{}, ended: make(chan struct{})}, nil
}

// run lists until stop is called. Listing is where workers see whether to hand
// over flows at all.
func (l *lister) run(listing *atomic.Bool, notice func(string)) {
	runtime.LockOSThread() // for good: the thread ends with the goroutine
	nfnl.GoFirst()         // the longer it takes, the more packets may overtake others
	defer close(l.ended)
	flows := make([]packet.Key, 0, listTogether)
	for l.bell.Sleep(nfnl.Forever) == nil && !l.stopped.Load() {
		l.bell.silence()
		for {
			for l.paused.Load() && !l.stopped.Load() {
				time.Sleep(listPause)
			}
			flows = flows[:0]
			for len(flows) < listTogether {
				f, ok := l.flows.Pop()
				if !ok {
					break
				}
				// One that goes on sending is listed when it pauses again.
				if !f.Touched() {
					flows = append(flows, f.Tuple)
				}
			}
			set := l.settled.Load()
			if len(flows) == 0 || set == nil {
				break
			}
			if err := (*set).Add(flows); err != nil {
				l.fail(len(flows), err, listing, notice)
				break
			}
			time.Sleep(listPause)
		}
	}
}

// fail stops the listing for a while. A cause is said once.
func (l *lister) fail(flows int, err error, listing *atomic.Bool, notice func(string)) {
	l.failed.Add(uint64(flows))
	why := "flows cannot be listed in the settled set and pass through the gate: " + err.Error()
	if errors.Is(err, ruleset.ErrFull) {
		why = "the settled set is full: further flows pass through the gate until others have been quiet for long; raise guard.settled_size"
	}
	if !l.said[why] {
		l.said[why] = true
		notice(why)
	}
	listing.Store(false)
	time.AfterFunc(listAgain, func() { listing.Store(l.settled.Load() != nil) })
}

func (l *lister) stop() error {
	l.stopped.Store(true)
	l.bell.ring()
	<-l.ended
	return l.bell.Close()
}

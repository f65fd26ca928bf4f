package guard

import "time"

// fight bounds how often rules are put back that somebody else changes again and again.
// Once is done at once.
type fight struct {
	last  time.Time
	pause time.Duration // after the last time
}

const (
	fightFirst = 250 * time.Millisecond
	fightMost  = time.Minute
	// fightSaid is from which pause on it is said that two programs do not agree.
	fightSaid = time.Second
	// fightOver: after so much peace it begins from the first again.
	fightOver = 10 * time.Second
)

// wait is how long it is until rules may be put back again; 0: now.
func (f *fight) wait(now time.Time) time.Duration { return max(0, f.pause-now.Sub(f.last)) }

// fought notes that they were, and returns the pause until the next time.
func (f *fight) fought(now time.Time) time.Duration {
	if now.Sub(f.last) > f.pause+fightOver {
		f.pause = 0
	}
	f.last = now
	f.pause = min(max(2*f.pause, fightFirst), fightMost)
	return f.pause
}

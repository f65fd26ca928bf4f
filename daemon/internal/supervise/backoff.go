package supervise

import "time"

// Pauses before a start. The first failure has none: while nobody reads them, queues fill.
const (
	shortestPause = 100 * time.Millisecond
	longestPause  = 2 * time.Second
	// provenAfter is how long a daemon works until its failures count from the first again.
	provenAfter = time.Second
)

// backoff counts failures in a row.
type backoff struct{ failures int }

// failed returns the pause before the next start, a quarter of the longest wait at most (0: there is none).
func (b *backoff) failed(longestWait time.Duration) time.Duration {
	b.failures++
	if b.failures == 1 {
		return 0
	}
	// The exponent is bounded before the shift: a daemon may fail for months.
	pause := min(shortestPause<<min(b.failures-2, 10), longestPause)
	if longestWait > 0 {
		pause = min(pause, longestWait/4)
	}
	return pause
}

// proven forgets the failures.
func (b *backoff) proven() { b.failures = 0 }

package traffic

import (
	"testing"
	"testing/synctest"
	"time"
)

// TestLinger: what a full queue held back for long arrives before the run ends.
func TestLinger(t *testing.T) {
	const limit, late, quiet = 20 * time.Second, 7 * time.Second, 50 * time.Millisecond
	for name, tt := range map[string]struct{ arrives, want time.Duration }{
		"all has arrived": {0, quiet},
		"it comes late":   {late, late + quiet},
		"it is lost":      {time.Hour, limit},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				begun := time.Now()
				linger(clock{base: begun}, limit, quiet, func() (complete bool, last int64) {
					return time.Since(begun) >= tt.arrives, int64(tt.arrives)
				})
				const poll = 5 * time.Millisecond
				if got := time.Since(begun); got < tt.want || got > tt.want+2*poll {
					t.Errorf("it lingers for %v, want %v", got, tt.want)
				}
			})
		})
	}
}

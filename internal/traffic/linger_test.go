package traffic

import (
	"context"
	"testing"
	"testing/synctest"
	"time"
)

// TestLinger: what a full queue held back for long arrives before the run ends, interrupted or not.
func TestLinger(t *testing.T) {
	const limit, late, quiet = 20 * time.Second, 7 * time.Second, 50 * time.Millisecond
	for name, tt := range map[string]struct {
		arrives     time.Duration
		interrupted bool
		again       time.Duration // interrupted once more then
		want        time.Duration
	}{
		"all has arrived":       {0, false, 0, quiet},
		"it comes late":         {late, false, 0, late + quiet},
		"it is lost":            {time.Hour, false, 0, limit},
		"interrupted, and late": {late, true, 0, late + quiet},
		"interrupted, and lost": {time.Hour, true, 0, limit},
		"interrupted meanwhile": {late, false, 2 * time.Second, 2 * time.Second},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				ctx, cancel := context.WithCancel(t.Context())
				defer cancel()
				if tt.interrupted {
					cancel()
				}
				if tt.again > 0 {
					time.AfterFunc(tt.again, cancel)
				}
				begun := time.Now()
				linger(ctx, clock{base: begun}, limit, quiet, func() (complete bool, last int64) {
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

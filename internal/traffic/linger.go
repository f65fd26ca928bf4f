package traffic

import (
	"context"
	"time"
)

// linger waits for what is still on its way, up to the limit, as that would count as lost. It ends early when all has
// arrived, but not at once: a duplicate comes last. An interrupted run lingers, too: what packets wait for, a full
// queue or a program that restarts, takes as long then. An interrupt while it lingers ends it.
func linger(ctx context.Context, clk clock, limit, quiet time.Duration, look func() (complete bool, last int64)) {
	const poll = 5 * time.Millisecond
	if ctx.Err() != nil {
		ctx = context.WithoutCancel(ctx)
	}
	for end := time.Now().Add(limit); time.Now().Before(end) && ctx.Err() == nil; time.Sleep(min(poll, time.Until(end))) {
		if complete, last := look(); complete && clk.now()-last > int64(quiet) {
			return
		}
	}
}

package traffic

import "time"

// linger waits for what is still on its way, up to the limit, as that would count as lost. It ends early when all has
// arrived, but not at once: a duplicate comes last. An interrupt does not end it: what packets wait for, a full queue
// or a program that restarts, takes no less time then.
func linger(clk clock, limit, quiet time.Duration, look func() (complete bool, last int64)) {
	const poll = 5 * time.Millisecond
	for end := time.Now().Add(limit); time.Now().Before(end); time.Sleep(min(poll, time.Until(end))) {
		if complete, last := look(); complete && clk.now()-last > int64(quiet) {
			return
		}
	}
}

package gate

// awayStep is the most that counts of a gap between two looks at a Clock, in nanoseconds.
// It is long: a thread that often waits for a CPU is not to hold packets for much longer
// than guard.hold_limit.
const awayStep = int64(250_000_000)

// A Clock counts the time in which this process ran, by which it judges what others do. A
// process that was stopped, frozen or swapped out has not waited for anybody, and has not
// seen what they did meanwhile.
type Clock struct{ at, ran int64 }

// Pass tells the time on a clock that does not stop, in nanoseconds, and returns that of
// the Clock. Who waits by a Clock looks at it more often than every 250 ms.
func (c *Clock) Pass(now int64) int64 {
	c.ran += min(now-c.at, awayStep)
	c.at = now
	return c.ran
}

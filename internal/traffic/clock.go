package traffic

import (
	"fmt"
	"time"

	"golang.org/x/sys/unix"
)

// clock reads CLOCK_MONOTONIC in nanoseconds. time.Since reads it through the vDSO, unix.ClockGettime by a system
// call; so the latter is asked once, for the offset.
type clock struct {
	base   time.Time
	offset int64
}

func newClock() (clock, error) {
	var ts unix.Timespec
	base := time.Now()
	if err := unix.ClockGettime(unix.CLOCK_MONOTONIC, &ts); err != nil {
		return clock{}, fmt.Errorf("read CLOCK_MONOTONIC: %w", err)
	}
	return clock{base: base, offset: ts.Nano()}, nil
}

func (c clock) now() int64 { return c.offset + int64(time.Since(c.base)) }

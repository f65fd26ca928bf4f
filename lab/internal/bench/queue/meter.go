package queue

import (
	"fmt"
	"time"

	"golang.org/x/sys/unix"
)

// A cpuMeter sums up the calling thread's time on a CPU within what it measures. A load that polls is always on a
// CPU: what a packet costs the sender is what its sends take, with all that the kernel does meanwhile on this thread.
type cpuMeter struct {
	spent time.Duration
	self  time.Duration // what measuring nothing comes to
}

func threadCPU() (time.Duration, error) {
	var ts unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_THREAD_CPUTIME_ID, &ts); err != nil {
		return 0, fmt.Errorf("read a thread's CPU time: %w", err)
	}
	return time.Duration(ts.Nano()), nil
}

// open finds out what the meter itself takes.
func (m *cpuMeter) open() error {
	const tries = 1000
	for range tries {
		if err := m.measure(func() error { return nil }); err != nil {
			return err
		}
	}
	m.self, m.spent = m.spent/tries, 0
	return nil
}

func (m *cpuMeter) measure(f func() error) error {
	before, err := threadCPU()
	if err != nil {
		return err
	}
	if err := f(); err != nil {
		return err
	}
	after, err := threadCPU()
	m.spent += max(0, after-before-m.self)
	return err
}

package nfnl

import (
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// A Pause waits for a short time, at most 100 us, for more to come. Go's scheduler
// is not told, as it would do more than the pause is worth; a garbage collection
// waits as long. The calling thread wants a small timer slack (PR_SET_TIMERSLACK):
// the kernel adds 50 us otherwise. For one goroutine.
type Pause struct{ time unix.Timespec }

// Wait waits.
func (p *Pause) Wait(d time.Duration) {
	p.time = unix.NsecToTimespec(int64(min(d, 100*time.Microsecond)))
	// Interrupted, it is shorter.
	_, _, _ = unix.RawSyscall(unix.SYS_NANOSLEEP, uintptr(unsafe.Pointer(&p.time)), 0, 0)
}

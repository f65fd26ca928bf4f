package runner

import (
	"runtime"
	"time"

	"golang.org/x/sys/unix"
)

// membarrierGlobal is MEMBARRIER_CMD_GLOBAL (include/uapi/linux/membarrier.h):
// it returns when every thread that ran in the kernel at its begin, among them all
// that carry out verdicts or send packets, has left it or slept (synchronize_rcu).
const membarrierGlobal = 1

// grace is waited for instead where membarrier is refused, as it is on processors
// with nohz_full: far longer than a packet is on its way between two queues.
const grace = 100 * time.Millisecond

// usual is how long a barrier takes on a machine that is not overloaded, and some more.
const usual = int64(25 * time.Millisecond)

// barriers waits for the kernel's memory barriers, some 10 ms each, on a thread
// of its own.
type barriers struct {
	want, done chan struct{}
	underWay   bool
	began      int64
}

func startBarriers(wake func()) *barriers {
	b := &barriers{want: make(chan struct{}, 1), done: make(chan struct{}, 1)}
	go func() {
		runtime.LockOSThread()
		for range b.want {
			Barrier()
			b.done <- struct{}{}
			wake()
		}
	}()
	return b
}

// Barrier returns when every packet that was on its way in the kernel has left it or waits
// in a queue, however busy the machine is: one that met rules before they changed is in their
// queue by then. That takes some 10 ms, or 100 ms where membarrier is refused.
func Barrier() {
	if !membarrier() {
		time.Sleep(grace)
	}
}

// membarrier reports whether the kernel has waited.
func membarrier() bool {
	_, _, errno := unix.Syscall(unix.SYS_MEMBARRIER, membarrierGlobal, 0, 0)
	return errno == 0
}

// begin starts one; there is none under way.
func (b *barriers) begin(now int64) {
	b.underWay, b.began = true, now
	b.want <- struct{}{}
}

// late reports whether the kernel takes longer than usual over the one under way: by then it
// is not known what has become of packets that are past all queues.
func (b *barriers) late(now int64) bool { return b.underWay && now-b.began > usual }

// ended reports whether the one under way has returned.
func (b *barriers) ended() bool {
	select {
	case <-b.done:
		b.underWay = false
		return true
	default:
		return false
	}
}

func (b *barriers) stop() { close(b.want) }

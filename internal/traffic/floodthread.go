package traffic

import (
	"errors"
	"fmt"
	"math"
	"sync/atomic"
	"syscall"
	"time"

	hdr "github.com/HdrHistogram/hdrhistogram-go"
	"golang.org/x/sys/unix"
)

// floodThread sends its flows' packets on a CPU of its own, without an allocation for a packet.
type floodThread struct {
	clk    clock
	plan   floodPlan
	pace   Pace
	number int
	share  int   // packets to send
	fds    []int // its flows'
	head   Header
	size   int
	per    int // segments a message
	batch  *batch

	halt   *event
	halted *atomic.Bool

	next   atomic.Int64 // packets offered to the kernel
	calls  uint64
	failed uint64 // packets that it refused
	errnos errnoCounts
	lag    *hdr.Histogram

	ended int64         // when run did
	cpu   time.Duration // of the thread, in run
}

func newFloodThread(clk clock, cfg *FloodConfig, run uint32, number int, filling []byte) *floodThread {
	plan := cfg.plan()
	t := &floodThread{
		clk: clk, plan: plan, pace: cfg.Pace, number: number, share: plan.share(number, cfg.Packets),
		head: Header{Run: run}, size: cfg.Size, per: cfg.Segments,
		batch: newBatch(cfg.Batch, cfg.Segments*cfg.Size, false), lag: newHistogram(),
	}
	for _, b := range t.batch.bufs {
		for i := range cfg.Segments {
			copy(b[i*cfg.Size+HeaderSize:(i+1)*cfg.Size], filling)
		}
	}
	return t
}

// threadTime is how long the calling thread has been on a CPU.
func threadTime() (time.Duration, error) {
	var ts unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_THREAD_CPUTIME_ID, &ts); err != nil {
		return 0, fmt.Errorf("read the thread's CPU time: %w", err)
	}
	return time.Duration(ts.Nano()), nil
}

// run sends the share, or until halted. start is when the schedule begins.
func (t *floodThread) run(start int64) error {
	before, err := threadTime()
	if err != nil {
		return err
	}
	for {
		seen := t.halt.load()
		if t.halted.Load() {
			break
		}
		wait := t.step(start)
		if wait < 0 {
			break
		}
		if wait > 0 {
			t.halt.wait(seen, wait)
		}
	}
	t.ended = t.clk.now()
	after, err := threadTime()
	t.cpu = after - before
	return err
}

// step sends what is due of one flow's turn, and says how long to wait before the next step; below 0: for ever, all is
// sent.
func (t *floodThread) step(start int64) time.Duration {
	next := int(t.next.Load())
	n := min(t.plan.turn-next%t.plan.turn, t.share-next)
	if n <= 0 {
		return -1
	}
	now := t.clk.now()
	if !t.pace.Full() {
		first := start + int64(t.plan.due(t.pace, t.number, next))
		if first > now {
			return time.Duration(first - now)
		}
		n = min(n, t.overdue(next, start, now))
		record(t.lag, now-first)
	}
	t.send(next, n, start, now)
	t.next.Store(int64(next + n))
	return 0
}

// overdue is how many packets from next on are due by now.
func (t *floodThread) overdue(next int, start, now int64) int {
	all := math.Floor(t.pace.Rate*time.Duration(now-start).Seconds()) + 1 // of all threads
	return max(1, (int(all)-t.number+t.plan.threads-1)/t.plan.threads-next)
}

// send hands packets of one flow's turn over. They follow each other in the flow, so the plan is asked for the first
// only.
func (t *floodThread) send(next, n int, start, now int64) {
	flow, number := t.plan.at(t.number, next)
	first := t.plan.block(t.number, flow)
	messages := 0
	for left := n; left > 0; messages++ {
		segments := min(left, t.per)
		b := t.batch.bufs[messages][:segments*t.size]
		for i := range segments {
			t.head.Flow, t.head.Seq = first+uint32(number/floodBlock), uint16(number%floodBlock)
			t.head.Sent = now
			if !t.pace.Full() {
				t.head.Sent = start + int64(t.plan.due(t.pace, t.number, next))
			}
			t.head.Put(b[i*t.size : (i+1)*t.size])
			next++
			number++
		}
		t.batch.iovs[messages].SetLen(len(b))
		left -= segments
	}
	for msgs, at := t.batch.msgs[:messages], 0; at < messages; {
		taken, err := send(t.fds[flow], msgs[at:])
		t.calls++
		if err != nil {
			t.fail(err, int(t.batch.iovs[at].Len)/t.size)
			taken = 1
		}
		at += taken
	}
}

// fail counts the packets of a message that the kernel refused.
func (t *floodThread) fail(err error, packets int) {
	t.failed += uint64(packets)
	var errno syscall.Errno
	_ = errors.As(err, &errno) // else 0
	t.errnos.add(errno, uint64(packets))
}

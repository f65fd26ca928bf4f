package traffic

import (
	"container/heap"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// openFlow is a flow with its socket.
type openFlow struct {
	*mixFlow
	fd   int
	left atomic.Int32 // packets that are not sent yet

	// When all was seen to be sent, and when answers were seen to be missing; 0: not yet.
	sent, missed time.Duration
}

// mixShare is what one thread has yet to send of a flow.
type mixShare struct {
	flow    *openFlow
	packets []mixPacket // of the thread's lane
}

// shares is a heap: what is due first is first.
type shares []mixShare

func (s shares) Len() int           { return len(s) }
func (s shares) Less(i, j int) bool { return s[i].packets[0].at < s[j].packets[0].at }
func (s shares) Swap(i, j int)      { s[i], s[j] = s[j], s[i] }
func (s *shares) Push(x any)        { *s = append(*s, x.(mixShare)) }
func (s *shares) Pop() any {
	old := *s
	last := old[len(old)-1]
	*s = old[:len(old)-1]
	return last
}

// mixThread sends the packets of one lane, each when it is due, from a CPU of its own.
type mixThread struct {
	clk   clock
	begun int64
	head  Header
	buf   []byte
	wake  event

	mu     sync.Mutex
	shares shares
	closed bool

	halted *atomic.Bool
	sent   []uint64 // by target
	errnos errnoCounts
}

func newMixThread(clk clock, begun int64, run uint32, lane, targets int, seed uint64, halted *atomic.Bool) *mixThread {
	t := &mixThread{
		clk: clk, begun: begun, head: Header{Run: run, Thread: uint16(lane)},
		buf: make([]byte, mixOversize), halted: halted, sent: make([]uint64, targets),
	}
	random := rand.New(rand.NewPCG(seed, 1))
	for i := range t.buf {
		t.buf[i] = byte(random.Uint32())
	}
	return t
}

func (t *mixThread) add(s mixShare) {
	t.mu.Lock()
	heap.Push(&t.shares, s)
	t.mu.Unlock()
	t.wake.bump()
}

// close lets the thread end when all is sent.
func (t *mixThread) close() {
	t.mu.Lock()
	t.closed = true
	t.mu.Unlock()
	t.wake.bump()
}

// run sends until close; once halted it sends no more, but still gives up the flows.
func (t *mixThread) run() {
	for {
		seen := t.wake.load()
		share, wait, ok := t.due()
		switch {
		case !ok && wait == 0:
			return
		case !ok:
			t.wake.wait(seen, wait)
			continue
		}
		if !t.halted.Load() {
			t.send(share.flow, share.packets[0])
		}
		share.flow.left.Add(-1)
		if share.packets = share.packets[1:]; len(share.packets) > 0 {
			t.mu.Lock()
			heap.Push(&t.shares, share)
			t.mu.Unlock()
		}
	}
}

// due takes the share whose turn it is. Where there is none it says how long to wait, 0 meaning that no more will come.
func (t *mixThread) due() (share mixShare, wait time.Duration, ok bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if len(t.shares) == 0 {
		if t.closed {
			return share, 0, false
		}
		return share, pollInterval, false
	}
	if wait := t.shares[0].packets[0].at - time.Duration(t.clk.now()-t.begun); wait > 0 && !t.halted.Load() {
		return share, min(wait, pollInterval), false
	}
	return heap.Pop(&t.shares).(mixShare), 0, true
}

func (t *mixThread) send(f *openFlow, p mixPacket) {
	b := t.buf[:p.size]
	t.head.Flow, t.head.Seq, t.head.Sent = f.id, p.seq, t.clk.now()
	t.head.Put(b)
	t.sent[f.target]++
	for {
		_, _, errno := syscall.Syscall6(unix.SYS_SENDTO, uintptr(f.fd), uintptr(unsafe.Pointer(&b[0])), uintptr(len(b)), 0, 0,
			0)
		switch errno {
		case 0:
			return
		case unix.EINTR:
			continue
		}
		t.errnos.count(errno)
		return
	}
}

// mixDirector opens flows as they are planned, hands them to the threads, and closes them. It has a thread of its own.
type mixDirector struct {
	cfg       *MixConfig
	clk       clock
	begun     int64
	ns        netns
	plan      *mixPlan
	dialers   []*dialer // by target
	threads   []*mixThread
	collector *collector
	halted    *atomic.Bool
	open      []*openFlow
	shape     MixShape
	// dropped is the answers that the kernel dropped at flows' own sockets; nil: it does not tell.
	dropped *uint64
}

// lead is how long before its start a flow is opened, so that its first packets are not late.
const mixLead = 20 * time.Millisecond

func (d *mixDirector) elapsed() time.Duration { return time.Duration(d.clk.now() - d.begun) }

func (d *mixDirector) run() error {
	for !d.halted.Load() {
		f, ok := d.plan.flow()
		if !ok {
			break
		}
		for wait := f.start - mixLead - d.elapsed(); wait > 0 && !d.halted.Load(); wait = f.start - mixLead - d.elapsed() {
			d.retire()
			time.Sleep(min(wait, pollInterval))
		}
		if err := d.begin(f); err != nil {
			return fmt.Errorf("flow %d: %w", f.id, err)
		}
	}
	return nil
}

// begin opens a flow and hands its packets to the threads. A port that is to be used again may be held by its former
// flow yet, where the machine is slow.
func (d *mixDirector) begin(f *mixFlow) error {
	const patience = 10 * time.Second
	var fd int
	var err error
	for give := time.Now().Add(patience); ; time.Sleep(time.Millisecond) {
		d.retire()
		if fd, err = d.dialers[f.target].dial(f.source); !errors.Is(err, unix.EADDRINUSE) || time.Now().After(give) ||
			d.halted.Load() {
			break
		}
	}
	if err != nil {
		return err
	}
	o := &openFlow{mixFlow: f, fd: fd}
	d.open = append(d.open, o)
	if d.cfg.Targets[f.target].Echo {
		if err := d.collector.watch(fd); err != nil {
			return err
		}
	}
	o.left.Store(int32(len(f.packets)))
	d.shape.add(f, &d.cfg.Targets[f.target])
	for lane, t := range d.threads {
		share := mixShare{flow: o}
		for _, p := range f.packets {
			if int(p.lane) == lane {
				share.packets = append(share.packets, p)
			}
		}
		if len(share.packets) > 0 {
			t.add(share)
		}
	}
	return nil
}

// retire closes the flows that have sent all and heard all.
func (d *mixDirector) retire() {
	kept := d.open[:0]
	for _, o := range d.open {
		if o.left.Load() > 0 || d.elapsed() < o.end() || d.awaits(o) {
			kept = append(kept, o)
			continue
		}
		d.close(o)
	}
	clear(d.open[len(kept):])
	d.open = kept
}

// awaits reports whether answers may come still to a flow that has sent all. Waits count
// from when this is seen and not from the plan: a machine that stood still has sent late,
// and has answers in the flow's socket that nobody has read.
func (d *mixDirector) awaits(o *openFlow) bool {
	t := &d.cfg.Targets[o.target]
	now := d.elapsed()
	switch {
	case !t.Echo:
		return false
	case o.sent == 0:
		o.sent = now
		return true
	case now < max(o.end(), o.sent)+d.cfg.hold():
		return true
	case t.Lossy || d.collector.ledger.Received(o.id) >= len(o.packets):
		return false
	case o.missed == 0:
		o.missed = now
	}
	return now < o.missed+d.cfg.hold()
}

// closeAll is for the end, when all echoes are in.
func (d *mixDirector) closeAll() {
	for _, o := range d.open {
		d.close(o)
	}
	d.open = nil
}

// close reads a flow's drop counter and closes its socket, which has nothing to flush.
func (d *mixDirector) close(o *openFlow) {
	if d.cfg.Targets[o.target].Echo {
		if n, err := SocketDrops(o.fd); err == nil {
			if d.dropped == nil {
				d.dropped = new(uint64)
			}
			*d.dropped += n
		}
	}
	_ = unix.Close(o.fd)
}

package traffic

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"
	"runtime"
	"syscall"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// onThread runs f on an operating-system thread of its own, which ends with f: it may have another network
// namespace, affinity or timer slack by then, and nobody else is to inherit those.
func onThread(f func()) {
	go func() {
		runtime.LockOSThread()
		f()
	}()
}

// allowedCPUs are the CPUs that this process may run on.
func allowedCPUs() ([]int, error) {
	var set unix.CPUSet
	if err := unix.SchedGetaffinity(0, &set); err != nil {
		return nil, fmt.Errorf("read CPU affinity: %w", err)
	}
	var cpus []int
	for cpu := range len(set) * int(unsafe.Sizeof(set[0])) * 8 {
		if set.IsSet(cpu) {
			cpus = append(cpus, cpu)
		}
	}
	return cpus, nil
}

// pin binds the calling thread to one CPU.
func pin(cpu int) error {
	var set unix.CPUSet
	set.Set(cpu)
	if err := unix.SchedSetaffinity(0, &set); err != nil {
		return fmt.Errorf("pin thread to CPU %d: %w", cpu, err)
	}
	return nil
}

// shortWaits makes the calling thread's sleeps end when they are due, and not 50 us later.
func shortWaits() error {
	if err := unix.Prctl(unix.PR_SET_TIMERSLACK, 1, 0, 0, 0); err != nil {
		return fmt.Errorf("set timer slack: %w", err)
	}
	return nil
}

// errnoCounts counts failed system calls by their cause.
type errnoCounts [256]uint64

func (c *errnoCounts) count(err error) {
	var errno syscall.Errno
	_ = errors.As(err, &errno) // else 0
	c.add(errno, 1)
}

// add counts n failures of one cause.
func (c *errnoCounts) add(errno syscall.Errno, n uint64) {
	if int(errno) >= len(c) {
		errno = 0
	}
	c[errno] += n
}

func (c *errnoCounts) total() (n uint64) {
	for _, v := range c {
		n += v
	}
	return n
}

// names adds the counts to m under the errors' names.
func (c *errnoCounts) names(m map[string]uint64) {
	for errno, n := range c {
		if n == 0 {
			continue
		}
		name := unix.ErrnoName(syscall.Errno(errno))
		if name == "" {
			name = fmt.Sprintf("errno %d", errno)
		}
		m[name] += n
	}
}

// thread is one sending thread's share of each burst: buffers made once, no allocation for a packet.
type thread struct {
	clk   clock
	head  Header // Run and Thread are set; Flow, Seq and Sent change
	fd    int    // set by the leading thread before each burst
	batch *batch // one message for each packet of the share
	shift int    // of the payload within a message
	whole bool   // hand the share over in one sendmmsg; else one sendto for each packet

	at       int64                  // when the burst is to start; 0: at once
	spacing  int64                  // between its packets
	reverse  bool                   // sends from the far end, through a socket that is not connected
	answered *answer                // nil but in ModeReply
	to       *unix.RawSockaddrInet6 // nil: the socket is connected
	toLen    uintptr

	first  int64 // when the last burst's first packet was stamped
	last   int64
	failed int // packets of the last burst that the kernel refused
	errnos errnoCounts

	_ [64]byte // the next thread's fields are on another cache line
}

func newThread(clk clock, head Header, packets, size int, filling []byte, whole bool) *thread {
	return newThreadBehind(nil, clk, head, packets, size, filling, whole)
}

// newThreadBehind is newThread for messages that begin with something before the payload.
func newThreadBehind(prefix []byte, clk clock, head Header, packets, size int, filling []byte, whole bool) *thread {
	t := &thread{clk: clk, head: head, batch: newBatch(packets, len(prefix)+size, false), shift: len(prefix), whole: whole}
	for i, b := range t.batch.bufs {
		copy(b, prefix)
		copy(b[len(prefix)+HeaderSize:], filling)
		if len(prefix) == icmpHeader {
			binary.BigEndian.PutUint16(b[icmpHeader-2:], uint16(i)) // a sequence number, for people who look at the packets
		}
	}
	return t
}

// burst sends the thread's share of the flow in head.Flow.
func (t *thread) burst() {
	t.failed = 0
	if t.reverse && t.answered != nil {
		t.answered.wait()
	}
	t.first = t.clk.now()
	for t.first < t.at {
		t.first = t.clk.now()
	}
	t.last = t.first
	if t.whole {
		t.sendWhole()
	} else {
		t.sendEach()
	}
}

// address is where a thread whose socket is not connected sends.
func (t *thread) address(to netip.AddrPort) {
	if t.to == nil {
		t.to = new(unix.RawSockaddrInet6) // large enough for IPv4 too
	}
	var port [2]byte
	binary.BigEndian.PutUint16(port[:], to.Port())
	if to.Addr().Is4() {
		v4 := (*unix.RawSockaddrInet4)(unsafe.Pointer(t.to))
		*v4 = unix.RawSockaddrInet4{Family: unix.AF_INET, Port: *(*uint16)(unsafe.Pointer(&port)), Addr: to.Addr().As4()}
		t.toLen = unix.SizeofSockaddrInet4
		return
	}
	*t.to = unix.RawSockaddrInet6{Family: unix.AF_INET6, Port: *(*uint16)(unsafe.Pointer(&port)), Addr: to.Addr().As16()}
	t.toLen = unix.SizeofSockaddrInet6
}

// sleepFrom is a gap that is worth a sleep, which may take some 50 us longer than asked for on a busy CPU.
const sleepFrom = int64(200 * time.Microsecond)

// pause returns the time when it is not before due.
func (t *thread) pause(due int64) int64 {
	now := t.clk.now()
	if gap := due - now; gap > sleepFrom {
		ts := unix.NsecToTimespec(gap - sleepFrom/2)
		_ = unix.Nanosleep(&ts, nil) // a signal that cuts it short leaves the rest to the loop below
	}
	for now < due {
		now = t.clk.now()
	}
	return now
}

func (t *thread) sendEach() {
	for seq, b := range t.batch.bufs {
		if seq > 0 {
			t.last = t.pause(t.first + int64(seq)*t.spacing)
		}
		t.put(seq, b)
		// Syscall, not RawSyscall: with a full send buffer it blocks, up to the socket's send timeout.
		for {
			_, _, errno := syscall.Syscall6(unix.SYS_SENDTO, uintptr(t.fd), uintptr(unsafe.Pointer(&b[0])), uintptr(len(b)), 0,
				uintptr(unsafe.Pointer(t.to)), t.toLen)
			if errno == unix.EINTR {
				continue
			}
			if errno != 0 {
				t.fail(errno)
			}
			break
		}
		if seq == 0 && t.answered != nil && !t.reverse {
			t.answered.tell()
		}
	}
}

func (t *thread) sendWhole() {
	for seq, b := range t.batch.bufs {
		t.put(seq, b)
	}
	for msgs := t.batch.msgs; len(msgs) > 0; {
		n, err := send(t.fd, msgs)
		if err != nil {
			t.fail(err)
			n = 1
		}
		msgs = msgs[n:]
	}
}

func (t *thread) put(seq int, b []byte) {
	t.head.Seq, t.head.Sent = uint16(seq), t.last
	t.head.Put(b[t.shift:])
}

func (t *thread) fail(err error) {
	t.failed++
	t.errnos.count(err)
}

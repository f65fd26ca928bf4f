package queue

import (
	"context"
	"encoding/binary"
	"fmt"
	"net/netip"
	"slices"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"

	"verdictd/internal/nfq"
)

// A pacedLoad sends packets when they are due, whatever became of those before: so a program that stands still for a
// while is charged with all packets of that while, and not with one. It is on the thread that opened it, which polls.
type pacedLoad struct {
	flowSockets
	size int // of a packet's payload, at least stampSize

	next int // flow to send

	// between is called in each turn of the loop that waits for what is due, as long as it has more to do: with it ends
	// the sending. nil: nothing.
	between func() (more bool, err error)

	out     []byte
	in      datagrams
	waits   []int64 // nanoseconds from due to seen, of all packets that arrived
	arrived []int   // of each flow
	late    int64   // how much behind its time a send was at most, in nanoseconds
	sent    int     // of the last turn
	took    int64   // from the first send to the last arrival, in nanoseconds
}

// stampSize is the bytes of a payload that are read when it arrives: when it was due, the flow, and the turn.
const stampSize = 8 + 4 + 4

// openPaced makes the sockets in the calling thread's network namespace.
func openPaced(target netip.AddrPort, sources []netip.Addr, size int) (_ *pacedLoad, err error) {
	const (
		batch = 256
		room  = 1 << 15 // packets: what arrives while this thread sends
	)
	l := &pacedLoad{size: max(size, stampSize), in: newDatagrams(batch, stampSize)}
	l.out, l.arrived = make([]byte, maxChunk*l.size), make([]int, len(sources))
	l.flowSockets, err = openFlows(target, sources, l.size, room)
	return l, err
}

// giveUpAfter is when packets under way are given up, once nothing arrives any more.
const giveUpAfter = 300 * time.Millisecond

// send sends packets at an even rate, in so many a second, for a while. Packets of another turn, which arrive late, are
// not counted.
func (l *pacedLoad) send(ctx context.Context, perSecond float64, packets int, turn uint32) error {
	l.waits, l.late, l.took = l.waits[:0], 0, 0
	clear(l.arrived)
	chunk := l.chunk(perSecond)
	sent, begun := 0, nfq.Now()
	for last := begun; sent < packets || nfq.Now()-last < int64(giveUpAfter); {
		due := begun + int64(float64(sent)/perSecond*1e9)
		if now := nfq.Now(); sent < packets && now >= due {
			l.late = max(l.late, now-due)
			if err := l.sendChunk(sent, min(chunk, packets-sent), due, turn); err != nil {
				return err
			}
			sent += chunk
			last = now
		}
		if l.between != nil && sent < packets {
			more, err := l.between()
			if err != nil {
				return err
			}
			if !more {
				packets = sent
			}
		}
		n, err := l.receive(turn)
		if err != nil {
			return err
		}
		if n > 0 {
			last = nfq.Now()
			l.took = last - begun
		}
		if len(l.waits) >= packets {
			break
		}
		if err := ctx.Err(); err != nil {
			return context.Cause(ctx)
		}
	}
	l.sent = packets
	slices.Sort(l.waits)
	return nil
}

// chunk is how many packets go down in one send, as one cannot be sent for each beyond a rate.
func (l *pacedLoad) chunk(perSecond float64) int {
	const alone = 60_000
	if perSecond <= alone {
		return 1
	}
	return min(int(perSecond/alone)+1, maxChunk, maxDatagram/l.size)
}

// sendChunk sends n packets of one flow, which are due at the same time.
func (l *pacedLoad) sendChunk(first, n int, due int64, turn uint32) error {
	flow := l.next
	l.next = (l.next + 1) % len(l.flows)
	for i := range n {
		b := l.out[i*l.size:]
		binary.NativeEndian.PutUint64(b, uint64(due))
		binary.NativeEndian.PutUint32(b[8:], uint32(flow))
		binary.NativeEndian.PutUint32(b[12:], turn)
	}
	if err := sendAll(l.flows[flow], l.out[:n*l.size]); err != nil {
		return fmt.Errorf("send packet %d: %w", first+1, err)
	}
	return nil
}

// receive takes what has arrived, which may be nothing.
func (l *pacedLoad) receive(turn uint32) (int, error) {
	n, err := receiveAll(l.sink, l.in.msgs)
	if err != nil {
		return 0, fmt.Errorf("receive: %w", err)
	}
	now := nfq.Now()
	for i := range n {
		b := l.in.bytes[i*stampSize : (i+1)*stampSize]
		if binary.NativeEndian.Uint32(b[12:]) != turn {
			continue
		}
		if flow := int(binary.NativeEndian.Uint32(b[8:])); flow < len(l.arrived) {
			l.arrived[flow]++
		}
		l.waits = append(l.waits, max(0, now-int64(binary.NativeEndian.Uint64(b))))
	}
	return n, nil
}

// quantile is that of the sorted waits, in microseconds: the least that so many of them do not exceed.
func (l *pacedLoad) quantile(q float64) float64 {
	if len(l.waits) == 0 {
		return 0
	}
	at := min(len(l.waits)-1, int(q*float64(len(l.waits))))
	return float64(l.waits[at]) / 1e3
}

// fairness is the least that a flow got of what the flow with most got.
func (l *pacedLoad) fairness() float64 {
	if most := slices.Max(l.arrived); most > 0 {
		return float64(slices.Min(l.arrived)) / float64(most)
	}
	return 0
}

// queueFairness is the least that a flow got of a queue on average, by what one of the queue with most got.
func (l *pacedLoad) queueFairness(queueOf []int) float64 {
	arrived, flows := map[int]float64{}, map[int]float64{}
	for flow, queue := range queueOf {
		arrived[queue] += float64(l.arrived[flow])
		flows[queue]++
	}
	var least, most float64
	for queue := range arrived {
		each := arrived[queue] / flows[queue]
		if least == 0 || each < least {
			least = each
		}
		most = max(most, each)
	}
	if most == 0 {
		return 1 // one queue
	}
	return least / most
}

// socketDrops is what the sink's own buffer lost so far, which is the load's fault and not the program's.
func (l *pacedLoad) socketDrops() (uint32, error) {
	var info [unix.SK_MEMINFO_VARS]uint32
	size := uint32(unsafe.Sizeof(info))
	_, _, errno := unix.Syscall6(unix.SYS_GETSOCKOPT, uintptr(l.sink), unix.SOL_SOCKET, unix.SO_MEMINFO,
		uintptr(unsafe.Pointer(&info)), uintptr(unsafe.Pointer(&size)), 0)
	if errno != 0 {
		return 0, fmt.Errorf("read the sink's drops (SO_MEMINFO): %w", errno)
	}
	return info[unix.SK_MEMINFO_DROPS], nil
}

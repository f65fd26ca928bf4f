package runner

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"strconv"
	"sync/atomic"

	"golang.org/x/sys/unix"

	"verdictd/daemon/internal/gate"
)

// queueReader reads how far the namespace's queues are, many times a second.
type queueReader struct {
	queues, sockets *os.File
	buf             []byte
	// own are the gate's numbers; inOrder tells those that the verdict engine of
	// this process serves.
	own     func(queue uint16) bool
	inOrder func(queue uint16) (answered uint32, own bool)
	apart   atomic.Pointer[map[uint16]bool]
	drops   map[uint32]uint32 // by port, as of the last look
}

// openQueues opens the lists of the calling thread's network namespace. It needs
// to be root there, or in its group (mode 0440).
func openQueues(own func(uint16) bool, inOrder func(uint16) (uint32, bool)) (*queueReader, error) {
	queues, err := os.Open("/proc/thread-self/net/netfilter/nfnetlink_queue")
	if err != nil {
		return nil, fmt.Errorf("read how far other queues are (needs root or its group, SupplementaryGroups=root in a unit): %w", err)
	}
	sockets, err := os.Open("/proc/thread-self/net/netlink")
	if err != nil {
		return nil, errors.Join(fmt.Errorf("read what the programs of other queues have read: %w", err), queues.Close())
	}
	return &queueReader{queues: queues, sockets: sockets, buf: make([]byte, 16<<10), own: own, inOrder: inOrder, drops: map[uint32]uint32{}}, nil
}

func (q *queueReader) close() error { return errors.Join(q.queues.Close(), q.sockets.Close()) }

// content reads a file of procfs, which is made when it is read from its
// beginning.
func (q *queueReader) content(f *os.File) ([]byte, error) {
	n := 0
	for {
		m, err := f.ReadAt(q.buf[n:], int64(n))
		n += m
		if err == io.EOF {
			return q.buf[:n], nil
		}
		if err != nil {
			return nil, err
		}
		if n == len(q.buf) {
			q.buf = append(q.buf, make([]byte, len(q.buf))...)
		}
	}
}

// read lists all queues that packets may come to behind the gate.
func (q *queueReader) read() ([]gate.Reading, error) {
	b, err := q.content(q.queues)
	if err != nil {
		return nil, fmt.Errorf("read how far other queues are: %w", err)
	}
	var list []gate.Reading
	look := false
	for line := range bytes.Lines(b) {
		r, ok := parseQueue(line)
		if !ok {
			return nil, fmt.Errorf("read how far other queues are: line %q", bytes.TrimSpace(line))
		}
		if apart := q.apart.Load(); !q.own(r.Queue) && (apart == nil || !(*apart)[r.Queue]) {
			list = append(list, r)
			if _, own := q.inOrder(r.Queue); !own {
				look = look || r.Waiting >= fullAt
			}
		}
	}
	if look {
		if err := q.readDrops(); err != nil {
			return nil, err
		}
	}
	for i := range list {
		list[i].Lost = max(list[i].Lost, q.drops[list[i].Port])
		q.ownProgress(&list[i])
	}
	return list, nil
}

// ownProgress counts what waits in a queue of this process by ids: a device that goes
// takes packets out of the middle of a queue, and the kernel's number says as much as
// if they had been judged.
func (q *queueReader) ownProgress(r *gate.Reading) {
	answered, own := q.inOrder(r.Queue)
	if r.InOrder = own; own && answered != 0 && r.Waiting != 0 {
		r.Waiting, r.Lost = r.Sequence-answered, 0
	}
}

// parseQueue reads a line of nfnetlink_queue's seq_show: queue, port id, waiting,
// copy mode, copy range, two counters of drops, the id of the last packet, 1.
func parseQueue(line []byte) (r gate.Reading, ok bool) {
	var numbers [8]uint64
	for i := range numbers {
		line = bytes.TrimLeft(line, " ")
		end := bytes.IndexAny(line, " \n")
		if end < 0 {
			return r, false
		}
		n, err := strconv.ParseUint(string(line[:end]), 10, 32)
		if err != nil {
			return r, false
		}
		numbers[i], line = n, line[end:]
	}
	return gate.Reading{
		Queue: uint16(numbers[0]), Port: uint32(numbers[1]), Waiting: uint32(numbers[2]), Lost: uint32(numbers[6]), Sequence: uint32(numbers[7]),
	}, true
}

// fullAt packets at least wait where a program's socket is full: a message is some
// 64 KiB at most, and the smallest buffer that programs have by default 208 KiB.
const fullAt = 3

// readDrops reads how many messages did not find room in netlink sockets (column
// Drops of /proc/net/netlink). A queue that fails open counts them nowhere else.
func (q *queueReader) readDrops() error {
	b, err := q.content(q.sockets)
	if err != nil {
		return fmt.Errorf("read what other queues have lost: %w", err)
	}
	for line := range bytes.Lines(b) {
		f := bytes.Fields(line)
		if len(f) < 10 || string(f[1]) != strconv.Itoa(unix.NETLINK_NETFILTER) {
			continue
		}
		port, err := strconv.ParseUint(string(f[2]), 10, 32)
		drops, errDrops := strconv.ParseUint(string(f[8]), 10, 32)
		if err != nil || errDrops != nil {
			return fmt.Errorf("read what other queues have lost: line %q", bytes.TrimSpace(line))
		}
		q.drops[uint32(port)] = uint32(drops)
	}
	return nil
}

// readEmpty reports whether the netlink socket of a queue's program holds nothing
// that the program has not read (column Rmem of /proc/net/netlink).
func (q *queueReader) readEmpty(port uint32) bool {
	b, err := q.content(q.sockets)
	if err != nil {
		return false
	}
	for line := range bytes.Lines(b) {
		f := bytes.Fields(line)
		if len(f) > 4 && string(f[1]) == strconv.Itoa(unix.NETLINK_NETFILTER) && string(f[2]) == strconv.FormatUint(uint64(port), 10) {
			return string(f[4]) == "0"
		}
	}
	return false
}

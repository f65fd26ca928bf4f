package nfq

import (
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
)

// KernelQueue is what the kernel tells of one bound queue.
type KernelQueue struct {
	Queue  uint16
	PortID uint32
	// Queued is how many packets wait for a verdict.
	Queued uint32
	// CopyMode and CopyRange are the raw NFQNL_COPY_* value and bytes.
	CopyMode  uint8
	CopyRange uint32
	// QueueDropped counts packets dropped as the queue was full, UserDropped
	// those that the socket's receive buffer could not take.
	QueueDropped, UserDropped uint32
	// IDSequence is the id of the last packet queued.
	IDSequence uint32
}

// kernelQueuesPath is read through thread-self: /proc/net is that of the
// process's first thread, which may be in another network namespace.
const kernelQueuesPath = "/proc/thread-self/net/netfilter/nfnetlink_queue"

// KernelQueues lists the queues of one network namespace, whenever it is asked. It is
// for one goroutine, which may be on any thread.
type KernelQueues struct {
	file *os.File
	text []byte
}

// OpenKernelQueues is about the network namespace of the calling thread. The file's mode
// is 0440: it takes the user or the group that is root in the namespace, or
// CAP_DAC_READ_SEARCH.
func OpenKernelQueues() (*KernelQueues, error) {
	f, err := os.Open(kernelQueuesPath)
	if err != nil {
		return nil, fmt.Errorf("list the kernel's queues: %w", err)
	}
	return &KernelQueues{f, make([]byte, 4<<10)}, nil
}

// Read lists the queues.
func (k *KernelQueues) Read() ([]KernelQueue, error) {
	n := 0
	for {
		// A file of procfs is made when it is read from its beginning.
		m, err := k.file.ReadAt(k.text[n:], int64(n))
		n += m
		if errors.Is(err, io.EOF) {
			return parseKernelQueues(string(k.text[:n]))
		}
		if err != nil {
			return nil, fmt.Errorf("list the kernel's queues: %w", err)
		}
		if n == len(k.text) {
			k.text = append(k.text, make([]byte, len(k.text))...)
		}
	}
}

// Close ends it.
func (k *KernelQueues) Close() error { return k.file.Close() }

// ReadKernelQueues lists the queues of the calling thread's network namespace once; see
// OpenKernelQueues.
func ReadKernelQueues() ([]KernelQueue, error) {
	k, err := OpenKernelQueues()
	if err != nil {
		return nil, err
	}
	queues, err := k.Read()
	return queues, errors.Join(err, k.Close())
}

// parseKernelQueues reads the lines of nfnetlink_queue's seq_show: queue, port
// id, queued, copy mode, copy range, queue dropped, user dropped, id, 1.
func parseKernelQueues(text string) ([]KernelQueue, error) {
	var queues []KernelQueue
	for line := range strings.Lines(text) {
		var k KernelQueue
		_, err := fmt.Sscan(line, &k.Queue, &k.PortID, &k.Queued, &k.CopyMode, &k.CopyRange,
			&k.QueueDropped, &k.UserDropped, &k.IDSequence)
		if err != nil {
			return nil, fmt.Errorf("list the kernel's queues: line %q: %w", strings.TrimSpace(line), err)
		}
		queues = append(queues, k)
	}
	return queues, nil
}

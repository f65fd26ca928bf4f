package nfq

import (
	"errors"
	"fmt"
	"slices"
	"time"

	"golang.org/x/sys/unix"

	"verdictd/internal/nfnl"
)

// releaseWithin bounds how long AcceptAll goes on while packets arrive.
const releaseWithin = time.Second

// AcceptAll accepts what waits in queues that are bound to a netlink socket, without looking at it, for who holds the
// socket of a process that is gone; and also what comes until nothing is left, within a second. which chooses among the
// socket's queues. It reads nothing from the socket, and is to be called in the socket's network namespace.
//
// Errors: where the kernel's list of queues cannot be read, the descriptor is no netlink socket, or packets go on to
// arrive.
func AcceptAll(fd int, which func(queue uint16) bool) (accepted int, err error) {
	failed := func(err error) (int, error) {
		return accepted, fmt.Errorf("accept what waits: %w", err)
	}
	address, err := unix.Getsockname(fd)
	if err != nil {
		return failed(err)
	}
	netlink, ok := address.(*unix.SockaddrNetlink)
	if !ok {
		return failed(errors.New("the descriptor is no netlink socket"))
	}
	var enc nfnl.Encoder
	for until := time.Now().Add(releaseWithin); ; {
		queues, err := ReadKernelQueues()
		if err != nil {
			return failed(err)
		}
		queues = slices.DeleteFunc(queues, func(k KernelQueue) bool {
			return k.PortID != netlink.Pid || k.Queued == 0 || !which(k.Queue)
		})
		if len(queues) == 0 {
			return accepted, nil
		}
		if time.Now().After(until) {
			return failed(fmt.Errorf("packets go on to arrive in queue %d", queues[0].Queue))
		}
		enc.Reset()
		for _, k := range queues {
			enc.Begin(typeVerdictBatch, unix.AF_UNSPEC, k.Queue)
			enc.Uint32Pair(nfqaVerdictHdr, uint32(Accept), k.IDSequence)
			enc.End()
			accepted += int(k.Queued)
		}
		// The kernel refuses one whose packets somebody has taken out meanwhile: no harm.
		if err := unix.Sendto(fd, enc.Bytes(), 0, &unix.SockaddrNetlink{Family: unix.AF_NETLINK}); err != nil {
			return failed(err)
		}
	}
}

// IsSocket reports whether a descriptor is a netlink socket.
func IsSocket(fd int) bool {
	domain, err := unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_DOMAIN)
	return err == nil && domain == unix.AF_NETLINK
}

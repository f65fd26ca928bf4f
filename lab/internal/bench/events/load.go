package events

import (
	"context"
	"errors"
	"fmt"
	"time"

	"golang.org/x/sys/unix"
)

const (
	// maxEventFlows keeps the flows of a turn and of its warm-up below the table's smallest usual size.
	maxEventFlows = 200_000
	// discard is the port that all flows go to.
	discard = 9
)

// newFlows makes flows of one packet each. All go from one socket to addresses of the loopback network, which are all
// local, each to another one: so one system call is all that a flow costs the load.
type newFlows struct {
	source, sink int
	next         uint32
}

// openFlows opens the sockets in the calling thread's namespace.
func openFlows() (f *newFlows, err error) {
	f = &newFlows{source: -1, sink: -1}
	defer func() {
		if err != nil {
			err = errors.Join(fmt.Errorf("open sockets for new flows: %w", err), f.Close())
		}
	}()
	// Somebody holds the port, or each packet would be answered by an ICMP error. Nobody reads: what does not fit is
	// dropped, behind conntrack.
	if f.sink, err = unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0); err != nil {
		return f, err
	}
	if err = unix.SetsockoptInt(f.sink, unix.SOL_SOCKET, unix.SO_RCVBUF, 1); err != nil {
		return f, err
	}
	if err = unix.Bind(f.sink, &unix.SockaddrInet4{Port: discard}); err != nil {
		return f, err
	}
	f.source, err = unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	return f, err
}

// Close closes the sockets.
func (f *newFlows) Close() error {
	var errs []error
	for _, fd := range []int{f.source, f.sink} {
		if fd >= 0 {
			errs = append(errs, unix.Close(fd))
		}
	}
	return errors.Join(errs...)
}

// send makes so many new flows, so many a second at even distances: flow n is due n/rate after the first.
func (f *newFlows) send(ctx context.Context, flows int, rate float64) error {
	begun := time.Now()
	for sent := 0; sent < flows; {
		due := min(flows, 1+int(time.Since(begun).Seconds()*rate))
		for ; sent < due; sent++ {
			f.next++
			to := unix.SockaddrInet4{Port: discard,
				Addr: [4]byte{127, byte(1 + f.next>>16), byte(f.next >> 8), byte(f.next)}}
			for {
				err := unix.Sendto(f.source, []byte{0}, 0, &to)
				if errors.Is(err, unix.EINTR) {
					continue
				}
				if err != nil {
					return fmt.Errorf("send flow %d of %d: %w", sent+1, flows, err)
				}
				break
			}
		}
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		// Others may want this CPU, the listener among them where there is only one.
		_, _, _ = unix.Syscall(unix.SYS_SCHED_YIELD, 0, 0, 0) // cannot fail
	}
	return nil
}

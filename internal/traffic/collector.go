package traffic

import (
	"errors"
	"fmt"

	"golang.org/x/sys/unix"
)

// collector receives echoes on the sockets of the flows in flight. The leading thread opens and closes them; a
// descriptor may be closed, and its number given to the next flow, between epoll's report and the read. That is
// harmless: reads never block, and a payload says itself which flow it is of.
type collector struct {
	*intake
	epoll    int
	events   []unix.EpollEvent
	arrivals *event
	done     chan error
}

func startCollector(in *intake, arrivals *event) (*collector, error) {
	epoll, err := unix.EpollCreate1(unix.EPOLL_CLOEXEC)
	if err != nil {
		return nil, fmt.Errorf("collect echoes: create epoll: %w", err)
	}
	c := &collector{
		intake: in, epoll: epoll, events: make([]unix.EpollEvent, receiveBatch),
		arrivals: arrivals, done: make(chan error, 1),
	}
	onThread(func() { c.done <- c.run() })
	return c, nil
}

// watch is called by the leading thread. Closing a socket takes it out again.
func (c *collector) watch(fd int) error {
	ev := unix.EpollEvent{Events: unix.EPOLLIN, Fd: int32(fd)}
	if err := unix.EpollCtl(c.epoll, unix.EPOLL_CTL_ADD, fd, &ev); err != nil {
		return fmt.Errorf("collect echoes: watch socket: %w", err)
	}
	return nil
}

func (c *collector) run() error {
	for {
		wait := pollInterval
		stopping, over := c.stopping()
		if over {
			return nil
		}
		if stopping {
			wait = 0
		}
		n, err := unix.EpollWait(c.epoll, c.events, int(wait.Milliseconds()))
		if errors.Is(err, unix.EINTR) {
			continue
		}
		if err != nil {
			return fmt.Errorf("collect echoes: wait: %w", err)
		}
		for _, ev := range c.events[:n] {
			c.drain(int(ev.Fd))
		}
		if n == 0 && stopping {
			return nil
		}
		if n > 0 {
			c.arrivals.bump()
		}
	}
}

// drain reads what one socket has. An error ends it: nothing left, an ICMP error that the socket reports (the
// packets it is about are missing in the ledger), or a descriptor closed meanwhile.
func (c *collector) drain(fd int) {
	for {
		n, err := c.batch.recv(fd, unix.MSG_DONTWAIT)
		if err != nil {
			return
		}
		c.take(n)
		if n < receiveBatch {
			return
		}
	}
}

// stop ends the thread once it has taken what the sockets hold.
func (c *collector) stop() error {
	c.stopped.Store(true)
	err := <-c.done
	_ = unix.Close(c.epoll)
	return err
}

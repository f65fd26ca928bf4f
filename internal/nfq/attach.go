package nfq

import (
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"
)

// Attached is what the kernel tells of each packet besides its bytes, at a cost.
type Attached struct {
	// Conntrack is Config.Conntrack, UIDGID is Config.UIDGID.
	Conntrack, UIDGID bool
}

const attachedMask = cfgConntrack | cfgUIDGID

func (a Attached) flags() uint32 { return (&Config{Conntrack: a.Conntrack, UIDGID: a.UIDGID}).flags() }

// message says it to the kernel of a queue.
func (a Attached) message(queue uint16) (netlink.Message, error) {
	enc := netlink.NewAttributeEncoder()
	enc.ByteOrder = binary.BigEndian
	enc.Uint32(nfqaCfgFlags, a.flags())
	enc.Uint32(nfqaCfgMask, attachedMask)
	return controlMessage(queue, enc)
}

// Try finds out whether the kernel attaches it, in the network namespace of the calling
// thread. It changes nothing and needs no queue: nfqnl_recv_config looks at the flags
// before it looks for one.
//
// Errors: one that names the option and what the kernel lacks.
func (a Attached) Try() (err error) {
	if a == (Attached{}) {
		return nil
	}
	failed := func(err error) error { return fmt.Errorf("try what the kernel tells of packets: %w", err) }
	m, err := a.message(0)
	if err != nil {
		return failed(err)
	}
	m.Header.Flags = netlink.Request | netlink.Acknowledge
	c, err := netlink.Dial(unix.NETLINK_NETFILTER, nil)
	if err != nil {
		return failed(err)
	}
	defer func() { err = errors.Join(err, c.Close()) }()
	for range 2 { // EAGAIN says that a module has come meanwhile
		_, err = c.Execute(m)
		if !errors.Is(err, unix.EAGAIN) {
			break
		}
	}
	switch {
	case err == nil, errors.Is(err, unix.ENODEV):
		return nil // there is no such queue
	case errors.Is(err, unix.EPERM):
		// Another program's, or the capability is missing: binding will tell.
		return nil
	case errors.Is(err, unix.EOPNOTSUPP):
		return fmt.Errorf("%w: %s", unix.EOPNOTSUPP, refusedOptions(&Config{Conntrack: a.Conntrack, UIDGID: a.UIDGID}))
	}
	return failed(err)
}

// Attach has the kernel tell that, and no more, of packets that it queues from now on. It
// may be called from any goroutine, for what Try has found. The kernel has done it when
// Attach returns.
func (q *Mmsg) Attach(a Attached) error {
	var messages []netlink.Message
	for _, number := range q.verdicts.numbers {
		m, err := a.message(number)
		if err != nil {
			return fmt.Errorf("queue %d: %w", number, err)
		}
		messages = append(messages, m)
	}
	if _, err := q.socket.Control(messages...); err != nil {
		return fmt.Errorf("queue %d: change what the kernel tells of packets: %w", q.cfg.Queue, err)
	}
	return nil
}

// Attach implements Queue: the library has no way to say it later.
func (q *Gonf) Attach(a Attached) error {
	if a != (Attached{Conntrack: q.cfg.Conntrack, UIDGID: q.cfg.UIDGID}) {
		return fmt.Errorf("queue %d: what the kernel tells of packets changes with a restart only: %w; use the mmsg backend", q.cfg.Queue, ErrUnsupported)
	}
	return nil
}

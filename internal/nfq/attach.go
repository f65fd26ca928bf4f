package nfq

import (
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"
)

// Attached is what of each packet the kernel brings, at a cost.
type Attached struct {
	// Conntrack is Config.Conntrack, UIDGID is Config.UIDGID.
	Conntrack, UIDGID bool
	// CopyRange is Config.CopyRange.
	CopyRange uint32
}

// With is what suits both.
func (a Attached) With(b Attached) Attached {
	return Attached{
		Conntrack: a.Conntrack || b.Conntrack, UIDGID: a.UIDGID || b.UIDGID,
		CopyRange: max(copyRange(a.CopyRange), copyRange(b.CopyRange)),
	}
}

const attachedMask = cfgConntrack | cfgUIDGID

func (a Attached) flags() uint32 { return (&Config{Conntrack: a.Conntrack, UIDGID: a.UIDGID}).flags() }

// encoder begins a message about what the kernel tells besides bytes.
func (a Attached) encoder() *netlink.AttributeEncoder {
	enc := netlink.NewAttributeEncoder()
	enc.ByteOrder = binary.BigEndian
	enc.Uint32(nfqaCfgFlags, a.flags())
	enc.Uint32(nfqaCfgMask, attachedMask)
	return enc
}

// Try finds out whether the kernel tells it, in the network namespace of the calling
// thread; every kernel copies as much as it is told. It changes nothing and needs no
// queue: nfqnl_recv_config looks at the flags before it looks for one.
//
// Errors: one that names the option and what the kernel lacks.
func (a Attached) Try() (err error) {
	if a.flags() == 0 {
		return nil
	}
	failed := func(err error) error { return fmt.Errorf("try what the kernel tells of packets: %w", err) }
	m, err := controlMessage(0, a.encoder())
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

// Attach has the kernel bring that, and no more, of packets that it queues from now on. It
// may be called from any goroutine, for what Try has found. The kernel has done it when
// Attach returns; a packet that another CPU was about to queue may still come with what
// was brought before (nfqnl_build_packet_message runs without the queue's lock).
//
// Errors: among others, a copy range beyond Config.CopyMost.
func (q *Mmsg) Attach(a Attached) error {
	if n := int(copyRange(a.CopyRange)); n > q.cfg.room() {
		return fmt.Errorf("queue %d: copy %d bytes of each packet: there is room for %d", q.cfg.Queue, n, q.cfg.room())
	}
	var messages []netlink.Message
	for _, number := range q.verdicts.numbers {
		enc := a.encoder()
		encodeCopy(enc, q.cfg.CopyMode, a.CopyRange)
		m, err := controlMessage(number, enc)
		if err != nil {
			return fmt.Errorf("queue %d: %w", number, err)
		}
		messages = append(messages, m)
	}
	if _, err := q.socket.Control(messages...); err != nil {
		return fmt.Errorf("queue %d: change what the kernel brings of packets: %w", q.cfg.Queue, err)
	}
	return nil
}

// Attach implements Queue: the library has no way to say it later.
func (q *Gonf) Attach(a Attached) error {
	is := Attached{Conntrack: q.cfg.Conntrack, UIDGID: q.cfg.UIDGID, CopyRange: q.cfg.CopyRange}
	if a.With(a) != is.With(is) { // 0 is all, and so is the most that there is
		return fmt.Errorf("queue %d: what the kernel brings of packets changes with a restart only: %w; use the mmsg backend", q.cfg.Queue, ErrUnsupported)
	}
	return nil
}

package nfq

import (
	"errors"
	"fmt"
	"strings"

	"github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"
)

// InUseError says that the queue number is taken. The kernel only says EPERM.
type InUseError struct {
	Queue uint16
	// PortID is the netlink port id of the holder's socket, which by default is
	// the process id; 0 where it could not be found out.
	PortID uint32
}

func (e *InUseError) Error() string {
	if e.PortID == 0 {
		return fmt.Sprintf("queue %d: another process in this network namespace holds it; stop that one or choose another number", e.Queue)
	}
	return fmt.Sprintf("queue %d: held by netlink port id %d (mostly the process id of its owner; see /proc/net/netfilter/nfnetlink_queue); stop that process or choose another number", e.Queue, e.PortID)
}

// explainRefusal turns the errno of a refused configuration into an error that
// names the cause.
func explainRefusal(cfg *Config, errno unix.Errno) error {
	switch errno {
	case unix.EPERM:
		// nfqnl_recv_config answers EPERM to who is not the owner; nfnetlink answers
		// it to who lacks the capability. The list of queues tells them apart.
		queues, err := ReadKernelQueues()
		if err != nil {
			return fmt.Errorf("queue %d: bind: %w: another process holds it, or CAP_NET_ADMIN is missing in the user namespace that owns this network namespace (%w)", cfg.Queue, errno, err)
		}
		for _, k := range queues {
			if k.Queue == cfg.Queue {
				return &InUseError{Queue: cfg.Queue, PortID: k.PortID}
			}
		}
		return fmt.Errorf("queue %d: bind: %w: needs CAP_NET_ADMIN in the user namespace that owns this network namespace: start it as root, or from a unit with AmbientCapabilities=CAP_NET_ADMIN", cfg.Queue, errno)
	case unix.EBUSY:
		// instance_create: the number was bound between look-up and insertion.
		return &InUseError{Queue: cfg.Queue}
	case unix.EINVAL:
		return fmt.Errorf("queue %d: bind: %w: the kernel has no nfnetlink_queue (CONFIG_NETFILTER_NETLINK_QUEUE); modprobe nfnetlink_queue", cfg.Queue, errno)
	case unix.EOPNOTSUPP:
		return fmt.Errorf("queue %d: bind: %w: %s", cfg.Queue, errno, refusedOptions(cfg))
	}
	return fmt.Errorf("queue %d: bind: %w", cfg.Queue, errno)
}

// refusedOptions names the options that the kernel does not know: one of them
// is the reason, and which one only trying them singly would tell.
func refusedOptions(cfg *Config) string {
	var words strings.Builder
	words.WriteString("the kernel does not support one of these options:")
	for _, o := range cfg.options() {
		if o.on {
			fmt.Fprintf(&words, " %s needs %s;", o.name, o.since)
		}
	}
	words.WriteString(" switch it off")
	return words.String()
}

// explainOpError is explainRefusal for errors that come through mdlayher/netlink.
func explainOpError(cfg *Config, err error) error {
	var op *netlink.OpError
	var errno unix.Errno
	if errors.As(err, &op) && errors.As(op.Err, &errno) {
		return explainRefusal(cfg, errno)
	}
	return fmt.Errorf("queue %d: bind: %w", cfg.Queue, err)
}

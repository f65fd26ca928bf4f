package ruleset

import (
	"errors"
	"fmt"
	"os"
	"slices"
	"sync"

	"github.com/google/nftables"
	"github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"
)

// messagesOf is what the nftables library would send for what put puts into a
// connection's transaction.
func messagesOf(put func(*nftables.Conn) error) (messages []netlink.Message, err error) {
	conn := &nftables.Conn{TestDial: func(sent []netlink.Message) ([]netlink.Message, error) {
		if len(sent) > 2 {
			messages = sent[1 : len(sent)-1] // without the batch's begin and end
		}
		return nil, unix.EPERM // at which it reads no answers
	}}
	if err := put(conn); err != nil {
		return nil, err
	}
	if err := conn.Flush(); !errors.Is(err, os.ErrPermission) && err != nil {
		return nil, err
	}
	for i := range messages {
		h := &messages[i].Header
		h.Flags &^= netlink.Acknowledge | netlink.Echo
		h.Sequence, h.PID = 0, 0
	}
	return messages, nil
}

// commit has the kernel carry out a transaction: all of it or nothing.
func commit(messages []netlink.Message) (err error) {
	if len(messages) == 0 {
		return nil
	}
	conn, err := netlink.Dial(unix.NETLINK_NETFILTER, nil)
	if err != nil {
		return fmt.Errorf("open a netlink socket: %w", err)
	}
	defer func() { err = errors.Join(err, conn.Close()) }()
	if err := room(conn); err != nil {
		return fmt.Errorf("enlarge a socket's buffers: %w", err)
	}
	own.add(conn.PID())
	edge := func(kind netlink.HeaderType) netlink.Message {
		return netlink.Message{
			Header: netlink.Header{Type: kind, Flags: netlink.Request},
			Data:   []byte{0, unix.NFNETLINK_V0, 0, unix.NFNL_SUBSYS_NFTABLES},
		}
	}
	batch := append([]netlink.Message{edge(unix.NFNL_MSG_BATCH_BEGIN)}, messages...)
	// What fails is told anyhow, so that one acknowledgement is enough.
	batch[len(batch)-1].Header.Flags |= netlink.Acknowledge
	if _, err := conn.SendMessages(append(batch, edge(unix.NFNL_MSG_BATCH_END))); err != nil {
		return fmt.Errorf("send a transaction of %d messages: %w", len(messages), err)
	}
	if _, err := conn.Receive(); err != nil {
		if errors.Is(err, unix.ENOENT) {
			err = fmt.Errorf("%w: somebody has removed what it changes, or the kernel has not all statements that it needs: "+
				"modprobe nft_queue nft_ct nft_reject_inet", err)
		}
		return fmt.Errorf("the kernel refuses a transaction of %d messages: %w", len(messages), err)
	}
	return nil
}

// portIDs are the netlink port ids of the last transactions.
type portIDs struct {
	mutex sync.Mutex
	last  [256]uint32
	next  int
}

// own are this process's.
var own portIDs

func (p *portIDs) add(port uint32) {
	p.mutex.Lock()
	defer p.mutex.Unlock()
	p.last[p.next%len(p.last)] = port
	p.next++
}

// Own reports whether a change of rules that the kernel tells of, by its netlink port
// id, is this process's, made by Apply, Sweep or Remove.
func Own(port uint32) bool {
	own.mutex.Lock()
	defer own.mutex.Unlock()
	return port != 0 && slices.Contains(own.last[:], port)
}

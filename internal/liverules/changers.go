package liverules

import (
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"sync"

	"github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"

	"verdictd/internal/nfnl"
)

// A Changer is a program that has changed rules of nftables, as the kernel names it.
type Changer struct {
	// PID is that of the thread, in the outermost pid namespace, and Name its name (at
	// most 15 bytes). Both are empty where the kernel does not tell (before 4.10).
	PID  uint32
	Name string
	// BaseChains it has deleted: with each the kernel has dropped all packets that waited
	// in any queue of the namespace (nf_queue_nf_hook_drop).
	BaseChains int
}

func (c Changer) String() string {
	if c.Name == "" {
		return "an unknown program"
	}
	return fmt.Sprintf("%s[%d]", c.Name, c.PID)
}

// changers notes who has changed rules since it was asked last, in the order in which
// they did so first.
type changers struct {
	asked *netlink.Conn
	bases map[chainID]bool // base chains that are there
	gone  int              // base chains that the transaction so far has deleted

	mutex sync.Mutex // of what follows
	list  []Changer
	own   func(port uint32) bool
}

// chainID is what stays the same of a chain.
type chainID struct {
	family uint8
	table  string
	handle uint64
}

// mostChangers are remembered; more are not needed to say who it was.
const mostChangers = 8

// Own tells which netlink port ids are the process's own: what changes through them is
// told as a change, but not by Changers.
func (w *Watcher) Own(own func(port uint32) bool) {
	w.changers.mutex.Lock()
	defer w.changers.mutex.Unlock()
	w.changers.own = own
}

// Changers returns who else has changed rules of nftables since the last call.
func (w *Watcher) Changers() []Changer {
	w.changers.mutex.Lock()
	defer w.changers.mutex.Unlock()
	list := w.changers.list
	w.changers.list = nil
	return list
}

// begin learns the base chains of the calling thread's network namespace.
func (c *changers) begin() (err error) {
	c.asked, err = netlink.Dial(unix.NETLINK_NETFILTER, &netlink.Config{MessageBufferSize: messageBuffer})
	if err != nil {
		return fmt.Errorf("open a netlink socket: %w", err)
	}
	if err := c.learn(); err != nil {
		return errors.Join(err, c.asked.Close())
	}
	return nil
}

// learn learns the base chains that are there, as at the beginning: what was told so far may
// be of a transaction whose end was not.
func (c *changers) learn() error {
	c.bases, c.gone = map[chainID]bool{}, 0
	for range changes {
		answers, err := c.asked.Execute(netlink.Message{
			Header: netlink.Header{Type: netlink.HeaderType(unix.NFNL_SUBSYS_NFTABLES<<8 | unix.NFT_MSG_GETCHAIN), Flags: netlink.Request | netlink.Dump},
			Data:   []byte{unix.NFPROTO_UNSPEC, unix.NFNETLINK_V0, 0, 0},
		})
		if err != nil {
			return fmt.Errorf("list the chains: %w", err)
		}
		for _, a := range answers {
			c.chain(chainMessage, a.Data)
		}
		// Where chains went meanwhile the kernel may have passed over one that stays.
		if !slices.ContainsFunc(answers, func(a netlink.Message) bool { return a.Header.Flags&netlink.DumpInterrupted != 0 }) {
			break
		}
	}
	return nil
}

// chain notes a chain that came or went. The kernel tells of one that goes its name and
// handle alone (since 6.4).
func (c *changers) chain(kind uint16, body []byte) {
	m := nfnl.Message{Body: body}
	id := chainID{}
	base := false
	for a := m.Attributes(); ; {
		attribute, data, ok := a.Next()
		if !ok {
			break
		}
		switch attribute {
		case unix.NFTA_CHAIN_TABLE:
			id.table = unix.ByteSliceToString(data)
		case unix.NFTA_CHAIN_HANDLE:
			if len(data) == 8 {
				id.handle = binary.BigEndian.Uint64(data)
			}
		case unix.NFTA_CHAIN_HOOK:
			base = true
		}
	}
	if len(body) > 0 {
		id.family = body[0]
	}
	switch {
	case kind == chainMessage && base:
		c.bases[id] = true
	case kind == chainGone && c.bases[id]:
		delete(c.bases, id)
		c.gone++
	}
}

// committed notes who made the transaction of which all has been told.
func (c *changers) committed(m nfnl.Message) {
	c.mutex.Lock()
	defer c.mutex.Unlock()
	gone := c.gone
	c.gone = 0
	if c.own != nil && c.own(m.PortID) {
		return
	}
	var by Changer
	for a := m.Attributes(); ; {
		attribute, data, ok := a.Next()
		if !ok {
			break
		}
		switch {
		case attribute == unix.NFTA_GEN_PROC_PID && len(data) == 4:
			by.PID = binary.BigEndian.Uint32(data)
		case attribute == unix.NFTA_GEN_PROC_NAME:
			by.Name = unix.ByteSliceToString(data)
		}
	}
	at := slices.IndexFunc(c.list, func(o Changer) bool { return o.PID == by.PID && o.Name == by.Name })
	switch {
	case at >= 0:
		c.list[at].BaseChains += gone
	case len(c.list) < mostChangers:
		by.BaseChains = gone
		c.list = append(c.list, by)
	default:
		c.list[len(c.list)-1].BaseChains += gone
	}
}

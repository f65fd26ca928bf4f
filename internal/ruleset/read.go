package ruleset

import (
	"encoding/binary"
	"errors"
	"fmt"
	"slices"

	"github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"
)

const (
	nfgenmsgLength = 4
	// largestDatagram is more than the kernel puts into one datagram of a dump (32 KiB).
	largestDatagram = 64 << 10
	// attempts is how often something is tried that another program's change spoils.
	attempts = 5
)

// errChanged: another program changed the rules meanwhile.
var errChanged = errors.New("the rules keep changing")

// messageOf is a message's kind, of its subsystem.
func messageOf(m netlink.Message) uint8 { return uint8(m.Header.Type) }

// request makes a message of nftables.
func request(kind uint16, flags netlink.HeaderFlags, list ...netlink.Attribute) netlink.Message {
	data, err := netlink.MarshalAttributes(list)
	if err != nil {
		panic(err) // attributes of more than 64 KiB
	}
	return netlink.Message{
		Header: netlink.Header{Type: netlink.HeaderType(unix.NFNL_SUBSYS_NFTABLES<<8 | kind), Flags: netlink.Request | flags},
		Data:   append([]byte{byte(family), unix.NFNETLINK_V0, 0, 0}, data...),
	}
}

// tableMessage is one about a table or what is in it: the table's name is the first
// attribute of all of them.
func tableMessage(table string, kind uint16, list ...netlink.Attribute) netlink.Message {
	return request(kind, 0, append([]netlink.Attribute{text(unix.NFTA_TABLE_NAME, table)}, list...)...)
}

// text is an attribute that is a string.
func text(kind uint16, value string) netlink.Attribute {
	return netlink.Attribute{Type: kind, Data: append([]byte(value), 0)}
}

// A reader reads one state of a table.
type reader struct {
	conn  *netlink.Conn
	table string
	// generation is the state's number, of which each message has the lower 16 bits
	// (nfgenmsg.res_id, since 3.18: 84d7fce69388).
	generation *uint16
	// whatever: parts of several states will do.
	whatever bool
}

// readTable reads what is in a table of the calling thread's network namespace. Where
// another program changes rules all the time, parts may be of different states: such a
// reading seems to differ from what is there, which is looked at again.
func readTable(name string) (_ *contents, err error) {
	conn, err := netlink.Dial(unix.NETLINK_NETFILTER, &netlink.Config{MessageBufferSize: largestDatagram})
	if err != nil {
		return nil, fmt.Errorf("open a netlink socket: %w", err)
	}
	defer func() { err = errors.Join(err, conn.Close()) }()
	for attempt := 1; ; attempt++ {
		r := &reader{conn: conn, table: name, whatever: attempt == attempts}
		c, err := r.contents()
		if !errors.Is(err, errChanged) || r.whatever {
			return c, err
		}
	}
}

func (r *reader) contents() (*contents, error) {
	c := newContents()
	messages, err := r.ask(unix.NFT_MSG_GETTABLE, 0, text(unix.NFTA_TABLE_NAME, r.table))
	if errors.Is(err, unix.ENOENT) {
		return c, nil
	}
	if err == nil {
		err = c.add(messages)
	}
	dump := func(kind uint16, list ...netlink.Attribute) {
		if err != nil {
			return
		}
		if messages, err = r.ask(kind, netlink.Dump, list...); err == nil {
			err = c.add(messages)
		} else if gone := errors.Is(err, unix.ENOENT) || errors.Is(err, unix.EINTR); gone && r.whatever {
			err = nil
		} else if gone {
			err = fmt.Errorf("%w: %w", errChanged, err)
		}
	}
	dump(unix.NFT_MSG_GETCHAIN)
	dump(unix.NFT_MSG_GETSET, text(unix.NFTA_SET_TABLE, r.table))
	for _, s := range c.sets {
		if !s.changing {
			dump(unix.NFT_MSG_GETSETELEM, text(unix.NFTA_SET_ELEM_LIST_TABLE, r.table), text(unix.NFTA_SET_ELEM_LIST_SET, s.name))
		}
	}
	dump(unix.NFT_MSG_GETRULE, text(unix.NFTA_RULE_TABLE, r.table))
	if err != nil {
		return nil, fmt.Errorf("read table inet %s: %w", r.table, err)
	}
	return c, nil
}

// ask returns what the kernel has of the table.
func (r *reader) ask(kind uint16, flags netlink.HeaderFlags, list ...netlink.Attribute) ([]netlink.Message, error) {
	answers, err := r.conn.Execute(request(kind, flags, list...))
	if err != nil {
		return nil, err
	}
	for _, a := range answers {
		if len(a.Data) < nfgenmsgLength {
			return nil, fmt.Errorf("a message of %d bytes of nftables", len(a.Data))
		}
		generation := binary.BigEndian.Uint16(a.Data[2:])
		if r.whatever {
			continue
		}
		if a.Header.Flags&netlink.DumpInterrupted != 0 || r.generation != nil && *r.generation != generation {
			return nil, errChanged
		}
		r.generation = &generation
	}
	// The table's name is the first attribute of all of them. A kernel may not know the
	// filter, and of chains there is none.
	return slices.DeleteFunc(answers, func(a netlink.Message) bool {
		return messageOf(a) != unix.NFT_MSG_NEWTABLE && attributesOf(a.Data[nfgenmsgLength:]).text(unix.NFTA_RULE_TABLE) != r.table
	}), nil
}

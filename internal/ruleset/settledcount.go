package ruleset

import (
	"errors"
	"fmt"

	"github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"
)

// Count is how many elements both families' sets have, of the network namespace of the
// calling thread. A full one takes some 10 ms: the kernel tells no number, but the
// elements.
func (s *Settled) Count() (elements uint64, err error) {
	conn, err := netlink.Dial(unix.NETLINK_NETFILTER, &netlink.Config{MessageBufferSize: largestDatagram})
	if err != nil {
		return 0, fmt.Errorf("open a netlink socket: %w", err)
	}
	defer func() { err = errors.Join(err, conn.Close()) }()
	for _, f := range families {
		answers, err := conn.Execute(request(unix.NFT_MSG_GETSETELEM, netlink.Dump,
			text(unix.NFTA_SET_ELEM_LIST_TABLE, s.table), text(unix.NFTA_SET_ELEM_LIST_SET, f.settledName())))
		if err != nil {
			return 0, fmt.Errorf("count the settled flows of table inet %s: %w", s.table, err)
		}
		for i := range answers {
			n, err := countElements(answers[i].Data)
			if err != nil {
				return 0, fmt.Errorf("count the settled flows of table inet %s: %w", s.table, err)
			}
			elements += n
		}
	}
	return elements, nil
}

// countElements counts those in a message (NFTA_SET_ELEM_LIST_ELEMENTS).
func countElements(message []byte) (n uint64, err error) {
	if len(message) < nfgenmsgLength {
		return 0, errors.New("a message is too short")
	}
	list, err := netlink.NewAttributeDecoder(message[nfgenmsgLength:])
	if err != nil {
		return 0, err
	}
	for list.Next() {
		if list.Type() == unix.NFTA_SET_ELEM_LIST_ELEMENTS {
			list.Nested(func(elements *netlink.AttributeDecoder) error {
				n += uint64(elements.Len())
				return nil
			})
		}
	}
	return n, list.Err()
}

package attacks

import (
	"encoding/binary"

	nfqueue "github.com/florianl/go-nfqueue/v2"
	"github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"
)

// foreignVerdicts are what the foreign program may say of a packet besides accept and drop, as Suricata does in its
// modes repeat and route, with batchcount, and where it replaces something.
type foreignVerdicts struct {
	// HandOn is a queue that packets are handed on to (NF_QUEUE).
	HandOn uint16
	// Repeat is how often each packet is sent through its chain once more (NF_REPEAT) before it is accepted. Its mark
	// counts that in steps of Mark.
	Repeat int
	Mark   uint32
	// Batch: one verdict for so many packets, or for those that there are when no more come.
	Batch int
	// Replace hands each packet back with another content of the same length.
	Replace bool
}

// verdict gives one.
func (j *judge) verdict(q queued) error {
	c := &j.cfg
	switch {
	case q.drop:
		return j.nf.SetVerdict(q.id, nfqueue.NfDrop)
	case c.Repeat > 0 && int(q.mark/c.Mark%16) < c.Repeat:
		return j.nf.SetVerdictWithOption(q.id, nfqueue.NfRepeat, nfqueue.WithMark(q.mark+c.Mark))
	case c.HandOn > 0:
		return j.handOn(q.id, c.HandOn)
	case c.Batch > 0:
		if j.together++; j.together < c.Batch && len(j.todo) > 0 {
			return nil
		}
		j.together = 0
		return j.nf.SetVerdictBatch(q.id, nfqueue.NfAccept)
	case c.Replace:
		return j.nf.SetVerdictWithOption(q.id, nfqueue.NfAccept, nfqueue.WithAlteredPacket(replaced(q.payload)))
	}
	return j.nf.SetVerdict(q.id, nfqueue.NfAccept)
}

// handOn hands a packet to another queue, which the library does not know.
func (j *judge) handOn(id uint32, queue uint16) error {
	const (
		verdictType   = unix.NFNL_SUBSYS_QUEUE<<8 | 1 // NFQNL_MSG_VERDICT
		verdictHeader = 2                             // NFQA_VERDICT_HDR
		queueVerdict  = 3                             // NF_QUEUE
	)
	header := make([]byte, 8) // struct nfqnl_msg_verdict_hdr
	binary.BigEndian.PutUint32(header, uint32(queue)<<16|queueVerdict)
	binary.BigEndian.PutUint32(header[4:], id)
	attributes, err := netlink.MarshalAttributes([]netlink.Attribute{{Type: verdictHeader, Data: header}})
	if err != nil {
		return err
	}
	generic := []byte{unix.AF_UNSPEC, unix.NFNETLINK_V0, byte(j.cfg.Queue >> 8), byte(j.cfg.Queue)}
	_, err = j.nf.Con.Send(netlink.Message{
		Header: netlink.Header{Type: verdictType, Flags: netlink.Request}, Data: append(generic, attributes...),
	})
	return err
}

// replaced is an IPv4 packet of [burst] with another byte where it has none that counts, and no checksum of UDP.
func replaced(payload []byte) []byte {
	const spare = 12
	b := append([]byte(nil), payload...)
	udp := int(b[0]&15) * 4
	b[udp+6], b[udp+7] = 0, 0
	b[udp+8+spare]++
	return b
}

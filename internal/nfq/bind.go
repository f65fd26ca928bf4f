package nfq

import (
	"cmp"
	"encoding/binary"
	"fmt"
	"slices"

	"github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"

	"verdictd/internal/nfnl"
	"verdictd/internal/vocabulary"
)

// bind sends the whole configuration of a queue as one message. The kernel carries
// it out before it queues anything, so that no packet meets a half-configured
// queue (between bind and copy mode it would be dropped). The messages of all
// queues go together, as a receive for each one's answer could bring packets.
func (q *Mmsg) bind() error {
	var messages []netlink.Message
	for _, number := range q.verdicts.numbers {
		m, err := configMessage(&q.cfg, number, false)
		if err != nil {
			return fmt.Errorf("queue %d: lay out configuration: %w", number, err)
		}
		messages = append(messages, m)
	}
	seqs, err := q.socket.Control(messages...)
	if err != nil {
		return fmt.Errorf("queue %d: %w", q.cfg.Queue, err)
	}
	// The kernel answered within Control's system call, so a refusal, or else the
	// acknowledgement of the last message, is there, behind at most those packets
	// that came within these microseconds. Those stay in the receiver, for Run to
	// begin with.
	n, err := q.journal.recv.Receive(q.socket, true)
	if err != nil {
		return fmt.Errorf("queue %d: await acknowledgement: %w", q.cfg.Queue, err)
	}
	for i := range n {
		b, _ := q.journal.recv.Datagram(i)
		m, _, ok := nfnl.Next(b)
		at := slices.Index(seqs, m.Seq)
		if !ok || at < 0 {
			continue
		}
		errno, ok := m.Ack()
		if !ok {
			continue
		}
		if errno != 0 {
			refused := q.cfg
			refused.Queue = q.verdicts.numbers[at]
			return explainRefusal(&refused, errno)
		}
		q.filled = n
		return nil
	}
	return fmt.Errorf("queue %d: %d packets arrived before the kernel acknowledged the configuration; raise Batch", q.cfg.Queue, n)
}

// configMessage binds a queue, or says of one that is bound all that can change.
func configMessage(cfg *Config, queue uint16, bound bool) (netlink.Message, error) {
	enc := netlink.NewAttributeEncoder()
	enc.ByteOrder = binary.BigEndian
	if !bound {
		enc.Bytes(nfqaCfgCmd, []byte{cfgCmdBind, 0, 0, 0})
	}
	encodeCopy(enc, cfg.CopyMode, cfg.CopyRange)
	if cfg.MaxLength != 0 || bound {
		enc.Uint32(nfqaCfgQueueMaxLen, cmp.Or(cfg.MaxLength, vocabulary.DefaultQueueLength))
	}
	mask := cfg.flags()
	if bound {
		mask = cfgFailOpen | cfgConntrack | cfgGSO | cfgUIDGID // those that are set no more
	}
	if mask != 0 {
		// Not sent where none is set: kernels before 3.6 know neither.
		enc.Uint32(nfqaCfgFlags, cfg.flags())
		enc.Uint32(nfqaCfgMask, mask)
	}
	return controlMessage(queue, enc)
}

// encodeCopy says how much of packets is copied.
func encodeCopy(enc *netlink.AttributeEncoder, mode CopyMode, bytes uint32) {
	raw := byte(copyPacket)
	if mode == CopyMeta {
		raw = copyMeta
	}
	enc.Bytes(nfqaCfgParams, append(binary.BigEndian.AppendUint32(nil, copyRange(bytes)), raw))
}

func controlMessage(queue uint16, enc *netlink.AttributeEncoder) (netlink.Message, error) {
	attrs, err := enc.Encode()
	if err != nil {
		return netlink.Message{}, err
	}
	body := append([]byte{unix.AF_UNSPEC, unix.NFNETLINK_V0, byte(queue >> 8), byte(queue)}, attrs...)
	return netlink.Message{Header: netlink.Header{Type: netlink.HeaderType(typeConfig)}, Data: body}, nil
}

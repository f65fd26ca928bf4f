package nfq

import (
	"cmp"
	"encoding/binary"
	"fmt"

	"github.com/mdlayher/netlink"

	"verdictd/internal/vocabulary"
)

// Tuned is what of a queue can change while it is open, with nothing lost of what waits
// in it (nfqnl_recv_config): a packet is queued by what was in force when it came.
type Tuned struct {
	// MaxLength is Config.MaxLength. Where more wait than a new one allows, new packets
	// find the queue full until that is no more so.
	MaxLength uint32
	// FailOpen and GSO are those of Config.
	FailOpen, GSO bool
}

const tunedMask = cfgFailOpen | cfgGSO

func (t Tuned) message(queue uint16) (netlink.Message, error) {
	c := Config{FailOpen: t.FailOpen, GSO: t.GSO}
	enc := netlink.NewAttributeEncoder()
	enc.ByteOrder = binary.BigEndian
	enc.Uint32(nfqaCfgQueueMaxLen, cmp.Or(t.MaxLength, vocabulary.DefaultQueueLength))
	enc.Uint32(nfqaCfgFlags, c.flags())
	enc.Uint32(nfqaCfgMask, tunedMask)
	return controlMessage(queue, enc)
}

// Tune has the kernel queue by other settings from now on. It may be called from any
// goroutine; the kernel has done it when Tune returns. One before Linux 3.10 ignores what
// it does not know, as at the binding.
func (q *Mmsg) Tune(t Tuned) error {
	var messages []netlink.Message
	for _, number := range q.verdicts.numbers {
		m, err := t.message(number)
		if err != nil {
			return fmt.Errorf("queue %d: %w", number, err)
		}
		messages = append(messages, m)
	}
	if _, err := q.socket.Control(messages...); err != nil {
		return fmt.Errorf("queue %d: change its settings: %w", q.cfg.Queue, err)
	}
	return nil
}

// Tune implements Queue: the library has no way to say it later.
func (q *Gonf) Tune(t Tuned) error {
	if t != (Tuned{q.cfg.MaxLength, q.cfg.FailOpen, q.cfg.GSO}) {
		return fmt.Errorf("queue %d: its settings change with a restart only: %w; use the mmsg backend", q.cfg.Queue, ErrUnsupported)
	}
	return nil
}

package flow

import (
	"encoding/binary"
	"sync"
)

// MailboxBytes is the memory in which one queue keeps packets that others have
// handed to it.
const MailboxBytes = 1 << 20

// Mailbox keeps packets for the queue that judges their flows. Its memory is
// allocated when the first packet comes, and kept.
type Mailbox struct {
	mu  sync.Mutex
	buf []byte
}

// Copy is what is needed to send a packet anew: its flow, its bytes, its mark,
// and the interface that it was leaving through (0: none).
type Copy struct {
	ID        ID
	Packet    []byte
	Mark, Dev uint32
}

const mailHeader = 20 // length, mark, interface, flow

func (m *Mailbox) put(c Copy) bool {
	if m.buf == nil {
		m.buf = make([]byte, 0, MailboxBytes)
	}
	if len(m.buf)+mailHeader+len(c.Packet) > cap(m.buf) {
		return false
	}
	m.buf = binary.NativeEndian.AppendUint32(m.buf, uint32(len(c.Packet)))
	m.buf = binary.NativeEndian.AppendUint32(m.buf, c.Mark)
	m.buf = binary.NativeEndian.AppendUint32(m.buf, c.Dev)
	m.buf = binary.NativeEndian.AppendUint64(m.buf, uint64(c.ID))
	m.buf = append(m.buf, c.Packet...)
	return true
}

// drain calls f for each copy, whose bytes are valid until f returns.
func (m *Mailbox) drain(f func(Copy)) {
	for b := m.buf; len(b) > 0; {
		n := mailHeader + int(binary.NativeEndian.Uint32(b))
		f(Copy{
			ID:     ID(binary.NativeEndian.Uint64(b[12:])),
			Packet: b[mailHeader:n],
			Mark:   binary.NativeEndian.Uint32(b[4:]),
			Dev:    binary.NativeEndian.Uint32(b[8:]),
		})
		b = b[n:]
	}
	m.buf = m.buf[:0]
}

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

const mailHeader = 16 // length, mark, flow

func (m *Mailbox) put(id ID, packet []byte, mark uint32) bool {
	if m.buf == nil {
		m.buf = make([]byte, 0, MailboxBytes)
	}
	if len(m.buf)+mailHeader+len(packet) > cap(m.buf) {
		return false
	}
	m.buf = binary.NativeEndian.AppendUint32(m.buf, uint32(len(packet)))
	m.buf = binary.NativeEndian.AppendUint32(m.buf, mark)
	m.buf = binary.NativeEndian.AppendUint64(m.buf, uint64(id))
	m.buf = append(m.buf, packet...)
	return true
}

func (m *Mailbox) drain(f func(id ID, packet []byte, mark uint32)) {
	for b := m.buf; len(b) > 0; {
		n := mailHeader + int(binary.NativeEndian.Uint32(b))
		f(ID(binary.NativeEndian.Uint64(b[8:])), b[mailHeader:n], binary.NativeEndian.Uint32(b[4:]))
		b = b[n:]
	}
	m.buf = m.buf[:0]
}

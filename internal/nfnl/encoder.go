package nfnl

import (
	"encoding/binary"

	"golang.org/x/sys/unix"
)

// Encoder lays out nfnetlink requests one behind the other, to be sent by one
// Socket.Send. It grows its buffer when it must and keeps it: once warm it
// allocates nothing. The zero value is ready.
type Encoder struct {
	buf   []byte
	start int
}

var emptyHeader [HeaderLen]byte

// Reset forgets all messages.
func (e *Encoder) Reset() { e.buf = e.buf[:0] }

// Len is the length in bytes of what was laid out.
func (e *Encoder) Len() int { return len(e.buf) }

// Bytes is what was laid out; valid until the next call that changes it.
func (e *Encoder) Bytes() []byte { return e.buf }

// Begin starts a request of the given type (see Type), for an address family
// where that matters, and a resource such as a queue number. It asks for no
// acknowledgement: the kernel answers refusals, and what was asked for.
func (e *Encoder) Begin(typ uint16, family uint8, resource uint16) {
	e.start = len(e.buf)
	b := append(e.buf, emptyHeader[:]...)
	h := b[e.start:]
	binary.NativeEndian.PutUint16(h[4:], typ)
	binary.NativeEndian.PutUint16(h[6:], unix.NLM_F_REQUEST)
	h[16] = family
	binary.BigEndian.PutUint16(h[18:], resource)
	e.buf = b
}

// Append adds whole requests that another Encoder has laid out.
func (e *Encoder) Append(requests []byte) { e.buf = append(e.buf, requests...) }

// Seq gives the message that Begin started a sequence number, by which its
// answers are known. Without it that is 0.
func (e *Encoder) Seq(n uint32) { binary.NativeEndian.PutUint32(e.buf[e.start+8:], n) }

// BeginDump starts a request for all objects of a kind.
func (e *Encoder) BeginDump(typ uint16, family uint8) {
	e.Begin(typ, family, 0)
	binary.NativeEndian.PutUint16(e.buf[e.start+6:], unix.NLM_F_REQUEST|unix.NLM_F_DUMP)
}

// Uint32Pair adds an attribute of two 32-bit numbers in network order.
func (e *Encoder) Uint32Pair(typ uint16, hi, lo uint32) {
	e.header(typ, 8)
	e.buf = binary.BigEndian.AppendUint32(e.buf, hi)
	e.buf = binary.BigEndian.AppendUint32(e.buf, lo)
}

// Uint32 adds an attribute of one 32-bit number in network order.
func (e *Encoder) Uint32(typ uint16, v uint32) {
	e.header(typ, 4)
	e.buf = binary.BigEndian.AppendUint32(e.buf, v)
}

// Raw adds an attribute that holds data.
func (e *Encoder) Raw(typ uint16, data []byte) {
	e.header(typ, len(data))
	e.buf = append(e.buf, data...)
	for len(e.buf)%4 != 0 {
		e.buf = append(e.buf, 0)
	}
}

// BeginNested starts an attribute that holds attributes; the returned mark
// goes to EndNested.
func (e *Encoder) BeginNested(typ uint16) (mark int) {
	mark = len(e.buf)
	e.header(typ|unix.NLA_F_NESTED, 0)
	return mark
}

// EndNested ends the attribute that BeginNested started.
func (e *Encoder) EndNested(mark int) {
	binary.NativeEndian.PutUint16(e.buf[mark:], uint16(len(e.buf)-mark))
}

// End completes the message that Begin started.
func (e *Encoder) End() {
	binary.NativeEndian.PutUint32(e.buf[e.start:], uint32(len(e.buf)-e.start))
}

func (e *Encoder) header(typ uint16, length int) {
	e.buf = binary.NativeEndian.AppendUint16(e.buf, uint16(unix.SizeofNlAttr+length))
	e.buf = binary.NativeEndian.AppendUint16(e.buf, typ)
}

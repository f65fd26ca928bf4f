package quic

import (
	"bytes"
	"encoding/binary"
	"math"
)

const (
	// maxDatagram is what a UDP datagram holds, and several that came as one (UDP GRO).
	maxDatagram = 1 << 16
	// maxPackets is how many packets of one datagram are looked at.
	maxPackets = 64
	second     = int64(1e9)

	sampleLen    = 16
	maxNumberLen = 4
)

// Conn is what is kept of a client's connection. The zero Conn has seen nothing.
type Conn struct {
	version uint32
	idLen   uint8
	id      [maxID]byte // that the keys are made of
	keys    keys
	largest int64 // packet number
}

// ID tells connections of the same ports apart: a version and the identifier that keys
// are made of. It can be compared.
type ID struct {
	version uint32
	length  uint8
	bytes   [maxID]byte
}

// ID is the connection's, and the zero ID as long as nothing was opened.
func (c *Conn) ID() ID { return ID{version: c.version, length: c.idLen, bytes: c.id} }

// Counters only grow.
type Counters struct {
	Opened, Closed uint64 // Initial packets that could and could not be opened
	Derived, Spent uint64 // sets of keys that were made, and that were not for want of a budget
}

// Decoder goes through datagrams. It belongs to one goroutine.
type Decoder struct {
	plain, header []byte
	cost, credit  int64 // nanoseconds for a set of keys, and that are left
	at            int64

	rest    []byte // of the datagram
	frames  []byte // of the packet that is open
	first   [maxID]byte
	firstID []byte
	packets int
	restart bool

	// What the datagram had so far, from Datagram on.
	Seen Seen

	Counters Counters
}

// Seen is what packets a datagram has.
type Seen struct {
	Opened, Closed, Spent, UnknownVersion, Other bool
}

// NewDecoder makes a decoder that makes at most perSecond sets of keys in a second, and a
// tenth of that at once.
func NewDecoder(perSecond int) *Decoder {
	cost := second / int64(max(1, perSecond))
	return &Decoder{plain: make([]byte, maxDatagram), header: make([]byte, maxDatagram+ivLen), cost: cost, credit: max(second/10, cost), at: math.MinInt64}
}

// Datagram begins with a datagram of a client, at a time in nanoseconds. b has to stay as
// it is until the last call of Next.
func (d *Decoder) Datagram(b []byte, now int64) {
	if d.at == math.MinInt64 {
		d.at = now
	}
	d.credit = min(d.credit+max(0, min(now-d.at, second)), max(second/10, d.cost))
	d.at = now
	d.rest, d.frames, d.packets, d.firstID, d.restart, d.Seen = b, nil, 0, nil, false, Seen{}
}

// Next returns the next CRYPTO frame of the datagram that c can open, and changes c with
// the first packet and where keys change. It is not ok at the datagram's end.
func (d *Decoder) Next(c *Conn) (f Frame, ok bool) {
	for {
		if f, d.frames, ok = nextCrypto(d.frames); ok {
			f.Restart, d.restart = d.restart, false
			return f, true
		}
		if len(d.rest) == 0 || d.packets == maxPackets || !d.packet(c) {
			d.rest = nil
			return Frame{}, false
		}
	}
}

// packet takes the next packet. It is false where what follows is none.
func (d *Decoder) packet(c *Conn) bool {
	d.packets++
	p := cutPacket(d.rest)
	d.rest = d.rest[len(p.bytes):]
	if d.packets == 1 && len(p.destination) <= maxID {
		d.firstID = append(d.first[:0], p.destination...)
	}
	switch p.kind {
	case NotQUIC:
		return false
	case UnknownVersion:
		d.Seen.UnknownVersion = true
		return false
	case Initial:
		// Servers pass over packets of other connections in one datagram (RFC 9000, 12.2).
		if bytes.Equal(p.destination, d.firstID) {
			d.open(c, &p)
		}
	default:
		d.Seen.Other = true
	}
	return true
}

// open decrypts a packet with the keys that fit.
func (d *Decoder) open(c *Conn, p *packet) {
	if len(p.bytes) < p.number+maxNumberLen+sampleLen {
		d.closed()
		return
	}
	if c.keys.aead != nil && c.version == p.version && d.decrypt(c, p) {
		return
	}
	if c.keys.aead != nil && c.version != p.version && d.try(c, p, c.id[:c.idLen], c.largest) {
		return // the hello goes on in another version
	}
	known := c.keys.aead != nil
	if known && bytes.Equal(c.id[:c.idLen], p.destination) {
		d.closed()
		return
	}
	if d.try(c, p, p.destination, -1) {
		d.restart = known
		return
	}
	d.closed()
}

func (d *Decoder) closed() {
	d.Seen.Closed = true
	d.Counters.Closed++
}

// try makes keys of id and p's version. They are c's if they open p.
func (d *Decoder) try(c *Conn, p *packet, id []byte, largest int64) bool {
	if d.credit < d.cost {
		d.Seen.Spent = true
		d.Counters.Spent++
		return false
	}
	d.credit -= d.cost
	d.Counters.Derived++
	next := Conn{version: p.version, idLen: uint8(len(id)), largest: largest, keys: schemeOf(p.version).derive(id)}
	copy(next.id[:], id)
	if !d.decrypt(&next, p) {
		return false
	}
	*c = next
	return true
}

// decrypt takes header protection off and opens the packet (RFC 9001, 5.3 and 5.4).
func (d *Decoder) decrypt(c *Conn, p *packet) bool {
	b := p.bytes
	sample := b[p.number+maxNumberLen:][:sampleLen]
	mask := d.plain[:sampleLen]
	c.keys.header.Encrypt(mask, sample)
	header := d.header[:copy(d.header, b[:p.number+maxNumberLen])]
	header[0] ^= mask[0] & 0x0f
	numberLen := int(header[0]&3) + 1
	var low uint32
	for i := range numberLen {
		header[p.number+i] ^= mask[1+i]
		low = low<<8 | uint32(header[p.number+i])
	}
	number := fullNumber(c.largest, low, 8*numberLen)
	nonce := d.header[len(header):][:ivLen]
	binary.BigEndian.PutUint32(nonce, 0)
	binary.BigEndian.PutUint64(nonce[4:], uint64(number))
	for i := range nonce {
		nonce[i] ^= c.keys.iv[i]
	}
	plain, err := c.keys.aead.Open(d.plain[:0], nonce, b[p.number+numberLen:], header[:p.number+numberLen])
	if err != nil {
		return false
	}
	c.largest = max(c.largest, number)
	d.frames = plain
	d.Seen.Opened = true
	d.Counters.Opened++
	return true
}

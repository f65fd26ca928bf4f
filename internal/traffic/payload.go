package traffic

import (
	"encoding/binary"
	"errors"
	"hash/crc32"
)

// HeaderSize is the part of a payload that says what it is; whatever follows is filling, which the checksum covers
// too. All fields are big endian:
//
//	 0  crc32c of every byte after this field
//	 4  magic
//	 8  run
//	12  flow
//	16  thread
//	18  sequence
//	20  send time, CLOCK_MONOTONIC in nanoseconds
const HeaderSize = 28

// MaxPayload is what one UDP datagram over IPv4 can carry; IPv6 is held to the same so that families compare.
const MaxPayload = 65507

const magic = 0x76636c61 // "vcla"

// Reasons why a datagram is not an intact payload of this package.
var (
	ErrShort    = errors.New("payload: shorter than its header")
	ErrMagic    = errors.New("payload: wrong magic")
	ErrChecksum = errors.New("payload: wrong checksum")
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// Header identifies one packet of a run.
type Header struct {
	Run    uint32
	Flow   uint32
	Thread uint16
	Seq    uint16 // counts from 0 within the thread's part of the flow
	Sent   int64
}

// Put writes h and the checksum into b, which is the whole payload with its filling in place. It panics when b is
// shorter than HeaderSize.
func (h Header) Put(b []byte) {
	_ = b[HeaderSize-1]
	binary.BigEndian.PutUint32(b[4:], magic)
	binary.BigEndian.PutUint32(b[8:], h.Run)
	binary.BigEndian.PutUint32(b[12:], h.Flow)
	binary.BigEndian.PutUint16(b[16:], h.Thread)
	binary.BigEndian.PutUint16(b[18:], h.Seq)
	binary.BigEndian.PutUint64(b[20:], uint64(h.Sent))
	binary.BigEndian.PutUint32(b, crc32.Checksum(b[4:], castagnoli))
}

// DecodeHeader reads a whole payload and checks it.
func DecodeHeader(b []byte) (Header, error) {
	if len(b) < HeaderSize {
		return Header{}, ErrShort
	}
	if binary.BigEndian.Uint32(b[4:]) != magic {
		return Header{}, ErrMagic
	}
	if binary.BigEndian.Uint32(b) != crc32.Checksum(b[4:], castagnoli) {
		return Header{}, ErrChecksum
	}
	return Header{
		Run:    binary.BigEndian.Uint32(b[8:]),
		Flow:   binary.BigEndian.Uint32(b[12:]),
		Thread: binary.BigEndian.Uint16(b[16:]),
		Seq:    binary.BigEndian.Uint16(b[18:]),
		Sent:   int64(binary.BigEndian.Uint64(b[20:])),
	}, nil
}

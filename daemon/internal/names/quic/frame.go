package quic

// Frame is a piece of the stream that a ClientHello is in. Data is valid until the
// decoder's next call.
type Frame struct {
	Offset uint64
	Data   []byte
	// Restart tells that this is of another connection than what came before, or of a
	// new beginning after a Retry: what was put together before is void.
	Restart bool
}

// What may be in an Initial packet (RFC 9000, 12.4).
const (
	framePadding = 0
	framePing    = 1
	frameACK     = 2
	frameACKECN  = 3
	frameCrypto  = 6
)

// nextCrypto returns the next CRYPTO frame and what is behind it. What is not allowed in
// an Initial packet ends it, as a server ends the connection.
func nextCrypto(b []byte) (f Frame, rest []byte, ok bool) {
	for len(b) > 0 {
		kind := b[0]
		b = b[1:]
		switch kind {
		case framePadding, framePing:
		case frameACK, frameACKECN:
			if b, ok = skipACK(b, kind == frameACKECN); !ok {
				return Frame{}, nil, false
			}
		case frameCrypto:
			if f.Offset, b, ok = varint(b); !ok {
				return Frame{}, nil, false
			}
			f.Data, rest, ok = longBytes(b)
			return f, rest, ok
		default: // CONNECTION_CLOSE, too: nothing that counts comes behind it
			return Frame{}, nil, false
		}
	}
	return Frame{}, nil, false
}

// skipACK: largest, delay, number of further ranges, first range; two numbers for each
// range; three for ECN (RFC 9000, 19.3). Each number is a byte at least, so b bounds the
// work.
func skipACK(b []byte, ecn bool) (rest []byte, ok bool) {
	ranges := uint64(0)
	for i := range 4 {
		var n uint64
		if n, b, ok = varint(b); !ok {
			return nil, false
		}
		if i == 2 {
			ranges = n
		}
	}
	if ranges > uint64(len(b)) {
		return nil, false
	}
	numbers := 2 * ranges
	if ecn {
		numbers += 3
	}
	for range numbers {
		if _, b, ok = varint(b); !ok {
			return nil, false
		}
	}
	return b, true
}

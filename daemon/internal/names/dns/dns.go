package dns

import (
	"encoding/binary"

	"verdictd/daemon/internal/names"
)

const (
	headerLen = 12
	// lengthLen is that of the length before a message over TCP.
	lengthLen = 2
	// maxPointers is how often a name may jump: more than labels fit into it.
	maxPointers = (names.MaxWire+1)/2 - 2
)

// Question is the first one of a message. Servers refuse a message with several.
type Question struct {
	// Type and Class are numbers as assigned by IANA, for example 1 (A) and 1 (IN).
	Type, Class uint16
	// Count is the number of questions that the header tells.
	Count uint16
	// Opcode is 0 in a query.
	Opcode uint8
	// Response reports an answer, which repeats the question.
	Response bool
}

// Message reads the question of b, a message over UDP, and appends its name to dst. It
// returns Known with the question; None where there is none or where servers refuse it;
// and More where b ends inside of it.
func Message(b, dst []byte) (q Question, name []byte, s names.State) {
	if len(b) < headerLen {
		return Question{}, dst, names.More
	}
	q = Question{Response: b[2]&0x80 != 0, Opcode: b[2] >> 3 & 0xf, Count: binary.BigEndian.Uint16(b[4:])}
	if q.Count == 0 {
		return Question{}, dst, names.None
	}
	name, end, s := appendName(b, headerLen, dst)
	if s != names.Known {
		return Question{}, dst, s
	}
	if end+4 > len(b) {
		return Question{}, dst, names.More
	}
	q.Type, q.Class = binary.BigEndian.Uint16(b[end:]), binary.BigEndian.Uint16(b[end+2:])
	return q, name, names.Known
}

// Stream reads the question of the message that b, bytes of a TCP stream, begins with.
// size is the length of that message and of what stands before it, and 0 as long as that
// is not known. It may be more than len(b): the next message begins there all the same.
func Stream(b, dst []byte) (q Question, name []byte, size int, s names.State) {
	if len(b) < lengthLen {
		return Question{}, dst, 0, names.More
	}
	size = lengthLen + int(binary.BigEndian.Uint16(b))
	whole := len(b) >= size
	q, name, s = Message(b[lengthLen:min(len(b), size)], dst)
	// What is to come cannot help a message that is too short for its question.
	if s == names.More && (whole || size < lengthLen+headerLen) {
		s = names.None
	}
	return q, name, size, s
}

// appendName follows the name at off. end is behind it, or behind its first pointer.
func appendName(b []byte, off int, dst []byte) (name []byte, end int, s names.State) {
	name = dst
	left := names.MaxWire
	for jumps := 0; ; {
		if off >= len(b) {
			return dst, 0, names.More
		}
		c := int(b[off])
		off++
		switch c & 0xc0 {
		case 0:
			if c > 0 {
				if off+c > len(b) {
					return dst, 0, names.More
				}
				// The root needs its byte as well.
				if left -= c + 1; left <= 0 {
					return dst, 0, names.None
				}
				if len(name) > len(dst) {
					name = append(name, '.')
				}
				name = names.AppendLabel(name, b[off:off+c])
				off += c
				continue
			}
			if len(name) == len(dst) {
				name = append(name, '.')
			}
			if jumps == 0 {
				end = off
			}
			return name, end, names.Known
		case 0xc0:
			if off >= len(b) {
				return dst, 0, names.More
			}
			if jumps == 0 {
				end = off + 1
			}
			if jumps++; jumps > maxPointers {
				return dst, 0, names.None
			}
			off = (c&0x3f)<<8 | int(b[off])
		default: // reserved
			return dst, 0, names.None
		}
	}
}

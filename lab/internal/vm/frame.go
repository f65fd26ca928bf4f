package vm

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"sync"
)

// kind is what a frame carries.
type kind byte

const (
	kindReady  kind = 'r' // the guest's init runs
	kindStart  kind = 's' // the guest is set up, and the command starts
	kindStdout kind = 'o'
	kindStderr kind = 'e'
	kindName   kind = 'n' // of the file that the next data belong to
	kindData   kind = 'd'
	kindExit   kind = 'x' // the command's exit status, four bytes
	kindError  kind = 'f' // the guest could not do its work: why
	kindEnd    kind = 'z' // nothing follows
)

// A frame is a mark, a kind, the length of what it carries, that, and its checksum: the console's driver and a dying
// kernel may write to a port whatever they like.
const (
	frameMark   = 0xa7
	frameHeader = 6
	frameLimit  = 1 << 16
)

// frameWriter lets several goroutines write frames.
type frameWriter struct {
	mu sync.Mutex
	w  io.Writer
}

func (f *frameWriter) write(k kind, b []byte) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	for first := true; first || len(b) > 0; first = false {
		part := b[:min(len(b), frameLimit)]
		b = b[len(part):]
		frame := append(make([]byte, 0, frameHeader+len(part)+4), frameMark, byte(k))
		frame = binary.BigEndian.AppendUint32(frame, uint32(len(part)))
		frame = append(frame, part...)
		frame = binary.BigEndian.AppendUint32(frame, crc32.ChecksumIEEE(frame))
		if _, err := f.w.Write(frame); err != nil {
			return fmt.Errorf("send to the host: %w", err)
		}
	}
	return nil
}

// stream is a writer of one kind of frames.
type stream struct {
	to   *frameWriter
	kind kind
}

func (s stream) Write(b []byte) (int, error) {
	if len(b) == 0 {
		return 0, nil
	}
	if err := s.to.write(s.kind, b); err != nil {
		return 0, err
	}
	return len(b), nil
}

// errFrame is that the frames broke off or are none.
var errFrame = errors.New("the guest's report is cut off")

// readFrame returns io.EOF where the frames end between two of them.
func readFrame(r io.Reader) (kind, []byte, error) {
	var header [frameHeader]byte
	if _, err := io.ReadFull(r, header[:]); err != nil {
		if errors.Is(err, io.ErrUnexpectedEOF) {
			return 0, nil, errFrame
		}
		return 0, nil, err
	}
	n := binary.BigEndian.Uint32(header[2:])
	if header[0] != frameMark || n > frameLimit {
		return 0, nil, fmt.Errorf("%w: %x is no frame", errFrame, header)
	}
	body := make([]byte, n+4)
	if _, err := io.ReadFull(r, body); err != nil {
		return 0, nil, errFrame
	}
	sum := crc32.Update(crc32.ChecksumIEEE(header[:]), crc32.IEEETable, body[:n])
	if sum != binary.BigEndian.Uint32(body[n:]) {
		return 0, nil, fmt.Errorf("%w: a frame's checksum is wrong", errFrame)
	}
	return kind(header[1]), body[:n], nil
}

package replay

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
)

const (
	blockSection  = 0x0a0d0d0a
	blockEnhanced = 6
	// sectionMagic tells the order of a section's bytes.
	sectionMagic = 0x1a2b3c4d
	// maxBlock is the longest block of pcapng, in bytes: as Wireshark's (MAX_BLOCK_SIZE).
	maxBlock = 16 << 20
	// enhancedLen is what an enhanced packet block has beside its packet, at least.
	enhancedLen = 32
)

// blocks hands the bytes of a pcapng file on, block by block, if their lengths can be. pcapgo believes what a file says
// of lengths: it would take memory for a packet that is not there, and take a block beyond the file's end for the end.
type blocks struct {
	in    *bufio.Reader
	order binary.ByteOrder
	block bytes.Buffer
	count int
}

// Read implements io.Reader.
func (b *blocks) Read(p []byte) (int, error) {
	if b.block.Len() == 0 {
		if err := b.next(); err != nil {
			return 0, err
		}
	}
	return b.block.Read(p)
}

// next reads a block. It returns io.EOF at the end of the file, and behind a whole block alone.
func (b *blocks) next() error {
	const least = 12 // kind, length, and length once more; a section has its magic in between
	head, err := b.in.Peek(least)
	switch {
	case len(head) == 0:
		return err
	case err != nil:
		return io.ErrUnexpectedEOF
	}
	b.count++
	if binary.LittleEndian.Uint32(head) == blockSection {
		if b.order = binary.LittleEndian; b.order.Uint32(head[8:]) != sectionMagic {
			b.order = binary.BigEndian
		}
	}
	if b.order == nil {
		return errors.New("it does not begin with a section")
	}
	kind, length := b.order.Uint32(head), b.order.Uint32(head[4:])
	if length < least || length%4 != 0 || length > maxBlock {
		return fmt.Errorf("block %d says that it has %d bytes, which cannot be", b.count, length)
	}
	b.block.Reset()
	if _, err := io.CopyN(&b.block, b.in, int64(length)); err != nil {
		return io.ErrUnexpectedEOF
	}
	if kind == blockEnhanced && (length < enhancedLen || b.order.Uint32(b.block.Bytes()[20:]) > length-enhancedLen) {
		return fmt.Errorf("block %d is shorter than its packet", b.count)
	}
	return nil
}

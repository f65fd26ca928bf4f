package samples

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"slices"

	"github.com/google/gopacket/layers"
	"github.com/google/gopacket/pcapgo"

	"verdictd/internal/vocabulary"
)

const (
	pattern = "samples-*.pcapng"
	format  = "samples-%06d.pcapng"
)

// lastNumber is that of the last file in a folder; 0: there is none.
func lastNumber(directory string) (last int, err error) {
	if _, err := os.ReadDir(directory); err != nil {
		return 0, err
	}
	names, err := filepath.Glob(filepath.Join(directory, pattern))
	for _, name := range names {
		var n int
		if _, err := fmt.Sscanf(filepath.Base(name), format, &n); err == nil {
			last = max(last, n)
		}
	}
	return last, err
}

// next begins another file, and removes those that are too many.
func (s *Sampler) next() error {
	var err error
	if s.file != nil {
		err = s.file.close()
		s.file = nil
	}
	made, problem := create(filepath.Join(s.config.Directory, fmt.Sprintf(format, s.number+1)), s.done)
	if problem != nil {
		return errors.Join(err, problem)
	}
	s.file, s.number = made, s.number+1
	names, problem := filepath.Glob(filepath.Join(s.config.Directory, pattern))
	err = errors.Join(err, problem)
	slices.Sort(names)
	for ; len(names) > s.config.Files; names = names[1:] {
		err = errors.Join(err, os.Remove(names[0]))
	}
	return err
}

// A file has samples.
type file struct {
	to      *os.File
	pending bytes.Buffer // whole blocks
	packets uint64       // in them
	bytes   int64
	// done is told what became of packets.
	done func(packets uint64, err error)
}

// create makes a file with its header.
func create(name string, done func(packets uint64, err error)) (*file, error) {
	to, err := os.OpenFile(name, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o640)
	if err != nil {
		return nil, err
	}
	f := &file{to: to, done: done}
	header, err := pcapgo.NewNgWriterInterface(&f.pending,
		pcapgo.NgInterface{Name: "verdictd", OS: runtime.GOOS, LinkType: layers.LinkTypeRaw, SnapLength: vocabulary.SampleBytes, TimestampResolution: 9},
		pcapgo.NgWriterOptions{SectionInfo: pcapgo.NgSectionInfo{Hardware: runtime.GOARCH, OS: runtime.GOOS, Application: "verdictd"}})
	if err == nil {
		err = header.Flush()
	}
	f.bytes = int64(f.pending.Len())
	if err == nil {
		err = f.flush()
	}
	if err != nil {
		return nil, errors.Join(err, to.Close())
	}
	return f, nil
}

// What a block is made of (pcapng, section 4.3). The library writes none with a comment.
const (
	enhancedPacket = 6
	optionComment  = 1
	fixedLength    = 32 // of the block without packet and options, its length at both ends
	optionHeader   = 4
)

// packet appends a block.
func (f *file) packet(one *sample) error {
	comment := fmt.Sprintf("rule %s: %s (queue %d, %s)", one.rule, one.action, one.queue, vocabulary.HookAt(uint32(one.hook)))
	const longest = 1024
	comment = comment[:min(len(comment), longest)]
	total := uint32(fixedLength + padded(one.kept) + optionHeader + padded(len(comment)) + optionHeader)
	at := uint64(one.at.UnixNano())
	b := f.pending.AvailableBuffer()
	for _, v := range []uint32{enhancedPacket, total, 0, uint32(at >> 32), uint32(at), uint32(one.kept), one.length} {
		b = binary.LittleEndian.AppendUint32(b, v)
	}
	b = padding(append(b, one.data[:one.kept]...))
	b = binary.LittleEndian.AppendUint16(b, optionComment)
	b = binary.LittleEndian.AppendUint16(b, uint16(len(comment)))
	b = padding(append(b, comment...))
	b = binary.LittleEndian.AppendUint32(b, 0) // the end of the options
	b = binary.LittleEndian.AppendUint32(b, total)
	f.pending.Write(b)
	f.packets++
	f.bytes += int64(len(b))
	const many = 64 << 10
	if f.pending.Len() >= many {
		return f.flush()
	}
	return nil
}

func padded(n int) int { return (n + 3) &^ 3 }

func padding(b []byte) []byte {
	for len(b)%4 != 0 {
		b = append(b, 0)
	}
	return b
}

// flush hands what waits to the kernel. What was written in part is taken back.
func (f *file) flush() error {
	if f.pending.Len() == 0 {
		return nil
	}
	n, err := f.to.Write(f.pending.Bytes())
	f.done(f.packets, err)
	f.packets = 0
	f.pending.Reset()
	if err != nil {
		end, _ := f.to.Seek(0, 1)
		return errors.Join(err, f.to.Truncate(end-int64(n)))
	}
	return nil
}

func (f *file) close() error { return errors.Join(f.flush(), f.to.Close()) }

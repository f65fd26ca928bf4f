package live

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"verdictd/daemon/internal/sets"
	"verdictd/internal/vocabulary"
)

// EntryError is an entry of Source.Entries that is none.
type EntryError struct {
	Index int
	Entry string
	Why   error
}

func (e *EntryError) Error() string { return fmt.Sprintf("%q %v", e.Entry, e.Why) }

// Unwrap is why.
func (e *EntryError) Unwrap() error { return e.Why }

// FileError is what is wrong with Source.File.
type FileError struct{ Why error }

func (e *FileError) Error() string { return e.Why.Error() }

// Unwrap is why: a *sets.Problems where lines are no entries.
func (e *FileError) Unwrap() error { return e.Why }

// errWritten says that a file changed while it was read.
var errWritten = errors.New("is written to all the time: write it beside its place, and rename it into that")

// Open builds a set from its entries and its file.
//
// Errors: *EntryError for each entry that is none, and *FileError, joined.
func Open(src Source) (*Set, error) {
	s := &Set{Source: src}
	s.Prefixes.Name, s.Ports.Name, s.Names.Name, s.Pairs.Name = src.Name, src.Name, src.Name, src.Name
	before, b, err := src.build()
	for try := 0; errors.Is(err, errWritten) && try < tries; try++ {
		time.Sleep(interval)
		before, b, err = src.build()
	}
	if err != nil {
		return nil, err
	}
	s.watch.loaded, s.watch.seen = before, before
	s.force(b)
	return s, nil
}

// built is a set of one of the types.
type built struct {
	prefixes *sets.Prefixes
	ports    *sets.Ports
	names    *sets.Names
	pairs    *sets.Pairs
}

// build reads everything. The stamp is that of the file that was read.
func (src *Source) build() (at stamp, b built, err error) {
	switch src.Type {
	case vocabulary.SetPrefixes:
		n := sets.NewPrefixes()
		at, err = src.read(n)
		b.prefixes = n.Build(time.Now())
	case vocabulary.SetPorts:
		n := sets.NewPorts()
		at, err = src.read(n)
		b.ports = n.Build(time.Now())
	case vocabulary.SetNames:
		n := sets.NewNames()
		at, err = src.read(n)
		b.names = n.Build(time.Now())
	case vocabulary.SetPairs:
		n := sets.NewPairs()
		at, err = src.read(n)
		b.pairs = n.Build(time.Now())
	default:
		err = fmt.Errorf("set %s: there is no type %q", src.Name, src.Type)
	}
	return at, b, err
}

// read fills a builder.
func (src *Source) read(b sets.Builder) (at stamp, err error) {
	var errs []error
	for i, entry := range src.Entries {
		if err := b.Add([]byte(strings.TrimSpace(entry))); err != nil {
			errs = append(errs, &EntryError{i, entry, err})
		}
	}
	if src.File != "" {
		if at, err = readFile(b, src.File); err != nil {
			errs = append(errs, &FileError{err})
		}
	}
	return at, errors.Join(errs...)
}

// readFile reads a file that nobody writes to meanwhile.
func readFile(b sets.Builder, name string) (at stamp, err error) {
	// A pipe without a writer would never open.
	f, err := os.OpenFile(name, os.O_RDONLY|unix.O_NONBLOCK, 0)
	if err != nil {
		return at, err
	}
	defer f.Close() //nolint:errcheck // it was only read
	info, err := f.Stat()
	if err != nil {
		return at, err
	}
	if !info.Mode().IsRegular() {
		return at, &fs.PathError{Op: "read", Path: name, Err: errors.New("is no regular file: name one with one entry a line")}
	}
	at = stampOf(info)
	problem := sets.Read(b, name, f, sets.Limits{})
	if info, err = f.Stat(); err != nil {
		return at, err
	}
	if stampOf(info) != at {
		return at, &fs.PathError{Op: "read", Path: name, Err: errWritten}
	}
	return at, problem
}

// stamp tells whether a file is the same as before.
type stamp struct {
	there             bool
	device, inode     uint64
	size              int64
	modified, changed unix.Timespec
}

// same tells that it is the same file, with the same or another content.
func (s stamp) same(o stamp) bool {
	return s.there && o.there && s.device == o.device && s.inode == o.inode
}

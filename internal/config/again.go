package config

import (
	"bytes"
	"fmt"
	"os"
	"slices"
	"syscall"
	"time"
)

// File is a configuration, and where its keys stand.
type File struct {
	*Config
	file *file
}

// Problem is one of a value that reads well: the key's place, and what to do.
func (f *File) Problem(key, format string, args ...any) *KeyError {
	file, key := f.file.owner(key)
	return file.problem(key, file.place(key), format, args...)
}

// Written reports whether a key stands in the file, or in one that it includes.
func (f *File) Written(key string) bool { return f.file.has(key) }

// Order is the place of a problem's file: 0 is the configuration itself, and included files are behind it.
func (f *File) Order(p *KeyError) int {
	return 1 + slices.IndexFunc(f.file.parts, func(part *part) bool { return part.name == p.File })
}

const (
	// settled is how long a file must have been as it is before LoadAgain believes it:
	// one that is written in place is empty first, and then half of what it will be.
	settled = 50 * time.Millisecond
	// settlesWithin bounds the wait for that.
	settlesWithin = 2 * time.Second
)

// LoadAgain is LoadFile for a program that runs by a configuration already. It waits until a
// file that is being written has been left alone for 50 ms, 2 s at most for all files together, and
// refuses one that is empty, which a program that starts takes for the defaults: most probably
// somebody is about to write it. A file that was moved to its place after it was written is read at once.
func LoadAgain(path string) (*File, error) {
	until := time.Now().Add(settlesWithin)
	return load(path, func(path string) ([]byte, error) { return readSettled(path, until) })
}

// readSettled reads a file as LoadAgain does, and waits no longer than until then.
func readSettled(path string, until time.Time) ([]byte, error) {
	for ; ; time.Sleep(settled / 5) {
		before, err := os.Stat(path)
		if err != nil {
			return nil, fmt.Errorf("read configuration: %w", err)
		}
		regular, late := before.Mode().IsRegular(), time.Now().After(until)
		if age := time.Since(before.ModTime()); regular && age >= 0 && age < settled && !moved(before) && !late {
			continue
		}
		data, err := bounded(path)
		if err != nil {
			return nil, err
		}
		after, err := os.Stat(path)
		if err != nil {
			return nil, fmt.Errorf("read configuration: %w", err)
		}
		same := os.SameFile(before, after) && before.ModTime().Equal(after.ModTime()) && before.Size() == after.Size()
		switch {
		case !regular || same:
		case late:
			return nil, &KeyError{File: path, Line: 1, Column: 1, Text: "changes while it is read: reload when it is written"}
		default:
			continue
		}
		if len(bytes.TrimSpace(data)) == 0 {
			return nil, &KeyError{File: path, Line: 1, Column: 1, Text: "is empty: write {} where the defaults are meant"}
		}
		return data, nil
	}
}

// moved reports whether something happened to a file after its contents were written, as when it
// is renamed, which is how a file is replaced as a whole (inode(7): st_ctime is later than st_mtime).
func moved(file os.FileInfo) bool {
	inode, ok := file.Sys().(*syscall.Stat_t)
	return ok && time.Unix(inode.Ctim.Unix()).After(file.ModTime())
}

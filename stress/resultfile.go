package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
)

// resultFile is a file that always holds a whole document, whenever the machine stops: each new one is written beside it,
// brought to the disk, and renamed over the former.
type resultFile struct {
	path string
	// special is a device or pipe, which cannot be replaced: it gets the last document only.
	special *os.File
}

// openResultFile makes sure that the file can be written.
func openResultFile(path string) (*resultFile, error) {
	if target, err := filepath.EvalSymlinks(path); err == nil {
		path = target // the link is to stay
	}
	info, err := os.Stat(path)
	switch {
	case errors.Is(err, fs.ErrNotExist), err == nil && info.Mode().IsRegular():
		f := &resultFile{path: path}
		if err := f.try(); err != nil {
			return nil, fmt.Errorf("create result file: %w", err)
		}
		return f, nil
	case err != nil:
		return nil, fmt.Errorf("create result file: %w", err)
	}
	special, err := os.OpenFile(path, os.O_WRONLY, 0)
	if err != nil {
		return nil, fmt.Errorf("open result file: %w", err)
	}
	return &resultFile{path: path, special: special}, nil
}

// next is where a new document is written. Two runs with the same result file get in each other's way with or without it.
func (f *resultFile) next() string { return f.path + ".new" }

// try makes the file that is going to be renamed, and takes it away again.
func (f *resultFile) try() error {
	n, err := os.Create(f.next())
	if err != nil {
		return err
	}
	return errors.Join(n.Close(), os.Remove(f.next()))
}

// replace puts a document in the place of the former one.
func (f *resultFile) replace(document []byte) error {
	if f.special != nil {
		if _, err := f.special.Write(document); err != nil {
			return fmt.Errorf("write result file: %w", err)
		}
		return nil
	}
	err := f.store(document)
	if err != nil {
		return fmt.Errorf("write result file: %w", err)
	}
	return nil
}

func (f *resultFile) store(document []byte) error {
	n, err := os.Create(f.next())
	if err != nil {
		return err
	}
	_, err = n.Write(document)
	if err = errors.Join(err, n.Sync(), n.Close()); err != nil {
		return errors.Join(err, os.Remove(f.next()))
	}
	if err := os.Rename(f.next(), f.path); err != nil {
		return err
	}
	folder, err := os.Open(filepath.Dir(f.path))
	if err != nil {
		return err
	}
	// The name is to last as well. Some file systems refuse it for a folder: the document is there all the same.
	_ = folder.Sync()
	return folder.Close()
}

// close may be called on nil.
func (f *resultFile) close() error {
	if f == nil || f.special == nil {
		return nil
	}
	if err := f.special.Close(); err != nil {
		return fmt.Errorf("write result file: %w", err)
	}
	return nil
}

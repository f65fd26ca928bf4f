package record

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/google/renameio/v2"
)

// file always holds a whole document, whenever the machine stops: each new one is written beside it, brought to the
// disk, and renamed over the former.
type file struct {
	path string
	// special is a device or pipe, which cannot be replaced: it gets the last document only.
	special *os.File
}

// openFile makes sure that the file can be written.
func openFile(path string) (*file, error) {
	if target, err := filepath.EvalSymlinks(path); err == nil {
		path = target // the link is to stay
	}
	info, err := os.Stat(path)
	switch {
	case errors.Is(err, fs.ErrNotExist), err == nil && info.Mode().IsRegular():
		f := &file{path: path}
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
	return &file{path: path, special: special}, nil
}

// beside has a new document written in the file's own folder: renaming may be impossible from elsewhere.
func (f *file) beside() renameio.Option { return renameio.WithTempDir(filepath.Dir(f.path)) }

// try makes the file that is going to be renamed, and takes it away again.
func (f *file) try() error {
	n, err := renameio.NewPendingFile(f.path, f.beside())
	if err != nil {
		return err
	}
	return n.Cleanup()
}

// replace puts a document in the place of the former one.
func (f *file) replace(document []byte) error {
	var err error
	if f.special != nil {
		_, err = f.special.Write(document)
	} else {
		err = f.store(document)
	}
	if err != nil {
		return fmt.Errorf("write result file: %w", err)
	}
	return nil
}

func (f *file) store(document []byte) error {
	if err := renameio.WriteFile(f.path, document, 0o644, f.beside()); err != nil {
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
func (f *file) close() error {
	if f == nil || f.special == nil {
		return nil
	}
	if err := f.special.Close(); err != nil {
		return fmt.Errorf("write result file: %w", err)
	}
	return nil
}

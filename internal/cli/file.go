package cli

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"github.com/google/renameio/v2"
	"golang.org/x/sys/unix"
)

// writeWithin bounds the wait for who reads a pipe that a file's name turns out to be.
const writeWithin = 10 * time.Second

// WriteFile puts a document where path is: beside the file, on the disk, and then renamed over it, so that whoever
// reads it meets a whole document, the old one or the new one, whenever the disk is full or the machine stops. A link
// stays, and what it names is replaced. What is no file, such as /dev/null or a pipe, is written to as it is.
func WriteFile(path string, document []byte) error {
	path = target(path)
	if info, err := os.Stat(path); err == nil && !info.Mode().IsRegular() {
		return writeSpecial(path, document)
	}
	folder := filepath.Dir(path)
	if err := renameio.WriteFile(path, document, 0o644, beside(path)); err != nil {
		return err
	}
	f, err := os.Open(folder)
	if err != nil {
		return err
	}
	// The name is to last as well. Some file systems refuse it for a folder: the document is there all the same.
	_ = f.Sync()
	return f.Close()
}

// writeSpecial writes to a device or a pipe. A pipe without a reader is an error and no wait without an end.
func writeSpecial(path string, document []byte) (err error) {
	f, err := os.OpenFile(path, os.O_WRONLY|unix.O_NONBLOCK, 0)
	if errors.Is(err, unix.ENXIO) {
		return fmt.Errorf("%w: nobody reads this pipe", err)
	}
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	if err := f.SetWriteDeadline(time.Now().Add(writeWithin)); err != nil && !errors.Is(err, os.ErrNoDeadline) {
		return err
	}
	_, err = f.Write(document)
	return err
}

// CanWrite finds out before the work whether WriteFile can write after it, as far as that can be known. It makes the
// folder of the file if that is missing.
func CanWrite(path string) error {
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil { //nolint:gosec // as by mkdir
		return err
	}
	path = target(path)
	info, err := os.Stat(path)
	switch {
	case err == nil && info.IsDir():
		return &fs.PathError{Op: "write", Path: path, Err: unix.EISDIR}
	case err == nil && !info.Mode().IsRegular():
		return nil
	case err != nil && !errors.Is(err, fs.ErrNotExist):
		return err
	}
	f, err := renameio.NewPendingFile(path, beside(path))
	if err != nil {
		return err
	}
	return f.Cleanup()
}

// target is the file that a link leads to.
func target(path string) string {
	if t, err := filepath.EvalSymlinks(path); err == nil {
		return t
	}
	return path
}

// beside has a document written in the file's own folder: renaming may be impossible from elsewhere.
func beside(path string) renameio.Option { return renameio.WithTempDir(filepath.Dir(path)) }

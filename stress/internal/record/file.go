package record

import (
	"errors"
	"fmt"
	"io/fs"
	"os"

	"verdictd/internal/cli"
)

// file always holds a whole document, whenever the machine stops.
type file struct {
	path string
	// special is a device or pipe, which cannot be replaced: it gets the last document only.
	special bool
}

// openFile makes sure that the file can be written.
func openFile(path string) (*file, error) {
	if err := cli.CanWrite(path); err != nil {
		return nil, fmt.Errorf("create result file: %w", err)
	}
	info, err := os.Stat(path)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("create result file: %w", err)
	}
	return &file{path: path, special: err == nil && !info.Mode().IsRegular()}, nil
}

// replace puts a document in the place of the former one.
func (f *file) replace(document []byte) error {
	if err := cli.WriteFile(f.path, document); err != nil {
		return fmt.Errorf("write result file: %w", err)
	}
	return nil
}

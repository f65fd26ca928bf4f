package config

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"time"

	"golang.org/x/sys/unix"
)

// maxFile is the most bytes that a configuration may have: some ten thousand rules of the policy. A parser needs a
// hundred times as much memory, and a device has no end.
const maxFile = 1 << 20

// readWithin bounds the wait for who writes to a pipe: a program that waits for ever to open one is deaf to signals.
const readWithin = 10 * time.Second

// Load reads a file of at most 1 MiB, or a pipe that is written to within 10 s, and the files that it includes. Its
// errors are those of Parse, or say why the file cannot be read.
func Load(path string) (*Config, error) {
	f, err := LoadFile(path)
	if err != nil {
		return nil, err
	}
	return f.Config, nil
}

// LoadFile is Load that tells where keys stand.
func LoadFile(path string) (*File, error) { return load(path, bounded) }

func load(path string, read reader) (*File, error) {
	data, err := read(path)
	if err != nil {
		return nil, err
	}
	f, c, err := parse(path, data, read)
	if err != nil {
		return nil, err
	}
	return &File{Config: c, file: f}, nil
}

// Socket is the control socket that a file names, whatever else may be wrong with it:
// who asks a running daemon about a file with errors has to find it. Where the file does
// not tell, it is the default.
func Socket(path string) string {
	data, err := bounded(path)
	if err != nil {
		return DefaultSocket
	}
	f, c, _ := parse(path, data, nil)
	if c == nil || f.bad["control.socket"] || f.bad["control"] {
		return DefaultSocket
	}
	return c.Control.Socket
}

// bounded reads a file as Load does.
func bounded(path string) ([]byte, error) {
	data, err := read(path)
	if err != nil {
		return nil, fmt.Errorf("read configuration: %w", err)
	}
	if len(data) > maxFile {
		return nil, &KeyError{File: path, Line: 1, Column: 1,
			Text: fmt.Sprintf("has more than %d bytes (1 MiB): not a configuration", maxFile)}
	}
	return data, nil
}

// read gives a byte more than there may be, if there is.
func read(path string) ([]byte, error) {
	f, err := os.OpenFile(path, os.O_RDONLY|unix.O_NONBLOCK, 0)
	if err != nil {
		return nil, err
	}
	defer f.Close() //nolint:errcheck // it was only read
	if info, err := f.Stat(); err == nil && info.Mode()&fs.ModeNamedPipe != 0 {
		// Without a writer a read is at the end at once, and what was read would be an empty configuration.
		if err := awaitWriter(f); err != nil {
			return nil, &fs.PathError{Op: "read", Path: path, Err: err}
		}
	}
	if err := f.SetReadDeadline(time.Now().Add(readWithin)); err != nil && !errors.Is(err, os.ErrNoDeadline) {
		return nil, err
	}
	return io.ReadAll(io.LimitReader(f, maxFile+1))
}

// awaitWriter returns when somebody has opened a pipe and written to it, or has closed it again.
func awaitWriter(f *os.File) error {
	raw, err := f.SyscallConn()
	if err != nil {
		return err
	}
	ready, polled := 0, error(nil)
	err = raw.Control(func(fd uintptr) {
		for end := time.Now().Add(readWithin); ; {
			fds := []unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}
			ready, polled = unix.Poll(fds, int(time.Until(end).Milliseconds()))
			if !errors.Is(polled, unix.EINTR) {
				return
			}
		}
	})
	if err := errors.Join(err, polled); err != nil {
		return err
	}
	if ready == 0 {
		return fmt.Errorf("nobody has written to this pipe within %v", readWithin)
	}
	return nil
}

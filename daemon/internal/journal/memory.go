package journal

import (
	"errors"
	"fmt"
	"os"

	"golang.org/x/sys/unix"
)

// Memory is memory with a descriptor, by which it can outlive the process. It implements
// nfq.Memory. For one goroutine at a time.
type Memory struct {
	file  *os.File
	bytes []byte
}

// NewMemory makes memory of no bytes. The name shows in /proc/PID/fd. Nobody can make it
// shorter, which would end whoever looks at what is gone (SIGBUS).
func NewMemory(name string) (*Memory, error) {
	const flags = unix.MFD_CLOEXEC | unix.MFD_ALLOW_SEALING
	fd, err := unix.MemfdCreate("verdictd-"+name, flags|unix.MFD_NOEXEC_SEAL)
	if errors.Is(err, unix.EINVAL) { // before Linux 6.3
		fd, err = unix.MemfdCreate("verdictd-"+name, flags)
	}
	if err != nil {
		return nil, fmt.Errorf("make memory for %s: %w", name, err)
	}
	f := os.NewFile(uintptr(fd), name)
	if err := seal(f); err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return &Memory{file: f}, nil
}

// ErrForeign says that memory is none of this program's, or was sealed by somebody else.
var ErrForeign = errors.New("it is no memory that this program has left")

// seal keeps a memfd from becoming shorter, where that can be: what a process of an
// earlier version has made before Linux 6.3 cannot be sealed.
func seal(f *os.File) error {
	seals, err := unix.FcntlInt(f.Fd(), unix.F_GET_SEALS, 0)
	if err != nil {
		return fmt.Errorf("memory %s: %w: %w", f.Name(), ErrForeign, err)
	}
	if seals&(unix.F_SEAL_GROW|unix.F_SEAL_WRITE|unix.F_SEAL_FUTURE_WRITE) != 0 {
		return fmt.Errorf("memory %s: %w: it cannot be written (seals %#x)", f.Name(), ErrForeign, seals)
	}
	if seals&(unix.F_SEAL_SEAL|unix.F_SEAL_SHRINK) == 0 {
		if _, err := unix.FcntlInt(f.Fd(), unix.F_ADD_SEALS, unix.F_SEAL_SHRINK); err != nil {
			return fmt.Errorf("seal memory %s: %w", f.Name(), err)
		}
	}
	return nil
}

// OpenMemory maps what another process has left. It owns the file then, unless it returns
// an error: ErrForeign among others.
func OpenMemory(f *os.File) (*Memory, error) {
	if err := seal(f); err != nil {
		return nil, err
	}
	info, err := f.Stat() // of what can become shorter no more
	if err != nil {
		return nil, fmt.Errorf("look at memory %s: %w", f.Name(), err)
	}
	m := &Memory{file: f}
	if size := info.Size(); !info.Mode().IsRegular() || size > longest {
		return nil, fmt.Errorf("memory %s of %d bytes: %w", f.Name(), size, ErrForeign)
	}
	return m, m.remap(int(info.Size()))
}

// longest is more than any journal has, in bytes.
const longest = 1 << 31

// Bytes implements nfq.Memory.
func (m *Memory) Bytes() []byte { return m.bytes }

// Resize implements nfq.Memory. The file only grows: of what is to be shorter less is
// mapped.
func (m *Memory) Resize(size int) error {
	info, err := m.file.Stat()
	if err == nil && info.Size() < int64(size) {
		err = m.file.Truncate(int64(size))
	}
	if err != nil {
		return fmt.Errorf("resize memory %s to %d bytes: %w", m.file.Name(), size, err)
	}
	return m.remap(size)
}

func (m *Memory) remap(size int) error {
	if err := m.unmap(); err != nil || size == 0 {
		return err
	}
	b, err := unix.Mmap(int(m.file.Fd()), 0, size, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
	if err != nil {
		return fmt.Errorf("map memory %s of %d bytes: %w", m.file.Name(), size, err)
	}
	m.bytes = b
	return nil
}

func (m *Memory) unmap() error {
	if m.bytes == nil {
		return nil
	}
	b := m.bytes
	m.bytes = nil
	return unix.Munmap(b)
}

// Descriptor is valid until Close.
func (m *Memory) Descriptor() int { return int(m.file.Fd()) }

// Close unmaps the memory. It stays where somebody keeps its descriptor.
func (m *Memory) Close() error { return errors.Join(m.unmap(), m.file.Close()) }

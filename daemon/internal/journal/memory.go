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

// NewMemory makes memory of no bytes. The name shows in /proc/PID/fd.
func NewMemory(name string) (*Memory, error) {
	fd, err := unix.MemfdCreate("verdictd-"+name, unix.MFD_CLOEXEC|unix.MFD_NOEXEC_SEAL)
	if errors.Is(err, unix.EINVAL) { // before Linux 6.3
		fd, err = unix.MemfdCreate("verdictd-"+name, unix.MFD_CLOEXEC)
	}
	if err != nil {
		return nil, fmt.Errorf("make memory for %s: %w", name, err)
	}
	return &Memory{file: os.NewFile(uintptr(fd), name)}, nil
}

// OpenMemory maps what another process has left. It owns the file then.
func OpenMemory(f *os.File) (*Memory, error) {
	info, err := f.Stat()
	if err != nil {
		return nil, fmt.Errorf("look at memory %s: %w", f.Name(), err)
	}
	m := &Memory{file: f}
	// A file of something else may have any size.
	if size := info.Size(); !info.Mode().IsRegular() || size > longest {
		return nil, fmt.Errorf("memory %s has %d bytes: it is no journal", f.Name(), size)
	}
	return m, m.remap(int(info.Size()))
}

// longest is more than any journal has, in bytes.
const longest = 1 << 31

// Bytes implements nfq.Memory.
func (m *Memory) Bytes() []byte { return m.bytes }

// Resize implements nfq.Memory.
func (m *Memory) Resize(size int) error {
	if err := m.file.Truncate(int64(size)); err != nil {
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

package journal

import (
	"encoding/binary"
	"errors"
	"os"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"
)

// TestMemoryStaysAsLong: another process that has the memory cannot make it shorter, which
// would end whoever reads what is gone.
func TestMemoryStaysAsLong(t *testing.T) {
	m, err := NewMemory("test")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = m.Close() }()
	for _, size := range []int{1 << 16, 1 << 12, 1 << 17} {
		if err := m.Resize(size); err != nil || len(m.Bytes()) != size {
			t.Fatalf("%d bytes, %v; want %d", len(m.Bytes()), err, size)
		}
		if err := unix.Ftruncate(m.Descriptor(), 0); !errors.Is(err, unix.EPERM) {
			t.Fatalf("made shorter: %v", err)
		}
	}
	// A hole is no end: what was there is zero.
	m.Bytes()[5] = 1
	if err := unix.Fallocate(m.Descriptor(), unix.FALLOC_FL_PUNCH_HOLE|unix.FALLOC_FL_KEEP_SIZE, 0, 1<<17); err != nil || m.Bytes()[5] != 0 {
		t.Errorf("a hole: %v, %d", err, m.Bytes()[5])
	}
}

// TestForeignMemory is refused, with words.
func TestForeignMemory(t *testing.T) {
	memfd := func(flags int, seals int) *os.File {
		fd, err := unix.MemfdCreate("foreign", flags)
		if err == nil {
			err = unix.Ftruncate(fd, 4096)
		}
		if err == nil && seals != 0 {
			_, err = unix.FcntlInt(uintptr(fd), unix.F_ADD_SEALS, seals)
		}
		if err != nil {
			t.Fatal(err)
		}
		return os.NewFile(uintptr(fd), "foreign")
	}
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = w.Close() }()
	file, err := os.Create(filepath.Join(t.TempDir(), "file"))
	if err != nil {
		t.Fatal(err)
	}
	huge := memfd(unix.MFD_ALLOW_SEALING, 0)
	if err := huge.Truncate(longest + 1); err != nil {
		t.Fatal(err)
	}
	for name, f := range map[string]*os.File{
		"pipe": r, "too long": huge, "grown no more": memfd(unix.MFD_ALLOW_SEALING, unix.F_SEAL_GROW),
		"written no more": memfd(unix.MFD_ALLOW_SEALING, unix.F_SEAL_WRITE),
	} {
		if _, err := OpenMemory(f); !errors.Is(err, ErrForeign) {
			t.Errorf("%s: %v, want %v", name, err, ErrForeign)
		}
		_ = f.Close()
	}
	_ = file.Close()
	// What an earlier version has made before Linux 6.3 cannot be sealed, and is taken.
	old, err := OpenMemory(memfd(0, 0))
	if err != nil {
		t.Fatal(err)
	}
	_ = old.Close()
}

// TestCountOfRestarts that somebody has written to begins with 0.
func TestCountOfRestarts(t *testing.T) {
	for _, spoil := range []func(*Memory){
		func(m *Memory) { binary.NativeEndian.PutUint64(m.Bytes(), 5) },
		func(m *Memory) { _ = m.Resize(100) },
	} {
		m, err := NewMemory(restartsName)
		if err == nil {
			err = m.Resize(restartsSize)
		}
		if err != nil {
			t.Fatal(err)
		}
		binary.NativeEndian.PutUint64(m.Bytes(), restartsMagic)
		spoil(m)
		k := Nothing()
		k.received = map[string]*os.File{restartsName: m.file}
		if found := k.counted(); found != nil {
			t.Errorf("taken for a count: %x", found.Bytes())
		}
		_ = m.unmap()
	}
}

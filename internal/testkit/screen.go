package testkit

import (
	"os"
	"strings"
	"sync"
	"testing"
	"unsafe"

	"golang.org/x/sys/unix"
)

// Screen is a terminal to write to, and what is on it so far.
func Screen(t testing.TB) (screen *os.File, text func() string) {
	t.Helper()
	t.Setenv("TERM", "xterm")
	reader, err := os.OpenFile("/dev/ptmx", os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = reader.Close() })
	var unlocked int32
	if _, _, errno := unix.Syscall(unix.SYS_IOCTL, reader.Fd(), unix.TIOCSPTLCK, uintptr(unsafe.Pointer(&unlocked))); errno != 0 {
		t.Fatal(errno)
	}
	number, _, errno := unix.Syscall(unix.SYS_IOCTL, reader.Fd(), unix.TIOCGPTPEER, unix.O_RDWR|unix.O_NOCTTY|unix.O_CLOEXEC)
	if errno != 0 {
		t.Fatal(errno)
	}
	screen = os.NewFile(number, "screen")
	t.Cleanup(func() { _ = screen.Close() })
	var mu sync.Mutex
	var shown strings.Builder
	go func() {
		for b := make([]byte, 4096); ; {
			n, err := reader.Read(b)
			mu.Lock()
			shown.Write(b[:n])
			mu.Unlock()
			if err != nil {
				return // the screen is closed
			}
		}
	}()
	return screen, func() string {
		mu.Lock()
		defer mu.Unlock()
		return shown.String()
	}
}

package childtest

import (
	"errors"
	"net"
	"testing"

	"golang.org/x/sys/unix"

	"verdictd/internal/traffic"
)

// roomy is a receive buffer for what comes while the receiver waits for a CPU, in bytes.
const roomy = 64 << 20

// Roomy makes a socket's receive buffer as large as the system grants: a test process that waits for a CPU loses
// packets otherwise, and the daemon has not lost them.
func Roomy(t testing.TB, c *net.UDPConn) {
	t.Helper()
	control(t, c, func(fd int) error {
		if unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_RCVBUFFORCE, roomy) == nil {
			return nil
		}
		return unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_RCVBUF, roomy) // an ordinary user's
	})
}

// Overflowed is how many packets have come to a socket whose buffer was full.
func Overflowed(t testing.TB, c *net.UDPConn) (n int) {
	t.Helper()
	control(t, c, func(fd int) error {
		drops, err := traffic.SocketDrops(fd)
		n = int(drops)
		return err
	})
	return n
}

func control(t testing.TB, c *net.UDPConn, f func(fd int) error) {
	t.Helper()
	raw, err := c.SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	var inner error
	outer := raw.Control(func(fd uintptr) { inner = f(int(fd)) })
	if err := errors.Join(outer, inner); err != nil {
		t.Fatal(err)
	}
}

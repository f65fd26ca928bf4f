package testbed

import (
	"fmt"

	"golang.org/x/sys/unix"
)

// RoomToReceive gives a socket's receive buffer twice what so many small packets fill. Where the force is not allowed
// the system's maximum has to do.
func RoomToReceive(fd, packets int) error {
	const truesize = 2 << 10
	size := 2 * packets * truesize
	if unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_RCVBUFFORCE, size) == nil {
		return nil
	}
	if err := unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_RCVBUF, size); err != nil {
		return fmt.Errorf("set the receive buffer: %w", err)
	}
	return nil
}

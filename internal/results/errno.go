package results

import (
	"errors"

	"golang.org/x/sys/unix"
)

// ErrnoName is the key by which results count an error: the errno's name, or what the error says where it has none.
func ErrnoName(err error) string {
	if errno, ok := errors.AsType[unix.Errno](err); ok {
		if name := unix.ErrnoName(errno); name != "" {
			return name
		}
	}
	return err.Error()
}

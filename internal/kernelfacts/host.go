package kernelfacts

import (
	"fmt"

	"golang.org/x/sys/unix"
)

// Release is the running kernel's release, as `uname -r` prints it.
func Release() (string, error) {
	var name unix.Utsname
	if err := unix.Uname(&name); err != nil {
		return "", fmt.Errorf("uname: %w", err)
	}
	return unix.ByteSliceToString(name.Release[:]), nil
}

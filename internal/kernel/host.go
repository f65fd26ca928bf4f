package kernel

import (
	"fmt"
	"os"
	"strconv"
	"strings"

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

// Taint is the kernel's taint mask, 0 for a kernel that nothing has gone wrong
// with. Bit 7 is an oops, bit 9 a warning; the others are listed in the
// kernel's Documentation/admin-guide/tainted-kernels.rst.
func Taint() (uint64, error) {
	const path = "/proc/sys/kernel/tainted"
	text, err := os.ReadFile(path)
	if err != nil {
		return 0, fmt.Errorf("read the kernel's taint mask: %w", err)
	}
	mask, err := strconv.ParseUint(strings.TrimSpace(string(text)), 10, 64)
	if err != nil {
		return 0, fmt.Errorf("read the kernel's taint mask from %s: %w", path, err)
	}
	return mask, nil
}

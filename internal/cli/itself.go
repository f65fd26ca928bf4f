package cli

import (
	"os"
	"os/exec"
	"path/filepath"
)

// self is the file that runs.
const self = "/proc/self/exe"

// Itself is the path by which this program is executed once more. To be called at the start: it is the path by which
// the program was started, so that a version that is put there later is the next one to run; or else the file that
// runs, which may have no path any more.
func Itself() string {
	if path, err := exec.LookPath(os.Args[0]); err == nil && runs(path) {
		if path, err = filepath.Abs(path); err == nil {
			return path
		}
	}
	if path, err := os.Executable(); err == nil && runs(path) {
		return path
	}
	return self
}

// runs reports whether it is this file that runs.
func runs(path string) bool {
	this, err := os.Stat(self)
	if err != nil {
		return false
	}
	that, err := os.Stat(path) //nolint:gosec // only compared
	return err == nil && os.SameFile(this, that)
}

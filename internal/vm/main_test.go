package vm

import (
	"fmt"
	"os"
	"slices"
	"testing"
)

// The tests' own program is the init of the machines that they boot.
func TestMain(m *testing.M) {
	if os.Getpid() == 1 && slices.Contains(os.Args, "guest") {
		fmt.Fprintln(os.Stderr, Guest())
		os.Exit(1)
	}
	os.Exit(m.Run())
}

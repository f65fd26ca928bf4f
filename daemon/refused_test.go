package main

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"verdictd/internal/testkit"
)

// crashed reports whether a Go program has ended in a crash.
func crashed(status int, said string) bool {
	return status == 2 || strings.Contains(said, "goroutine ")
}

// working are commands that need the kernel.
func working(t *testing.T) [][]string {
	t.Helper()
	file := filepath.Join(t.TempDir(), "verdictd.yaml")
	if err := os.WriteFile(file, []byte("guard: {mode: hold}\nqueues: {count: 2}\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	for dir := filepath.Dir(file); dir != os.TempDir(); dir = filepath.Dir(dir) {
		if err := os.Chmod(dir, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	return [][]string{
		{"run", "--config", file}, {"guard"}, {"rules", "apply", "--config", file}, {"rules", "show", "--config", file},
		{"rules", "remove", "--config", file}, {"release", "--config", file},
	}
}

// TestWithoutCapability: nothing that fails to open is closed as if it were open.
func TestWithoutCapability(t *testing.T) {
	testkit.Namespace(t)
	for _, args := range working(t) {
		var status int
		var said string
		var err error
		for _, as := range strangers() {
			if status, _, said, err = verdictd(t, as, args...); err == nil {
				break
			}
		}
		if err != nil {
			t.Skipf("nobody without rights can be had here: %v", err)
		}
		if status != 1 || crashed(status, said) || !strings.Contains(said, "operation not permitted") {
			t.Errorf("%s: exit status %d, %s", args[0], status, said)
		}
	}
}

// TestFewDescriptors: a start that fails at any place ends in order.
func TestFewDescriptors(t *testing.T) {
	testkit.Namespace(t)
	program, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	for _, args := range working(t)[:2] {
		for n := 9; n < 13; n++ { // with less, Go cannot begin
			ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
			cmd := exec.CommandContext(ctx, "/bin/sh", append([]string{"-c", fmt.Sprintf(`ulimit -n %d; exec "$0" "$@"`, n), program}, args...)...)
			cmd.Env = append(os.Environ(), asCommand+"=1")
			out, _ := cmd.CombinedOutput()
			cancel()
			if status := cmd.ProcessState.ExitCode(); status != 1 || crashed(status, string(out)) {
				t.Errorf("%s with %d descriptors: %v\n%s", args[0], n, cmd.ProcessState, bytes.TrimSpace(out))
			}
		}
	}
}

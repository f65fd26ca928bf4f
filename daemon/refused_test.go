package main

import (
	"bufio"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
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
	if err := os.WriteFile(file, []byte("guard: {mode: hold}\nqueues: {count: 2}\ncontrol: {socket: \"\"}\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	for dir := filepath.Dir(file); dir != os.TempDir(); dir = filepath.Dir(dir) {
		if err := os.Chmod(dir, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	return [][]string{
		{"run", "--config", file}, {"guard", "--config", file}, {"rules", "apply", "--config", file}, {"rules", "show", "--config", file},
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

// TestFewDescriptors: a start that fails at any place ends with an error, and one that succeeds is stopped in order.
func TestFewDescriptors(t *testing.T) {
	testkit.Namespace(t)
	for _, args := range working(t)[:2] {
		for n := 9; n < 17; n++ { // with less, Go cannot begin
			want, status, said := withDescriptors(t, n, args)
			if status != want || crashed(status, said) {
				t.Errorf("%s with %d descriptors: exit status %d, want %d\n%s", args[0], n, status, want, said)
			}
		}
	}
}

// withDescriptors runs the program, which may open n files. One that begins to work is told to stop, and should end
// with status 0. Others should end by themselves, with status 1.
func withDescriptors(t *testing.T, n int, args []string) (want, status int, said string) {
	t.Helper()
	program, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, "/bin/sh", append([]string{"-c", fmt.Sprintf(`ulimit -n %d; exec "$0" "$@"`, n), program}, args...)...)
	cmd.Env = append(os.Environ(), asCommand+"=1")
	stderr, err := cmd.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	want = 1
	for lines := bufio.NewScanner(stderr); lines.Scan(); {
		said += lines.Text() + "\n"
		if begun := strings.Contains(lines.Text(), "guard begins") || strings.Contains(lines.Text(), "verdicts begin"); begun {
			want = 0
			_ = cmd.Process.Signal(syscall.SIGTERM) // what has ended by itself shows by its status
		}
	}
	_ = cmd.Wait()
	return want, cmd.ProcessState.ExitCode(), said
}

package bench

import (
	"errors"
	"os"
	"path/filepath"
	"testing"
	"time"
)

// fakeProc makes a process 7 with these threads.
func fakeProc(t *testing.T, schedstat map[string]string) string {
	t.Helper()
	proc := t.TempDir()
	for thread, text := range schedstat {
		dir := filepath.Join(proc, "7", "task", thread)
		if err := os.MkdirAll(dir, 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, "schedstat"), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return proc
}

func TestReadCPU(t *testing.T) {
	before, err := ReadCPU(fakeProc(t, map[string]string{"7": "1000 5 2\n", "8": "2000 0 1\n"}), 7)
	if err != nil {
		t.Fatal(err)
	}
	after, err := ReadCPU(fakeProc(t, map[string]string{"7": "1500 9 9\n", "8": "2000 0 1\n", "9": "30 0 1\n"}), 7)
	if err != nil {
		t.Fatal(err)
	}
	if spent, err := after.Since(before); err != nil || spent != 530 {
		t.Errorf("spent %d ns, %v, want 500 of thread 7 and 30 of the new one", spent, err)
	}
	if _, err := before.Since(after); !errors.Is(err, errThreadEnded) {
		t.Errorf("thread 9 is gone: %v", err)
	}
}

func TestReadCPURefuses(t *testing.T) {
	for _, text := range []string{"", "1000 5", "1000 5 2 1", "x 5 2"} {
		if usage, err := ReadCPU(fakeProc(t, map[string]string{"7": text}), 7); err == nil {
			t.Errorf("%q: %v", text, usage)
		}
	}
	if _, err := ReadCPU(t.TempDir(), 7); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("no such process: %v", err)
	}
}

// TestReadCPUOfKernel lets a thread of this process work.
func TestReadCPUOfKernel(t *testing.T) {
	before, err := ReadCPU("/proc", os.Getpid())
	if err != nil {
		t.Fatal(err)
	}
	const atLeast = 20 * time.Millisecond
	var spent time.Duration
	for deadline := time.Now().Add(time.Minute); spent < atLeast; {
		after, err := ReadCPU("/proc", os.Getpid())
		if err != nil {
			t.Fatal(err)
		}
		if spent, err = after.Since(before); err != nil {
			t.Fatal(err)
		}
		if time.Now().After(deadline) {
			t.Fatalf("%v of CPU time after 10 s of work", spent)
		}
	}
}

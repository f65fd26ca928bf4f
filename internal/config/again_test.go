package config

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

func TestLoadAgain(t *testing.T) {
	path := filepath.Join(t.TempDir(), "f.yaml")
	put := func(text string) {
		t.Helper()
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	put("queues:\n  count: 2\nguard: {mode: hold}\n")
	f, err := LoadAgain(path)
	if err != nil {
		t.Fatal(err)
	}
	for key, want := range map[string]string{
		"queues.count": ":2:10: queues.count: no 2", "guard.mode": ":3:15: guard.mode: no 2",
		"queues.first": ":1:1: queues.first: no 2", "metrics.listen": ":1:1: metrics.listen: no 2",
	} {
		if got := f.Problem(key, "no %d", 2).Error(); got != path+want {
			t.Errorf("problem of %s: %s, want %s", key, got, want)
		}
	}
	for text, want := range map[string]string{"": "is empty", " \n": "is empty", "queues: {count: 0}\n": ":1:17: "} {
		put(text)
		if _, err := LoadAgain(path); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v, want %s", text, err, want)
		}
	}
	if _, err := LoadAgain(filepath.Join(path, "none")); err == nil {
		t.Error("a file that is not there was read")
	}
	put("{}\n")
	if _, err := LoadAgain(path); err != nil {
		t.Error(err)
	}
	// A clock that was set back leaves files from the future.
	later := time.Now().Add(time.Hour)
	if err := os.Chtimes(path, later, later); err != nil {
		t.Fatal(err)
	}
	if _, err := LoadAgain(path); err != nil {
		t.Error(err)
	}
}

// TestLoadAgainWhileItIsWritten: what is written piece by piece is read when it is whole.
func TestLoadAgainWhileItIsWritten(t *testing.T) {
	path := filepath.Join(t.TempDir(), "f.yaml")
	f, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	ended := make(chan error)
	go func() {
		var err error
		for _, line := range []string{"queues:\n", "  count: 2\n", "guard:\n", "  mode: hold\n"} {
			if _, err = f.WriteString(line); err != nil {
				break
			}
			time.Sleep(5 * time.Millisecond)
		}
		_ = f.Close()
		ended <- err
	}()
	got, err := LoadAgain(path)
	if werr := <-ended; err != nil || werr != nil {
		t.Fatal(err, werr)
	}
	if got.Queues.Count != 2 || got.Guard.Mode != "hold" {
		t.Errorf("read as %+v, %+v", got.Queues, got.Guard)
	}
}

// TestLoadAgainAfterRename: a file that replaced another one as a whole is not waited for, and one that was written in
// place is.
func TestLoadAgainAfterRename(t *testing.T) {
	path := filepath.Join(t.TempDir(), "f.yaml")
	const text = "queues: {count: 2}\n"
	for _, replaced := range []bool{false, true} {
		shortest := time.Hour // a try may wait for a CPU
		for range 5 {
			name := path
			if replaced {
				name += ".new"
			}
			began := time.Now() // before it is written: what is late to be read is old enough sooner
			if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
				t.Fatal(err)
			}
			if replaced {
				time.Sleep(10 * time.Millisecond) // a tick of the clock of inodes, which is 10 ms at most
				if err := os.Rename(name, path); err != nil {
					t.Fatal(err)
				}
				began = time.Now()
			}
			f, err := LoadAgain(path)
			if err != nil || f.Queues.Count != 2 {
				t.Fatal(f, err)
			}
			shortest = min(shortest, time.Since(began))
		}
		if waited := shortest > settled/2; waited == replaced {
			t.Errorf("replaced as a whole: %v, was read after %v", replaced, shortest)
		}
	}
}

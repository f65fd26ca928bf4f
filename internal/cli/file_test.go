package cli

import (
	"os"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"
)

// TestWriteFile: a file and what a link names are replaced; a device is written to; nothing else is left.
func TestWriteFile(t *testing.T) {
	folder := t.TempDir()
	file, link := filepath.Join(folder, "file"), filepath.Join(folder, "link")
	if err := os.Symlink(file, link); err != nil {
		t.Fatal(err)
	}
	for i, path := range []string{file, link, file} {
		document := []byte{byte('a' + i)}
		if err := CanWrite(path); err != nil {
			t.Error(err)
		}
		if err := WriteFile(path, document); err != nil {
			t.Error(err)
		}
		if b, err := os.ReadFile(file); err != nil || string(b) != string(document) {
			t.Errorf("%q, %v, want %q", b, err, document)
		}
	}
	if info, err := os.Lstat(link); err != nil || info.Mode().IsRegular() {
		t.Errorf("the link is one no more (%v)", err)
	}
	if left, err := os.ReadDir(folder); err != nil || len(left) != 2 {
		t.Errorf("%v, %v: want the file and its link alone", left, err)
	}
	if err := WriteFile("/dev/null", []byte("x")); err != nil {
		t.Error(err)
	}
	if err := WriteFile("/dev/full", []byte("x")); err == nil {
		t.Error("a full device is no error")
	}
}

// TestWriteFileToPipe: a pipe without a reader does not stop a program that is about to end.
func TestWriteFileToPipe(t *testing.T) {
	pipe := filepath.Join(t.TempDir(), "pipe")
	if err := unix.Mkfifo(pipe, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := WriteFile(pipe, []byte("x")); err == nil {
		t.Error("nobody reads, and that is no error")
	}
	r, err := os.OpenFile(pipe, os.O_RDONLY|unix.O_NONBLOCK, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = r.Close() }()
	if err := WriteFile(pipe, []byte("text")); err != nil {
		t.Error(err)
	}
	b := make([]byte, 10)
	if n, err := r.Read(b); err != nil || string(b[:n]) != "text" {
		t.Errorf("%q, %v", b[:n], err)
	}
}

func TestCanWrite(t *testing.T) {
	folder := t.TempDir()
	file := filepath.Join(folder, "new", "one", "file")
	if err := CanWrite(file); err != nil {
		t.Errorf("its folders are not made: %v", err)
	}
	if err := WriteFile(file, []byte("x")); err != nil {
		t.Error(err)
	}
	for _, path := range []string{folder, filepath.Join(file, "below")} {
		if CanWrite(path) == nil {
			t.Errorf("%s: no error", path)
		}
	}
}

package config

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// TestLoadIsBounded: what is no configuration ends with a word, and takes neither time nor memory to speak of.
func TestLoadIsBounded(t *testing.T) {
	large := filepath.Join(t.TempDir(), "large.yaml")
	if err := os.WriteFile(large, []byte(strings.Repeat("# nothing\n", 2<<20)), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{large, "/dev/zero"} {
		began := time.Now()
		_, err := Load(path)
		if err == nil || !strings.Contains(err.Error(), "1 MiB") {
			t.Errorf("%s: %v, want an error that names 1 MiB", path, err)
		}
		if d := time.Since(began); d > 5*time.Second {
			t.Errorf("%s took %v", path, d)
		}
	}
	if _, err := Load("/dev/null"); err != nil {
		t.Errorf("nothing at all is the default, and was refused: %v", err)
	}
}

// TestLoadFromPipe: the shell's <(...) writes late, and a pipe that nobody writes to is not an empty file.
func TestLoadFromPipe(t *testing.T) {
	path := filepath.Join(t.TempDir(), "pipe")
	if err := unix.Mkfifo(path, 0o600); err != nil {
		t.Fatal(err)
	}
	wrote := make(chan error, 1)
	go func() {
		time.Sleep(50 * time.Millisecond)
		wrote <- os.WriteFile(path, []byte("queues: {count: 3}\n"), 0)
	}()
	c, err := Load(path)
	if err != nil || c.Queues.Count != 3 {
		t.Errorf("%+v, %v; want 3 queues", c, err)
	}
	if err := <-wrote; err != nil {
		t.Error(err)
	}
}

// TestNestingIsBounded: each of these takes a parser's stack without an end.
func TestNestingIsBounded(t *testing.T) {
	for _, part := range []string{"[", "- ", "{a: ", "[a, ", "a: [", "- [a,", "{? "} {
		_, err := Parse("deep.yaml", []byte(strings.Repeat(part, maxFile/len(part)/4)))
		if err == nil {
			t.Errorf("%q, over and over: no error", part)
		}
	}
	nested := fmt.Sprintf("queues: {pin: %s1%s}", strings.Repeat("[", maxDepth+1), strings.Repeat("]", maxDepth+1))
	if _, err := Parse("deep.yaml", []byte(nested)); err == nil || !strings.Contains(err.Error(), "deep.yaml:1:") {
		t.Errorf("%v, want an error with a line", err)
	}
}

func TestByteOrderMarks(t *testing.T) {
	c, err := Parse("marked.yaml", []byte("\xef\xbb\xbfbackend: gonfqueue\n"))
	if err != nil || c.Backend != "gonfqueue" {
		t.Errorf("%+v, %v; want the file behind its mark", c, err)
	}
	for mark, encoding := range map[string]string{
		"\xff\xfe": "UTF-16", "\xfe\xff": "UTF-16", "\xff\xfe\x00\x00": "UTF-32", "\x00\x00\xfe\xff": "UTF-32",
	} {
		if _, err := Parse("marked.yaml", []byte(mark+"b\x00")); err == nil || !strings.Contains(err.Error(), encoding) {
			t.Errorf("mark %x: %v, want an error that names %s", mark, err, encoding)
		}
	}
}

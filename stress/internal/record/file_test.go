package record

import (
	"bytes"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"testing"
)

// A device is written to, not replaced; a link stays one.
func TestResultFileKinds(t *testing.T) {
	folder := t.TempDir()
	link := filepath.Join(folder, "link")
	if err := os.Symlink(filepath.Join(folder, "file"), link); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(folder, "file"), []byte("of before"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{"/dev/null", link} {
		before, err := os.Lstat(path)
		if err != nil {
			t.Fatal(err)
		}
		f, err := openFile(path)
		if err != nil {
			t.Fatal(err)
		}
		if err := f.replace([]byte("{}")); err != nil {
			t.Error(err)
		}
		after, err := os.Lstat(path)
		if err != nil || after.Mode() != before.Mode() {
			t.Errorf("%s: %v became %v, %v", path, before.Mode(), after.Mode(), err)
		}
	}
	if b, err := os.ReadFile(link); err != nil || string(b) != "{}" {
		t.Errorf("%q, %v", b, err)
	}
	if left, err := os.ReadDir(folder); err != nil || len(left) != 2 {
		t.Errorf("%v, %v: want the file and its link alone", left, err)
	}
}

// Whoever reads the file meets a whole document, whenever that is.
func TestFileIsWholeAtAnyTime(t *testing.T) {
	path := filepath.Join(t.TempDir(), "result.json")
	f, err := openFile(path)
	if err != nil {
		t.Fatal(err)
	}
	documents := [][]byte{
		[]byte(`"` + string(bytes.Repeat([]byte("long"), 100_000)) + `"`),
		[]byte(`"short"`),
	}
	if err := f.replace(documents[0]); err != nil {
		t.Fatal(err)
	}
	written := make(chan error, 1)
	go func() {
		var errs []error
		for i := range 100 {
			errs = append(errs, f.replace(documents[i%2]))
		}
		written <- errors.Join(errs...)
	}()
	for read := 0; ; read++ {
		b, err := os.ReadFile(path)
		if err != nil || !json.Valid(b) {
			t.Fatalf("after %d readings: %v, %d bytes that are no document", read, err, len(b))
		}
		select {
		case err := <-written:
			if err != nil {
				t.Error(err)
			}
			return
		default:
		}
	}
}

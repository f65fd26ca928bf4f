package vm

import (
	"archive/tar"
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// tarball writes a userland of a few files, with /bin as a link as distributions have it.
func tarball(t *testing.T, entries ...*tar.Header) string {
	t.Helper()
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	for _, h := range entries {
		text := []byte(nil)
		if h.Typeflag == tar.TypeReg {
			var err error
			if text, err = os.ReadFile(h.Linkname); err != nil { // the file on the host
				t.Fatal(err)
			}
			h.Linkname, h.Size = "", int64(len(text))
		}
		if err := w.WriteHeader(h); err != nil {
			t.Fatal(err)
		}
		if _, err := w.Write(text); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	name := filepath.Join(t.TempDir(), "userland.tar")
	if err := os.WriteFile(name, b.Bytes(), 0o600); err != nil {
		t.Fatal(err)
	}
	return name
}

func TestUserlandBecomesAnArchive(t *testing.T) {
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, []byte("text"), 0o600); err != nil {
		t.Fatal(err)
	}
	name := tarball(t,
		&tar.Header{Name: "./usr/bin/", Typeflag: tar.TypeDir, Mode: 0o755},
		&tar.Header{Name: "./bin", Typeflag: tar.TypeSymlink, Linkname: "usr/bin"},
		&tar.Header{Name: "./usr/bin/su", Typeflag: tar.TypeReg, Mode: 0o4755, Uid: 3, Gid: 5, Linkname: file},
		&tar.Header{Name: "./usr/bin/sudo", Typeflag: tar.TypeLink, Linkname: "./usr/bin/su"},
		&tar.Header{Name: "./dev/null", Typeflag: tar.TypeChar, Mode: 0o666},
	)
	var out bytes.Buffer
	c := newCPIO(&out)
	if err := c.userland(name); err != nil {
		t.Fatal(err)
	}
	c.folder("bin") // a link already
	if err := c.close(); err != nil {
		t.Fatal(err)
	}
	text := out.String()
	for _, want := range []string{
		"000089ed0000000300000005", // a regular file, set-user-id, of owner 3 and group 5
		"usr/bin/su\x00", "text", "usr/bin/sudo\x00", "/usr/bin/su", "bin\x00",
	} {
		if !strings.Contains(text, want) {
			t.Errorf("%q is not in the archive", want)
		}
	}
	if strings.Contains(text, "dev/null") {
		t.Error("a device came along")
	}
}

// TestSystem boots a machine whose first process is another program, beside which the command runs.
func TestSystem(t *testing.T) {
	kernel := testKernel(t)
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	c := Config{
		Kernel: kernel, InitPath: testInit, InitArgs: []string{"guest"}, System: "/sbin/system",
		Root: tarball(t,
			&tar.Header{Name: "./usr/bin/", Typeflag: tar.TypeDir, Mode: 0o755},
			&tar.Header{Name: "./bin", Typeflag: tar.TypeSymlink, Linkname: "usr/bin"},
			&tar.Header{Name: "./sbin", Typeflag: tar.TypeSymlink, Linkname: "usr/bin"},
			&tar.Header{Name: "./usr/bin/system", Typeflag: tar.TypeReg, Mode: 0o755, Linkname: self}),
		Command: []string{testInit, "inside", "system"}, Timeout: 10 * time.Minute,
	}
	result, err := Run(t.Context(), c)
	if err != nil {
		t.Fatal(err)
	}
	if err := result.Failure(); err != nil {
		t.Fatalf("%v\n%s", err, result.Console)
	}
	if want := "first: /sbin/system\n"; !strings.Contains(string(result.Stdout), want) {
		t.Errorf("%q, want %q in it", result.Stdout, want)
	}
}

package vm

import (
	"bytes"
	"io"
	"os"
	"path"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// unpacked is an entry as the kernel reads it.
type unpacked struct {
	name string
	mode uint32
	body []byte
	rdev [2]uint64
}

// unpackCPIO reads an archive as init/initramfs.c does.
func unpackCPIO(t *testing.T, archive []byte) []unpacked {
	t.Helper()
	var all []unpacked
	r := bytes.NewReader(archive)
	take := func(n int) []byte {
		b := make([]byte, n)
		if _, err := io.ReadFull(r, b); err != nil {
			t.Fatalf("at %d of %d bytes: %v", len(archive)-r.Len(), len(archive), err)
		}
		return b
	}
	align := func() { take((4 - (len(archive)-r.Len())%4) % 4) }
	for {
		header := string(take(110))
		if header[:6] != "070701" {
			t.Fatalf("bad magic %q", header[:6])
		}
		var field [13]uint64
		for i := range field {
			n, err := strconv.ParseUint(header[6+8*i:14+8*i], 16, 32)
			if err != nil {
				t.Fatal(err)
			}
			field[i] = n
		}
		name := string(take(int(field[11])))
		align()
		e := unpacked{name: strings.TrimSuffix(name, "\x00"), mode: uint32(field[1]),
			rdev: [2]uint64{field[9], field[10]}}
		if len(e.name)+1 != len(name) {
			t.Fatalf("the name %q does not end with its only zero", name)
		}
		e.body = take(int(field[6]))
		align()
		if e.name == "TRAILER!!!" {
			if r.Len() != 0 {
				t.Errorf("%d bytes follow the trailer", r.Len())
			}
			return all
		}
		all = append(all, e)
	}
}

func TestArchiveComesBack(t *testing.T) {
	host := filepath.Join(t.TempDir(), "host")
	if err := os.WriteFile(host, []byte("five!"), 0o640); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(host, 0o751); err != nil {
		t.Fatal(err)
	}
	var b bytes.Buffer
	c := newCPIO(&b)
	c.device("dev/console", 5, 1)
	c.link("/sbin/modprobe", "../bin/kmod")
	if err := c.file("/a/b/c/file", host); err != nil {
		t.Fatal(err)
	}
	for n := range 9 { // every alignment
		c.text("a/b/text"+strings.Repeat("x", n), bytes.Repeat([]byte{'y'}, n))
	}
	c.text("a/b/text", []byte("the first one counts"))
	if err := c.close(); err != nil {
		t.Fatal(err)
	}
	seen := map[string]unpacked{"": {mode: unix.S_IFDIR}}
	for _, e := range unpackCPIO(t, b.Bytes()) {
		if _, twice := seen[e.name]; twice {
			t.Errorf("%s is there twice", e.name)
		}
		parent := path.Dir(e.name)
		if parent == "." {
			parent = ""
		}
		if seen[parent].mode&unix.S_IFMT != unix.S_IFDIR {
			t.Errorf("%s comes before the folder that it is in", e.name)
		}
		seen[e.name] = e
	}
	if e := seen["dev/console"]; e.mode != unix.S_IFCHR|0o600 || e.rdev != [2]uint64{5, 1} {
		t.Errorf("the console: %+v", e)
	}
	if e := seen["sbin/modprobe"]; e.mode&unix.S_IFMT != unix.S_IFLNK || string(e.body) != "../bin/kmod" {
		t.Errorf("the link: %+v", e)
	}
	if e := seen["a/b/c/file"]; e.mode != unix.S_IFREG|0o751 || string(e.body) != "five!" {
		t.Errorf("the file: %+v", e)
	}
	for n := range 9 {
		if e := seen["a/b/text"+strings.Repeat("x", n)]; len(e.body) != n || e.mode != unix.S_IFREG|0o644 {
			t.Errorf("text %d: %+v", n, e)
		}
	}
}

func TestArchiveRefuses(t *testing.T) {
	c := newCPIO(io.Discard)
	if err := c.file("x", "/does/not/exist"); err == nil {
		t.Error("a file that does not exist")
	}
	if err := c.file("x", "/dev/null"); err == nil {
		t.Error("a device as a file")
	}
}

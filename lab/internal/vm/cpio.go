package vm

import (
	"bufio"
	"fmt"
	"io"
	"os"
	"path"
	"slices"
	"strings"

	"golang.org/x/sys/unix"
)

// A cpioWriter writes an archive in the format "newc", which the kernel unpacks into its first root
// (Documentation/driver-api/early-userspace/buffer-format.rst). A parent folder is written before what it holds: the
// kernel does not make it by itself.
type cpioWriter struct {
	w     *bufio.Writer
	inode int
	seen  []string // sorted names of what was written
	err   error
}

func newCPIO(w io.Writer) *cpioWriter { return &cpioWriter{w: bufio.NewWriterSize(w, 1<<20)} }

// entry is what a header says.
type entry struct {
	name         string // absolute
	mode         uint32
	uid, gid     int
	size         int64
	major, minor int
}

// begin writes a header with the folders above it. It is false where the name was written before.
func (c *cpioWriter) begin(e entry) bool {
	e.name = strings.TrimPrefix(path.Clean("/"+e.name), "/")
	at, there := slices.BinarySearch(c.seen, e.name)
	if c.err != nil || there || e.name == "" {
		return false
	}
	if parent := path.Dir(e.name); parent != "." {
		c.folder(parent)
		at, _ = slices.BinarySearch(c.seen, e.name)
	}
	c.seen = slices.Insert(c.seen, at, e.name)
	c.header(e)
	return c.err == nil
}

func (c *cpioWriter) header(e entry) {
	if e.size > 0xffffffff {
		c.err = fmt.Errorf("%s is too large for an initramfs", e.name)
		return
	}
	c.inode++
	// inode, mode, owner, group, links, time, size, device, special device, name's length, checksum
	_, err := fmt.Fprintf(c.w, "070701%08x%08x%08x%08x%08x%08x%08x%08x%08x%08x%08x%08x%08x%s\x00",
		c.inode, e.mode, e.uid, e.gid, 1, 0, e.size, 0, 0, e.major, e.minor, len(e.name)+1, 0, e.name)
	c.fail(err)
	c.pad(110 + int64(len(e.name)) + 1)
}

// pad fills up to a multiple of four what has n bytes.
func (c *cpioWriter) pad(n int64) {
	_, err := c.w.Write(make([]byte, -n&3))
	c.fail(err)
}

func (c *cpioWriter) fail(err error) {
	if c.err == nil {
		c.err = err
	}
}

func (c *cpioWriter) folder(name string) {
	c.begin(entry{name: name, mode: unix.S_IFDIR | 0o755})
}

func (c *cpioWriter) device(name string, major, minor int) {
	c.begin(entry{name: name, mode: unix.S_IFCHR | 0o600, major: major, minor: minor})
}

func (c *cpioWriter) link(name, target string) {
	c.bytes(entry{name: name, mode: unix.S_IFLNK | 0o777}, []byte(target))
}

func (c *cpioWriter) text(name string, text []byte) {
	c.bytes(entry{name: name, mode: unix.S_IFREG | 0o644}, text)
}

func (c *cpioWriter) bytes(e entry, b []byte) {
	e.size = int64(len(b))
	if !c.begin(e) {
		return
	}
	_, err := c.w.Write(b)
	c.fail(err)
	c.pad(e.size)
}

// file copies a regular file of the host.
func (c *cpioWriter) file(name, host string) error {
	f, err := os.Open(host)
	if err != nil {
		return err
	}
	defer f.Close() //nolint:errcheck // nothing was written
	info, err := f.Stat()
	if err != nil {
		return err
	}
	if !info.Mode().IsRegular() {
		return fmt.Errorf("%s is not a regular file", host)
	}
	if !c.begin(entry{name: name, mode: unix.S_IFREG | uint32(info.Mode().Perm()), size: info.Size()}) {
		return c.err
	}
	if n, err := io.Copy(c.w, io.LimitReader(f, info.Size())); err != nil || n != info.Size() {
		c.fail(fmt.Errorf("copy %s: %d of %d bytes: %w", host, n, info.Size(), err))
	}
	c.pad(info.Size())
	return c.err
}

func (c *cpioWriter) close() error {
	c.header(entry{name: "TRAILER!!!"})
	c.fail(c.w.Flush())
	return c.err
}

package vm

import (
	"archive/tar"
	"errors"
	"fmt"
	"io"
	"os"
	"path"
	"strings"

	"golang.org/x/sys/unix"
)

// userland copies a tarball. What comes first is what counts: it is called before anything else is written, so that a
// folder that is a link there, such as /bin, stays one. Devices are left out, as the guest mounts its own.
func (c *cpioWriter) userland(name string) error {
	f, err := os.Open(name)
	if err != nil {
		return err
	}
	defer f.Close() //nolint:errcheck // nothing was written
	archive := tar.NewReader(f)
	for c.err == nil {
		h, err := archive.Next()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return fmt.Errorf("read %s: %w", name, err)
		}
		e := entry{name: h.Name, mode: uint32(h.Mode) & 0o7777, uid: h.Uid, gid: h.Gid}
		switch h.Typeflag {
		case tar.TypeDir:
			e.mode |= unix.S_IFDIR
			c.begin(e)
		case tar.TypeSymlink:
			c.link(h.Name, h.Linkname)
		case tar.TypeLink: // another name of a file that came before
			c.link(h.Name, path.Join("/", h.Linkname)) //nolint:gosec // into an archive for the guest, where it is its own
		case tar.TypeReg:
			e.mode, e.size = e.mode|unix.S_IFREG, h.Size
			if !c.begin(e) {
				continue
			}
			_, err := io.Copy(c.w, archive) //nolint:gosec // of the cache's own making
			c.fail(err)
			c.pad(h.Size)
		}
	}
	return c.err
}

// agent is the environment that tells this program, as it starts, that it runs beside the guest's system.
const agent = "VERDICTD_LAB_AGENT"

// handOver starts this program once more, to run the command, and becomes the guest's system. It does not return
// unless it fails.
func handOver(system string) error {
	self, err := os.Executable()
	if err != nil {
		return err
	}
	files := []*os.File{os.Stdin, os.Stdout, os.Stderr}
	// Not waited for: it is the system's child when that is here.
	if _, err := os.StartProcess(self, os.Args, &os.ProcAttr{
		Files: files, Env: append(os.Environ(), agent+"=1"), Sys: &unix.SysProcAttr{Setsid: true},
	}); err != nil {
		return fmt.Errorf("start beside %s: %w", system, err)
	}
	// The kernel's words that it does not know come to init as arguments; they are not the system's.
	return fmt.Errorf("become %s: %w", system, unix.Exec(system, []string{system}, withoutAgent(os.Environ())))
}

func withoutAgent(env []string) (list []string) {
	for _, v := range env {
		if !strings.HasPrefix(v, agent+"=") {
			list = append(list, v)
		}
	}
	return list
}

package vm

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"slices"
	"strings"

	"github.com/ulikunitz/xz"
)

// Tree is the modules of one kernel.
type Tree struct {
	dir     string              // on the host: /lib/modules/RELEASE, or elsewhere what would be there
	needs   map[string][]string // of each module's file, relative: those that have to be loaded before it, itself last
	files   map[string]string   // by name
	builtin map[string]bool
}

// ModulesOf is where the modules of a kernel are that lies as distributions put it: FOLDER/boot/vmlinuz-RELEASE beside
// FOLDER/lib/modules/RELEASE, or lib/modules/RELEASE/vmlinuz. It is "" where there are none.
func ModulesOf(kernel string) string {
	dir, name := filepath.Split(kernel)
	dir = filepath.Clean(dir)
	candidates := []string{dir}
	if release, ok := strings.CutPrefix(name, "vmlinuz-"); ok {
		candidates = append(candidates, filepath.Join(filepath.Dir(dir), "lib/modules", release))
	}
	for _, c := range candidates {
		if _, err := os.Stat(filepath.Join(c, "modules.dep")); err == nil {
			return c
		}
	}
	return ""
}

// OpenTree reads a folder /lib/modules/RELEASE. It needs the index that depmod writes.
func OpenTree(dir string) (*Tree, error) {
	dep, err := os.Open(filepath.Join(dir, "modules.dep"))
	if err != nil {
		if errors.Is(err, fs.ErrNotExist) {
			return nil, fmt.Errorf("%s has no modules.dep: give the folder /lib/modules/RELEASE, after depmod has "+
				"run (depmod -b ROOT RELEASE)", dir)
		}
		return nil, fmt.Errorf("kernel modules: %w", err)
	}
	defer dep.Close() //nolint:errcheck // nothing was written
	t := &Tree{dir: dir, needs: map[string][]string{}, files: map[string]string{}, builtin: map[string]bool{}}
	if err := eachLine(dep, func(line string) {
		file, rest, ok := strings.Cut(line, ":")
		if !ok {
			return
		}
		// modules.dep names the last to be loaded first.
		order := strings.Fields(rest)
		slices.Reverse(order)
		t.needs[file] = append(order, file)
		t.files[ModuleName(file)] = file
	}); err != nil {
		return nil, fmt.Errorf("read %s: %w", dep.Name(), err)
	}
	builtin, err := os.Open(filepath.Join(dir, "modules.builtin"))
	if errors.Is(err, fs.ErrNotExist) {
		return t, nil
	}
	if err != nil {
		return nil, fmt.Errorf("kernel modules: %w", err)
	}
	defer builtin.Close() //nolint:errcheck // nothing was written
	err = eachLine(builtin, func(line string) { t.builtin[ModuleName(line)] = true })
	return t, err
}

func eachLine(f *os.File, do func(string)) error {
	s := bufio.NewScanner(f)
	s.Buffer(nil, 1<<20)
	for s.Scan() {
		do(s.Text())
	}
	return s.Err()
}

// ModuleName takes the name out of kernel/net/netfilter/xt_NFQUEUE.ko.xz.
func ModuleName(file string) string {
	name, _, _ := strings.Cut(path.Base(strings.TrimSpace(file)), ".ko")
	return strings.ReplaceAll(name, "-", "_")
}

// Release is the kernel that the modules are for.
func (t *Tree) Release() string { return filepath.Base(t.dir) }

// Dir is the folder that was opened.
func (t *Tree) Dir() string { return t.dir }

// Has says whether a module is there, as a file or built in.
func (t *Tree) Has(name string) bool {
	name = ModuleName(name)
	return t.builtin[name] || t.files[name] != ""
}

// Order are the files of modules and of what they need, below [Tree.Dir], in the order in which they can be loaded,
// each once. Those that are built in have none.
func (t *Tree) Order(names ...string) ([]string, error) {
	var order, missing []string
	for _, name := range names {
		file, ok := t.files[ModuleName(name)]
		switch {
		case ok:
		case t.builtin[ModuleName(name)]:
			continue
		default:
			missing = append(missing, name)
			continue
		}
		for _, f := range t.needs[file] {
			if !slices.Contains(order, f) {
				order = append(order, f)
			}
		}
	}
	if len(missing) > 0 {
		return nil, fmt.Errorf("the kernel %s has no module %s", t.Release(), strings.Join(missing, ", "))
	}
	return order, nil
}

// guestDir is where a guest has its modules.
func (t *Tree) guestDir() string { return "/lib/modules/" + t.Release() }

// writeUnpacked puts module files into the archive as every kernel takes them. It returns where they are in the guest.
func (t *Tree) writeUnpacked(c *cpioWriter, files []string) ([]string, error) {
	var at []string
	for _, file := range files {
		host := filepath.Join(t.dir, file)
		name, err := unpackedName(file)
		if err != nil {
			return nil, err
		}
		guest := path.Join(t.guestDir(), name)
		at = append(at, guest)
		if name == file {
			if err := c.file(guest, host); err != nil {
				return nil, fmt.Errorf("kernel module: %w", err)
			}
			continue
		}
		text, err := unpack(host)
		if err != nil {
			return nil, err
		}
		c.text(guest, text)
	}
	return at, c.err
}

// writeForModprobe puts module files into the archive as they are, with the index that names them.
func (t *Tree) writeForModprobe(c *cpioWriter, files []string) error {
	index, err := filepath.Glob(filepath.Join(t.dir, "modules.*"))
	if err != nil {
		return err
	}
	for _, host := range index {
		files = append(files, filepath.Base(host))
	}
	for _, file := range files {
		if err := c.file(path.Join(t.guestDir(), file), filepath.Join(t.dir, file)); err != nil {
			return fmt.Errorf("kernel module: %w", err)
		}
	}
	return nil
}

// unpackers open packed files, by the ends of the files' names. Zstandard is left to its program: few kernels use it.
var unpackers = map[string]func(io.Reader) (io.Reader, error){
	".ko":  nil,
	".gz":  func(r io.Reader) (io.Reader, error) { return gzip.NewReader(r) },
	".xz":  func(r io.Reader) (io.Reader, error) { return xz.NewReader(r) },
	".zst": unpackZstd,
}

func unpackedName(file string) (string, error) {
	ending := path.Ext(file)
	unpacker, ok := unpackers[ending]
	switch {
	case !ok:
		return "", fmt.Errorf("kernel module %s is packed in a way that is not known here", file)
	case unpacker == nil:
		return file, nil
	}
	return strings.TrimSuffix(file, ending), nil
}

func unpack(file string) ([]byte, error) {
	packed, err := os.Open(file)
	if err != nil {
		return nil, fmt.Errorf("kernel module: %w", err)
	}
	defer packed.Close() //nolint:errcheck // it was only read
	var text []byte
	r, err := unpackers[filepath.Ext(file)](packed)
	if err == nil {
		text, err = io.ReadAll(r)
	}
	if err != nil {
		return nil, fmt.Errorf("unpack %s: %w", file, err)
	}
	return text, nil
}

func unpackZstd(packed io.Reader) (io.Reader, error) {
	var stdout, stderr bytes.Buffer
	cmd := exec.Command("zstd", "-dc")
	cmd.Stdin, cmd.Stdout, cmd.Stderr = packed, &stdout, &stderr
	err := cmd.Run()
	if errors.Is(err, exec.ErrNotFound) {
		return nil, errors.New("the kernel's modules are packed, and zstd is not installed to unpack them")
	}
	if err != nil {
		return nil, fmt.Errorf("%w: %s", err, bytes.TrimSpace(stderr.Bytes()))
	}
	return &stdout, nil
}

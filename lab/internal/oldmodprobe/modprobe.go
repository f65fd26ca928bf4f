package oldmodprobe

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"

	"verdictd/internal/kernelfacts"
	"verdictd/lab/internal/vm"
)

// Version is what it says of itself.
const Version = "kmod version 18 (a stand-in of the lab with its race)"

// system is what modprobe needs of the machine.
type system struct {
	root    string
	release string
	insert  func(file string) error
}

// Main is the program: it returns the exit status.
func Main(args []string, stdout, stderr io.Writer) int {
	release, err := kernelfacts.Release()
	if err == nil {
		err = modprobe(system{root: "/", release: release, insert: insert}, args, stdout)
	}
	if err != nil {
		fmt.Fprintln(stderr, "modprobe:", err)
		return 1
	}
	return 0
}

func modprobe(s system, args []string, stdout io.Writer) error {
	var names []string
	for _, arg := range args {
		switch {
		case arg == "--version":
			_, err := fmt.Fprintln(stdout, Version)
			return err
		case arg == "-q" || arg == "--":
		case strings.HasPrefix(arg, "-"):
			return fmt.Errorf("the option %s is not among those that the kernel gives", arg)
		default:
			names = append(names, arg)
		}
	}
	if len(names) != 1 {
		return fmt.Errorf("%d modules named instead of one", len(names))
	}
	module, err := kernelfacts.FindModule(os.DirFS(s.root), s.release, names[0])
	if errors.Is(err, fs.ErrNotExist) {
		module, err = kernelfacts.NeedsOf(os.DirFS(s.root), s.release, names[0])
	}
	if err != nil || module.BuiltIn {
		return err
	}
	tree, err := vm.OpenTree(filepath.Join(s.root, "lib/modules", s.release))
	if err != nil {
		return err
	}
	files, err := tree.Order(module.Name)
	if err != nil {
		return err
	}
	// The module itself first: if it is there, so is what it needs.
	if there, err := s.inKernel(module.Name); there || err != nil {
		return err
	}
	for _, file := range files {
		if there, err := s.inKernel(vm.ModuleName(file)); err != nil {
			return err
		} else if there {
			continue
		}
		if err := s.insert(filepath.Join(tree.Dir(), file)); err != nil && !errors.Is(err, unix.EEXIST) {
			return fmt.Errorf("insert %s: %w", file, err)
		}
	}
	return nil
}

// inKernel says whether a module is live or built in, as kmod up to 19 did.
func (s system) inKernel(name string) (bool, error) {
	folder := filepath.Join(s.root, "sys/module", name)
	state, err := os.ReadFile(filepath.Join(folder, "initstate"))
	switch {
	case err == nil:
		return strings.TrimSpace(string(state)) == "live", nil
	case !errors.Is(err, fs.ErrNotExist):
		return false, err
	}
	info, err := os.Stat(folder)
	return err == nil && info.IsDir(), nil // the race
}

// insert loads a file, which the kernel unpacks if need be.
func insert(file string) error {
	f, err := os.Open(file)
	if err != nil {
		return err
	}
	defer f.Close() //nolint:errcheck // nothing was written
	flags := 0
	if !strings.HasSuffix(file, ".ko") {
		flags = unix.MODULE_INIT_COMPRESSED_FILE
	}
	return unix.FinitModule(int(f.Fd()), "", flags)
}

package modrace

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strings"

	"golang.org/x/sys/unix"

	"verdictd/internal/kernelfacts"
	"verdictd/internal/modules"
)

// ErrCannot says that this machine cannot show anything, and why.
var ErrCannot = errors.New("nothing can be shown here")

// System is what a run needs of the machine.
type System interface {
	// Root is the machine's root folder.
	Root() fs.FS
	// Release is the running kernel's release.
	Release() (string, error)
	// Run starts a program and returns its output.
	Run(ctx context.Context, name string, args ...string) ([]byte, error)
	// Ask has the kernel look for a part, see [modules.Part.Ask].
	Ask(part modules.Part) error
	// Unload takes a module out of the kernel, without waiting for its users.
	Unload(name string) error
}

// Target is what the threads ask for, and what is known of it.
type Target struct {
	Part modules.Part
	// Module is what the kernel loads for it, with those that it needs.
	Module kernelfacts.ModuleFile
	// Kmod is the program that loads it, Modprobe where the kernel finds that.
	Kmod     kernelfacts.Reading[kernelfacts.Kmod]
	Modprobe string
	// before are the modules that were loaded when the run began.
	before []string
}

// probeName is no module's. Who may unload modules gets ENOENT for it.
const probeName = "verdictd_no_such_module"

// Prepare finds the module behind a part, and whether it can be loaded and unloaded here. A module given by its name is
// not looked up. Where nothing can be shown the error is [ErrCannot], and tells the reason in words.
func Prepare(ctx context.Context, s System, part modules.Part, module string) (*Target, error) {
	t := &Target{Part: part}
	var err error
	if t.before, err = kernelfacts.LoadedModules(s.Root()); err != nil {
		if !errors.Is(err, fs.ErrNotExist) {
			return nil, err
		}
		return nil, cannot("this kernel has no loadable modules (there is no /proc/modules), and %s", presence(s, part))
	}
	release, err := s.Release()
	if err != nil {
		return nil, err
	}
	if module == "" {
		t.Module, err = kernelfacts.FindModule(s.Root(), release, part.Alias())
	} else {
		t.Module, err = kernelfacts.NeedsOf(s.Root(), release, module)
	}
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil, cannot("%v, and %s", err, presence(s, part))
	case err != nil:
		return nil, err
	case t.Module.BuiltIn:
		return nil, cannot("%s is built into this kernel", t.Module.Name)
	}
	if err := mayUnload(s); err != nil {
		return nil, err
	}
	if t.Modprobe, err = modprobe(s.Root()); err != nil {
		return nil, err
	}
	t.Kmod = kernelfacts.ReadKmod(ctx, func(ctx context.Context, name string, args ...string) ([]byte, error) {
		if name == "modprobe" {
			name = t.Modprobe // the one that the kernel runs, which may be another than a shell would
		}
		return s.Run(ctx, name, args...)
	})
	return t, t.check(s)
}

func cannot(format string, args ...any) error {
	return fmt.Errorf("%w: %s", ErrCannot, fmt.Sprintf(format, args...))
}

// presence says whether the kernel has a part, without knowing whether it is a module.
func presence(s System, part modules.Part) string {
	err := s.Ask(part)
	switch {
	case err == nil:
		return fmt.Sprintf("%s is there all the same: it is built in", part.Name)
	case errors.Is(err, modules.ErrNotThere):
		return fmt.Sprintf("%s is not there: %v", part.Name, err)
	}
	return fmt.Sprintf("whether %s is there is not known: %v", part.Name, err)
}

// mayUnload tries what needs the same right as unloading does.
func mayUnload(s System) error {
	err := s.Unload(probeName)
	switch {
	case errors.Is(err, unix.ENOENT):
		return nil
	case errors.Is(err, unix.ENOSYS):
		return cannot("this kernel cannot unload modules (CONFIG_MODULE_UNLOAD)")
	case !errors.Is(err, unix.EPERM):
		return cannot("unloading modules is refused: %v", err)
	}
	if disabled, err := fs.ReadFile(s.Root(), "proc/sys/kernel/modules_disabled"); err == nil &&
		strings.TrimSpace(string(disabled)) == "1" {
		return cannot("kernel.modules_disabled is 1: no module can be loaded or unloaded until the next boot")
	}
	return cannot("unloading modules takes CAP_SYS_MODULE in the first user namespace: be root there")
}

// modprobe is the program that the kernel runs.
func modprobe(root fs.FS) (string, error) {
	text, err := fs.ReadFile(root, "proc/sys/kernel/modprobe")
	if err != nil {
		return "", cannot("which program loads modules is not known: %v", err)
	}
	name := strings.TrimSpace(string(text))
	if name == "" {
		return "", cannot("kernel.modprobe is empty: the kernel loads no module by itself")
	}
	if _, err := fs.Stat(root, strings.TrimPrefix(name, "/")); err != nil {
		return "", cannot("kernel.modprobe names %s, which cannot be run: %v", name, err)
	}
	return name, nil
}

// check loads and unloads the module once, so that a round that fails means something.
func (t *Target) check(s System) error {
	if err := s.Ask(t.Part); err != nil {
		return cannot("one thread alone cannot get %s (module %s): %v", t.Part.Name, t.Module.Name, err)
	}
	if loaded, err := kernelfacts.LoadedModules(s.Root()); err != nil || !slices.Contains(loaded, t.Module.Name) {
		return cannot("%s is there, but module %s is not loaded: give the right one with --module (%v)", t.Part.Name,
			t.Module.Name, err)
	}
	return nil
}

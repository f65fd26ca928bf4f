package vm

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path"
	"strings"
	"time"
)

// Config says what to boot and what to run in it. Kernel, InitPath and Command are needed.
type Config struct {
	Kernel  string // a bzImage or vmlinuz
	Modules string // the folder /lib/modules/RELEASE of that kernel, "" for none

	// ModuleNames are loaded before the command runs, in this order, each after what it depends on. What is built in is
	// passed over; what is not there is an error.
	ModuleNames []string
	// LoadableNames are in the guest with what they depend on and what modprobe wants to know, but are not loaded: the
	// kernel asks the guest's /sbin/modprobe for them. Which program that is, Files say.
	LoadableNames []string

	// Root is a tarball of a distribution's userland, which the guest has as its root; "" for none. Files and modules
	// are added to it.
	Root string
	// System is a program of it, such as systemd, that becomes the guest's first process. The command runs beside it,
	// from the moment when it starts, and the machine ends with the command. "" for none.
	System string

	Files []File
	// Init is the program that calls Guest, "" for this process's own. InitPath is where the guest has it, InitArgs
	// are what it is started with there.
	Init     string
	InitPath string
	InitArgs []string

	Command []string
	Env     []string
	Memory  int      // MiB; 0: what the files need, and room to work
	CPUs    int      // 0: 2
	Append  []string // further words for the kernel's command line

	Timeout time.Duration // of the whole run; 0: DefaultTimeout

	// Accelerator is "kvm", "tcg" or "" for the better one that works.
	Accelerator string

	// Console gets the kernel's console, Stdout and Stderr the command's output, all while it comes. The Result has
	// them as well.
	Console, Stdout, Stderr io.Writer
}

// A File is copied from the host into the guest, with its permissions. An ELF program that is linked dynamically brings
// its interpreter and libraries.
type File struct {
	Host  string
	Guest string // absolute; "": where it is on the host
	// Link makes Guest a symbolic link to this path of the guest; Host is then empty.
	Link string
}

// DefaultTimeout bounds a run that does not say how long it may take.
const DefaultTimeout = 5 * time.Minute

// ErrNoQEMU is that the machine has no QEMU.
var ErrNoQEMU = errors.New("qemu-system-x86_64 is not installed")

// check completes the configuration, or says everything that is wrong with it.
func (c *Config) check() error {
	var errs []error
	if c.Kernel == "" {
		errs = append(errs, errors.New("no kernel image"))
	} else if err := readable(c.Kernel); err != nil {
		errs = append(errs, fmt.Errorf("kernel image: %w", err))
	}
	if c.Root != "" {
		if err := readable(c.Root); err != nil {
			errs = append(errs, fmt.Errorf("userland: %w", err))
		}
	}
	if len(c.Command) == 0 {
		errs = append(errs, errors.New("no command to run in the guest"))
	}
	if !path.IsAbs(c.InitPath) {
		errs = append(errs, fmt.Errorf("init %q: its path in the guest has to be absolute", c.InitPath))
	}
	for _, f := range c.Files {
		if f.Guest != "" && !path.IsAbs(f.Guest) || f.Guest == "" && !path.IsAbs(f.Host) {
			errs = append(errs, fmt.Errorf("file %s: a path in the guest has to be absolute", f.Host+f.Link))
		}
	}
	for _, word := range c.Append {
		if strings.Contains(word, "--") {
			errs = append(errs, fmt.Errorf("kernel command line: %q would end the kernel's own words", word))
		}
	}
	if c.CPUs == 0 {
		c.CPUs = 2
	}
	if c.CPUs < 1 || c.CPUs > 64 {
		errs = append(errs, fmt.Errorf("%d CPUs are not within 1 to 64", c.CPUs))
	}
	if c.Memory != 0 && c.Memory < 128 {
		errs = append(errs, fmt.Errorf("%d MiB of memory are too few: give at least 128", c.Memory))
	}
	if c.Timeout == 0 {
		c.Timeout = DefaultTimeout
	}
	if c.Timeout < 0 {
		errs = append(errs, fmt.Errorf("the time %v is negative", c.Timeout))
	}
	if c.Init == "" {
		executable, err := os.Executable()
		if err != nil {
			errs = append(errs, fmt.Errorf("find this program, to be the guest's init: %w", err))
		}
		c.Init = executable
	}
	return errors.Join(errs...)
}

func readable(name string) error {
	f, err := os.Open(name)
	if err != nil {
		if errors.Is(err, os.ErrPermission) {
			return fmt.Errorf("%w (some distributions let root alone read kernels: copy it to where you can read it)", err)
		}
		return err
	}
	defer f.Close() //nolint:errcheck // nothing was written
	info, err := f.Stat()
	if err != nil {
		return err
	}
	if !info.Mode().IsRegular() {
		return fmt.Errorf("%s is not a regular file", name)
	}
	return nil
}

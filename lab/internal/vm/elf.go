package vm

import (
	"debug/elf"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// libraryFolders are where a dynamic loader looks by itself: Debian's, then those of Fedora and others.
var libraryFolders = []string{
	"/lib/x86_64-linux-gnu", "/usr/lib/x86_64-linux-gnu", "/lib64", "/usr/lib64", "/lib", "/usr/lib",
}

// A library is where a file of the host has to be in the guest.
type library struct{ host, guest string }

// libraries are the interpreter and the libraries that a program needs, in turn with what those need. It is empty for
// what is no ELF program, or a static one. The program itself is not run, as ldd would.
func libraries(program string) ([]library, error) {
	r := resolver{seen: map[string]bool{}}
	if err := r.add(program); err != nil {
		return nil, fmt.Errorf("find the libraries of %s: %w", program, err)
	}
	return r.found, nil
}

type resolver struct {
	found []library
	seen  map[string]bool
}

func (r *resolver) add(program string) error {
	f, err := elf.Open(program)
	if err != nil {
		if _, bad := errors.AsType[*elf.FormatError](err); bad || errors.Is(err, io.EOF) {
			return nil // a script, or data
		}
		return err
	}
	defer f.Close() //nolint:errcheck // nothing was written
	for _, p := range f.Progs {
		if p.Type != elf.PT_INTERP {
			continue
		}
		b := make([]byte, p.Filesz)
		if _, err := p.ReadAt(b, 0); err != nil {
			return fmt.Errorf("read the name of its interpreter: %w", err)
		}
		name := strings.TrimRight(string(b), "\x00")
		if _, err := os.Stat(name); err != nil {
			return fmt.Errorf("its interpreter: %w", err)
		}
		if base := filepath.Base(name); !r.seen[base] { // the C library names it once more
			r.seen[base] = true
			r.found = append(r.found, library{name, name})
		}
	}
	needed, err := f.ImportedLibraries()
	if err != nil || len(needed) == 0 {
		return err
	}
	own, err := runPath(f, program)
	if err != nil {
		return err
	}
	for _, name := range needed {
		if r.seen[name] {
			continue
		}
		r.seen[name] = true
		at, err := r.find(name, f.Machine, own)
		if err != nil {
			return err
		}
		r.found = append(r.found, at)
		if err := r.add(at.host); err != nil {
			return err
		}
	}
	return nil
}

// runPath is where a program itself says that its libraries are.
func runPath(f *elf.File, program string) ([]string, error) {
	var folders []string
	for _, tag := range []elf.DynTag{elf.DT_RUNPATH, elf.DT_RPATH} {
		values, err := f.DynString(tag)
		if err != nil {
			return nil, err
		}
		for _, v := range values {
			origin := strings.NewReplacer("$ORIGIN", filepath.Dir(program), "${ORIGIN}", filepath.Dir(program))
			folders = append(folders, filepath.SplitList(origin.Replace(v))...)
		}
	}
	return folders, nil
}

// find looks for a library of the same machine. What lies where only the host's configuration leads (ld.so.conf) goes
// to the folder of the C library in the guest, which has no such configuration.
func (r *resolver) find(name string, machine elf.Machine, own []string) (library, error) {
	for _, folder := range slices.Concat(own, libraryFolders) {
		host := filepath.Join(folder, name)
		if fits(host, machine) {
			return library{host, host}, nil
		}
	}
	for _, folder := range configured("/etc/ld.so.conf", 0) {
		if host := filepath.Join(folder, name); fits(host, machine) {
			return library{host, filepath.Join(r.standard(), name)}, nil
		}
	}
	return library{}, fmt.Errorf("%s is not in %s, nor where /etc/ld.so.conf leads", name,
		strings.Join(slices.Concat(own, libraryFolders), ", "))
}

func (r *resolver) standard() string {
	for _, folder := range libraryFolders {
		if _, err := os.Stat(filepath.Join(folder, "libc.so.6")); err == nil {
			return folder
		}
	}
	return "/lib64"
}

func fits(name string, machine elf.Machine) bool {
	f, err := elf.Open(name)
	if err != nil {
		return false
	}
	defer f.Close() //nolint:errcheck // nothing was written
	return f.Machine == machine
}

// configured are the folders in ld.so.conf and what it includes.
func configured(conf string, depth int) []string {
	text, err := os.ReadFile(conf)
	if err != nil || depth > 4 {
		return nil
	}
	var folders []string
	for line := range strings.Lines(string(text)) {
		line, _, _ = strings.Cut(line, "#")
		fields := strings.Fields(line)
		switch {
		case len(fields) == 2 && fields[0] == "include":
			pattern := fields[1]
			if !filepath.IsAbs(pattern) {
				pattern = filepath.Join(filepath.Dir(conf), pattern)
			}
			included, _ := filepath.Glob(pattern) // a bad pattern includes nothing
			for _, i := range included {
				folders = append(folders, configured(i, depth+1)...)
			}
		case len(fields) == 1:
			folders = append(folders, fields[0])
		}
	}
	return folders
}

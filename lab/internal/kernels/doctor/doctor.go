package doctor

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"

	"verdictd/lab/internal/vm"
)

// What an item is needed for.
const (
	toRun   = "run"    // lab kernel run and all that boots
	toBuild = "build"  // lab kernel build and what is built on it
	toFetch = "debian" // --image debian
)

// An item is something that the lab of kernels needs.
type item struct {
	Name  string `json:"name"`
	For   string `json:"for"`
	Found string `json:"found"` // where; "" if it is missing
	// Package is what brings it here, "" where that is not known.
	Package string `json:"package,omitempty"`
	// Optional says that the lab does without it, and how.
	Optional string `json:"optional,omitempty"`

	places         []string // programs by their names, files by their paths
	debian, fedora string
}

// items are all of them. Programs of root's folders are looked for there as well: an ordinary user's PATH may lack
// these.
func items() []item {
	return []item{
		{Name: "qemu", For: toRun, places: []string{"qemu-system-x86_64"}, debian: "qemu-system-x86",
			fedora: "qemu-system-x86"},
		{Name: "gcc", For: toBuild, places: []string{"gcc"}, debian: "gcc", fedora: "gcc"},
		{Name: "make", For: toBuild, places: []string{"make"}, debian: "make", fedora: "make"},
		{Name: "flex", For: toBuild, places: []string{"flex"}, debian: "flex", fedora: "flex"},
		{Name: "bison", For: toBuild, places: []string{"bison"}, debian: "bison", fedora: "bison"},
		{Name: "bc", For: toBuild, places: []string{"bc"}, debian: "bc", fedora: "bc"},
		{Name: "libelf headers", For: toBuild,
			places: []string{"/usr/include/libelf.h", "/usr/include/libelf/libelf.h"}, debian: "libelf-dev",
			fedora: "elfutils-libelf-devel"},
		{Name: "libssl headers", For: toBuild, places: []string{"/usr/include/openssl/opensslv.h"},
			debian: "libssl-dev", fedora: "openssl-devel",
			Optional: "only kernels that sign their modules need them"},
		{Name: "xz", For: toBuild, places: []string{"xz"}, debian: "xz-utils", fedora: "xz"},
		{Name: "kernel source", For: toBuild, places: []string{"/usr/src/linux-source-6.1.tar.xz"},
			debian:   "linux-source-6.1",
			Optional: "on Debian 12 lab kernel build fetches it; elsewhere give it --source DIR or TARBALL"},
		{Name: "apt-get", For: toFetch, places: []string{"apt-get"}, debian: "apt", fedora: "apt",
			Optional: "without it give --image FILE"},
		{Name: "dpkg-deb", For: toFetch, places: []string{"dpkg-deb"}, debian: "dpkg", fedora: "dpkg",
			Optional: "without it give --image FILE"},
		{Name: "Debian's keys", For: toFetch,
			places: []string{"/usr/share/keyrings/debian-archive-keyring.gpg",
				"/usr/share/keyrings/debian-archive-keyring.pgp"},
			debian: "debian-archive-keyring", fedora: "debian-keyring", Optional: "without them give --image FILE"},
		{Name: "depmod", For: toFetch, places: []string{"depmod", "/sbin/depmod", "/usr/sbin/depmod"}, debian: "kmod",
			fedora: "kmod"},
		{Name: "zstd", For: toFetch, places: []string{"zstd"}, debian: "zstd", fedora: "zstd",
			Optional: "only for kernels whose modules it packed"},
	}
}

// Schema is the version of the document of `lab kernel doctor --json`.
const Schema = 1

// Diagnosis is that document.
type Diagnosis struct {
	Schema       int        `json:"schema"`
	OK           bool       `json:"ok"`
	Distribution string     `json:"distribution"`
	Items        []item     `json:"items"`
	Install      string     `json:"install,omitempty"` // the command that installs what is missing
	Accelerators []vm.Trial `json:"accelerators"`
	Accelerator  string     `json:"accelerator"` // the one that is used, "" for none
}

// Diagnose looks at this machine.
func Diagnose(ctx context.Context) (*Diagnosis, error) {
	release, err := os.ReadFile("/etc/os-release")
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return nil, fmt.Errorf("find out which distribution this is: %w", err)
	}
	d := examine(release, items(), findPlace)
	if d.Accelerators, err = vm.TryAccelerators(ctx); err != nil && !errors.Is(err, vm.ErrNoQEMU) {
		return nil, err
	}
	for _, t := range d.Accelerators {
		if t.Works {
			d.Accelerator = t.Accelerator
		}
	}
	d.OK = d.OK && d.Accelerator != ""
	return d, nil
}

// findPlace is where something is, "" for nowhere.
func findPlace(place string) string {
	if filepath.IsAbs(place) {
		if _, err := os.Stat(place); err != nil {
			return ""
		}
		return place
	}
	at, err := exec.LookPath(place)
	if err != nil {
		return ""
	}
	return at
}

// examine looks for the items. release is the text of os-release.
func examine(release []byte, all []item, find func(string) string) *Diagnosis {
	fields := map[string]string{}
	for line := range bytes.Lines(release) {
		key, value, _ := strings.Cut(strings.TrimSpace(string(line)), "=")
		fields[key] = strings.Trim(value, `"'`)
	}
	family := strings.Fields(fields["ID"] + " " + fields["ID_LIKE"])
	d := &Diagnosis{Schema: Schema, OK: true, Distribution: fields["PRETTY_NAME"], Accelerators: []vm.Trial{}}
	if d.Distribution == "" {
		d.Distribution = "unknown distribution"
	}
	install, manager := "", func(item) string { return "" }
	switch {
	case slices.Contains(family, "debian"):
		install, manager = "apt-get install --no-install-recommends", func(i item) string { return i.debian }
	case slices.Contains(family, "fedora"), slices.Contains(family, "rhel"):
		install, manager = "dnf install", func(i item) string { return i.fedora }
	}
	var missing []string
	for _, i := range all {
		for _, place := range i.places {
			if i.Found == "" {
				i.Found = find(place)
			}
		}
		i.Package = manager(i)
		if i.Found == "" && i.Optional == "" {
			d.OK = false
			if i.Package != "" {
				missing = append(missing, i.Package)
			}
		}
		d.Items = append(d.Items, i)
	}
	if len(missing) > 0 {
		d.Install = "sudo " + install + " " + strings.Join(missing, " ")
	}
	return d
}

// WriteText writes the findings for people.
func (d *Diagnosis) WriteText(w io.Writer) error {
	fmt.Fprintln(w, d.Distribution)
	for _, i := range d.Items {
		state := i.Found
		switch {
		case state == "" && i.Optional != "":
			state = "not there: " + i.Optional
		case state == "":
			state = "MISSING"
		}
		fmt.Fprintf(w, "  %-8s%-16s%s\n", i.For, i.Name, state)
	}
	for _, t := range d.Accelerators {
		fmt.Fprintf(w, "  %-8s%-16s%s\n", toRun, t.Accelerator, t.Reason)
	}
	switch {
	case d.Install != "":
		fmt.Fprintf(w, "To install what is missing: %s\n", d.Install)
	case !d.OK && slices.ContainsFunc(d.Items, func(i item) bool { return i.Found == "" && i.Optional == "" }):
		fmt.Fprintln(w, "Install what is missing by this distribution's means: the names of its packages are not "+
			"known here.")
	}
	if d.OK {
		fmt.Fprintf(w, "Ready: kernels run under %s.\n", d.Accelerator)
	}
	return nil
}

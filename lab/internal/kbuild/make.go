package kbuild

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"time"

	"verdictd/lab/internal/child"
)

// maker runs make in one tree.
type maker struct {
	*build
	tree    tree
	objects string
	release string
	log     *os.File
}

func newMaker(t tree, b *build) (*maker, error) {
	m := &maker{build: b, tree: t, objects: t.objects(b.KASAN)}
	if err := os.MkdirAll(m.objects, 0o750); err != nil {
		return nil, fmt.Errorf("make a folder for objects: %w", err)
	}
	return m, nil
}

// tools are the programs that a kernel's build calls, by Debian's packages.
var tools = []struct{ program, pkg string }{
	{"make", "make"}, {"gcc", "gcc"}, {"ld", "binutils"}, {"flex", "flex"}, {"bison", "bison"}, {"bc", "bc"},
	{"tar", "tar"}, {"xz", "xz-utils"}, {"perl", "perl"},
}

// libelf is what objtool, a part of the kernel's build, is compiled with.
var libelf = "/usr/include/libelf.h"

// compilerVersion is what the compiler says of itself. On the way it finds out which tools are missing.
func compilerVersion(ctx context.Context) (string, error) {
	if runtime.GOARCH != "amd64" {
		return "", fmt.Errorf("kernels are built for x86-64 only, by a machine of that kind; this one is %s",
			runtime.GOARCH)
	}
	var missing, packages []string
	for _, t := range tools {
		if _, err := exec.LookPath(t.program); err != nil {
			missing, packages = append(missing, t.program), append(packages, t.pkg)
		}
	}
	if _, err := os.Stat(libelf); errors.Is(err, os.ErrNotExist) {
		missing, packages = append(missing, "libelf's headers"), append(packages, "libelf-dev")
	}
	if len(missing) > 0 {
		return "", fmt.Errorf("a kernel's build needs %s: apt-get install %s (or see lab kernel doctor)",
			strings.Join(missing, ", "), strings.Join(packages, " "))
	}
	out, err := exec.CommandContext(ctx, "gcc", "--version").Output()
	if err != nil {
		return "", fmt.Errorf("ask gcc for its version: %w", err)
	}
	line, _, _ := strings.Cut(string(out), "\n")
	return line, nil
}

// localVersion ends the release that uname -r shows.
func (b *build) localVersion() string {
	v := "-lab-" + string(b.Variant)
	if b.KASAN {
		v += "-kasan"
	}
	return v
}

// command is make with what all of its runs have. The names of machine, user and time stay out of the image.
func (m *maker) command(ctx context.Context, args ...string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, "make", append([]string{
		"-C", m.tree.source(), "O=" + m.objects, "ARCH=x86_64", "CROSS_COMPILE=", "LOCALVERSION=" + m.localVersion(),
		"V=0",
	}, args...)...)
	cmd.Env = append(os.Environ(), "LC_ALL=C", "MAKEFLAGS=", "KCFLAGS=",
		"KBUILD_BUILD_USER=verdictd", "KBUILD_BUILD_HOST=lab", "KBUILD_BUILD_TIMESTAMP=Thu Jan  1 00:00:00 UTC 1970")
	cmd.Stderr = m.log
	return cmd
}

// make configures and compiles.
func (m *maker) make(ctx context.Context) (err error) {
	name := filepath.Join(m.objects, "build.log")
	if m.log, err = os.Create(name); err != nil {
		return fmt.Errorf("write the build's output: %w", err)
	}
	defer func() { err = errors.Join(err, m.log.Close()) }()

	m.Progress(Step{What: "configuring"})
	if err := m.configure(ctx); err != nil {
		return err
	}
	release := m.command(ctx, "-s", "kernelrelease")
	var out strings.Builder
	release.Stdout = &out
	if err := inGroup(ctx, release); err != nil {
		return m.failed(ctx, "make kernelrelease", err)
	}
	m.release = strings.TrimSpace(out.String())
	if m.release == "" || strings.ContainsAny(m.release, " \n") {
		return fmt.Errorf("make kernelrelease says %q, which is no release", m.release)
	}
	return m.compile(ctx)
}

// configure writes .config: the fragments, all else left out.
func (m *maker) configure(ctx context.Context) error {
	wanted := filepath.Join(m.objects, "wanted.config")
	if err := os.WriteFile(wanted, []byte(m.config), 0o644); err != nil {
		return fmt.Errorf("write the configuration: %w", err)
	}
	cmd := m.command(ctx, "KCONFIG_ALLCONFIG="+wanted, "allnoconfig")
	cmd.Stdout = m.log
	if err := inGroup(ctx, cmd); err != nil {
		return m.failed(ctx, "make allnoconfig", err)
	}
	config, err := os.Open(filepath.Join(m.objects, ".config"))
	if err != nil {
		return fmt.Errorf("read the configuration: %w", err)
	}
	defer config.Close() //nolint:errcheck // it was only read
	return check(m.fragments, config)
}

// compile runs the long part, and tells how far it is.
func (m *maker) compile(ctx context.Context) error {
	_, err := os.Stat(filepath.Join(m.objects, "vmlinux"))
	estimate := newEstimate(m.Cache, m.KASAN, err == nil)
	cmd := m.command(ctx, fmt.Sprintf("-j%d", runtime.NumCPU()), "bzImage")
	read, write, err := os.Pipe()
	if err != nil {
		return fmt.Errorf("read make's output: %w", err)
	}
	cmd.Stdout = write
	done := make(chan error, 1)
	go func() {
		err := inGroup(ctx, cmd)
		done <- errors.Join(err, write.Close())
	}()
	copied := estimate.watch(io.TeeReader(read, m.log), m.Progress)
	if err := errors.Join(<-done, copied, read.Close()); err != nil {
		return m.failed(ctx, "make", err)
	}
	return estimate.remember()
}

// quoted is how many lines of a program's output an error about it ends with.
const quoted = 6

// failed quotes the end of the log, unless the build was ended from outside.
func (m *maker) failed(ctx context.Context, what string, err error) error {
	if ctx.Err() != nil {
		return fmt.Errorf("%s: %w", what, context.Cause(ctx))
	}
	var t child.Tail
	text, readErr := os.ReadFile(m.log.Name())
	if readErr == nil {
		_, _ = t.Write(text) // never fails
	}
	return fmt.Errorf("%s of %s: %w%s; all of its output is in %s", what, m.source.name, err, t.Quote(quoted),
		m.log.Name())
}

// grace is how long the processes of a command have to end when they are asked to.
const grace = 10 * time.Second

// inGroup runs a command. When ctx is done, it and its children are asked to end: make does so by its own handler.
func inGroup(ctx context.Context, cmd *exec.Cmd) error {
	return child.Run(ctx, cmd, syscall.SIGTERM, grace)
}

package kbuild

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"verdictd/lab/internal/child"
)

// Debian is the word for the source that Debian ships.
const Debian = "debian"

const debianPackage = "linux-source-6.1"

// installedTarball is where the package puts its only file of interest.
const installedTarball = "/usr/src/" + debianPackage + ".tar.xz"

// source is where a kernel comes from.
type source struct {
	name string // for people
	path string // a folder or a tarball
	dir  bool
	// id tells contents apart: a tarball's checksum, or of a folder the names, sizes and times, as make sees them.
	id string
}

// findSource finds out what Config.Source means.
func findSource(ctx context.Context, c Config) (source, error) {
	path, name := c.Source, c.Source
	if path == "" {
		return source{}, errors.New("no source given: a folder or a tarball of Linux, or debian")
	}
	if path == Debian {
		var err error
		if path, err = debianTarball(ctx, c); err != nil {
			return source{}, err
		}
		name = "Debian's " + debianPackage
	}
	path, err := filepath.Abs(path)
	if err != nil {
		return source{}, fmt.Errorf("find the source %s: %w", c.Source, err)
	}
	info, err := os.Stat(path)
	if err != nil {
		return source{}, fmt.Errorf("the kernel's source: %w", err)
	}
	s := source{name: name, path: path, dir: info.IsDir()}
	if !s.dir {
		s.id, err = fileSum(path)
		return s, err
	}
	for _, file := range []string{"Kbuild", "Kconfig", "Makefile"} {
		if _, err := os.Stat(filepath.Join(path, file)); err != nil {
			return source{}, fmt.Errorf("%s is no source of Linux: %w", path, err)
		}
	}
	s.id, err = folderSum(ctx, path)
	return s, err
}

func fileSum(path string) (string, error) {
	f, err := os.Open(path)
	if err != nil {
		return "", fmt.Errorf("read the source: %w", err)
	}
	defer f.Close() //nolint:errcheck // it was only read
	h := sha256.New()
	if _, err := io.Copy(h, f); err != nil {
		return "", fmt.Errorf("read the source %s: %w", path, err)
	}
	return sum(h), nil
}

func sum(h hash.Hash) string { return hex.EncodeToString(h.Sum(nil)[:12]) }

func folderSum(ctx context.Context, dir string) (string, error) {
	h := sha256.New()
	err := walkSource(ctx, dir, func(name string, info fs.FileInfo) error {
		target := ""
		if info.Mode()&fs.ModeSymlink != 0 {
			var err error
			if target, err = os.Readlink(filepath.Join(dir, name)); err != nil {
				return err
			}
		}
		_, err := fmt.Fprintf(h, "%q %v %d %d %q\n", name, info.Mode(), info.Size(), info.ModTime().UnixNano(), target)
		return err
	})
	if err != nil {
		return "", fmt.Errorf("read the source %s: %w", dir, err)
	}
	return sum(h), nil
}

// madeFolders and madeSuffixes are what a build inside a source leaves there. Its copy must be as if never built in.
var (
	madeFolders  = []string{".git", "include/config", "include/generated", "arch/x86/include/generated", "debian/build"}
	madeSuffixes = []string{".o", ".ko", ".a", ".cmd", ".mod", ".dwo", ".gcno", ".order"}
)

// walkSource goes through a folder's files and links, without those that a build made.
func walkSource(ctx context.Context, dir string, each func(name string, info fs.FileInfo) error) error {
	made := map[string]bool{}
	for _, name := range madeFolders {
		made[name] = true
	}
	return filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err == nil {
			err = ctx.Err()
		}
		if err != nil {
			return err
		}
		name, err := filepath.Rel(dir, path)
		switch {
		case err != nil:
			return err
		case d.IsDir() && made[name]:
			return fs.SkipDir
		case d.IsDir(), name == ".config", strings.HasPrefix(name, "vmlinux"):
			return nil
		case !d.Type().IsRegular() && d.Type() != fs.ModeSymlink:
			return nil // sockets and the like are no source
		}
		for _, suffix := range madeSuffixes {
			if strings.HasSuffix(name, suffix) {
				return nil
			}
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		return each(name, info)
	})
}

// debianTarball is the file of the package linux-source-6.1: the installed one's, or one of a package that is fetched
// into the cache, which needs no root.
func debianTarball(ctx context.Context, c Config) (_ string, err error) {
	if _, err := os.Stat(installedTarball); err == nil {
		return installedTarball, nil
	}
	kept := filepath.Join(c.Cache, debianPackage+".tar.xz")
	if _, err := os.Stat(kept); err == nil {
		return kept, nil
	}
	c.Progress(Step{What: "fetching Debian's package " + debianPackage})
	dir, err := os.MkdirTemp(c.Cache, ".fetch-")
	if err != nil {
		return "", fmt.Errorf("make a folder for Debian's package: %w", err)
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	const advice = "%w: is this Debian 12, with its package lists up to date (apt-get update)? Else install " +
		debianPackage + ", or give --source"
	if err := run(ctx, dir, "apt-get", "download", debianPackage); err != nil {
		return "", fmt.Errorf(advice, err)
	}
	packages, err := filepath.Glob(filepath.Join(dir, "*.deb"))
	if err != nil || len(packages) != 1 {
		return "", fmt.Errorf("apt-get download left %d packages, not one", len(packages))
	}
	if err := run(ctx, dir, "dpkg-deb", "-x", packages[0], dir); err != nil {
		return "", err
	}
	if err := os.Rename(filepath.Join(dir, installedTarball), kept); err != nil {
		return "", fmt.Errorf("take the source out of Debian's package: %w", err)
	}
	return kept, nil
}

// run runs a program to its end; its output is in the error if it fails.
func run(ctx context.Context, dir, name string, args ...string) error {
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.Dir = dir
	var out child.Tail
	cmd.Stdout, cmd.Stderr = &out, &out
	if err := inGroup(ctx, cmd); err != nil {
		return fmt.Errorf("%s: %w%s", name, err, out.Quote(quoted))
	}
	return nil
}

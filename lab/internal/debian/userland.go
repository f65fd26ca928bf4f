package debian

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"verdictd/lab/internal/kbuild"
)

// userland is what a small Debian with systemd needs, and what its administrator looks with. Debian's essential
// packages are named one by one, as apt and its kin are not needed.
var userland = []string{
	"base-files", "base-passwd", "bash", "coreutils", "dash", "debianutils", "diffutils", "dpkg", "findutils", "grep",
	"gzip", "hostname", "libc-bin", "login", "mawk", "mount", "ncurses-base", "passwd", "sed", "sysvinit-utils", "tar",
	"util-linux",
	"systemd", "systemd-sysv", "dbus", "kmod", "iproute2", "nftables", "conntrack", "procps",
}

// unneeded are files of these packages that a guest does without.
var unneeded = []string{"/usr/share/doc/*", "/usr/share/info/*", "/usr/share/locale/*", "/usr/share/man/*"}

// Userland returns a tarball of Debian's userland with systemd, for [vm.Config.Root], from the cache or the network.
// mmdebstrap makes it, which needs no root where user namespaces are allowed.
func Userland(ctx context.Context, c Config) (name string, err error) {
	suite := c.Wanted
	if suite == "" {
		suite = DefaultSuite
	}
	if !suiteName.MatchString(suite) {
		return "", fmt.Errorf("%q is no suite of Debian, such as %s", c.Wanted, DefaultSuite)
	}
	if c.Mirror == "" {
		c.Mirror = Mirror
	}
	if c.Progress == nil {
		c.Progress = func(string) {}
	}
	if c.Cache == "" {
		if c.Cache, err = kbuild.Cache(); err != nil {
			return "", err
		}
	}
	dir := filepath.Join(c.Cache, "debian")
	if err := os.MkdirAll(dir, 0o755); err != nil { //nolint:gosec // no secret, and other users may boot it
		return "", fmt.Errorf("make the cache for userlands: %w", err)
	}
	sum := sha256.Sum256([]byte(strings.Join(append(userland, unneeded...), " ")))
	name = filepath.Join(dir, fmt.Sprintf("userland-%s-%x.tar", suite, sum[:6]))
	unlock, err := kbuild.Lock(ctx, filepath.Join(dir, "userland.lock"),
		func() { c.Progress("waiting for another run that makes a userland") })
	if err != nil {
		return "", err
	}
	defer func() { err = errors.Join(err, unlock()) }()
	if _, err := os.Stat(name); err == nil {
		return name, nil
	}
	c.Progress("making a userland of " + suite + " with systemd; it stays in the cache")
	return name, makeUserland(ctx, dir, name, suite, c.Mirror)
}

func makeUserland(ctx context.Context, dir, name, suite, mirror string) (err error) {
	if _, err := exec.LookPath("mmdebstrap"); err != nil {
		return fmt.Errorf("Debian's userland is made with mmdebstrap: apt-get install mmdebstrap: %w", err) //nolint:staticcheck // a name begins it
	}
	work, err := os.MkdirTemp(dir, ".userland-")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(work)) }()
	made := filepath.Join(work, "userland.tar")
	args := []string{"--quiet", "--variant=custom", "--architectures=amd64", `--aptopt=Acquire::Retries "5"`,
		"--include=" + strings.Join(userland, ",")}
	for _, pattern := range unneeded {
		args = append(args, "--dpkgopt=path-exclude="+pattern)
	}
	if _, err := run(ctx, work, []string{"TMPDIR=" + work}, "mmdebstrap", append(args, suite, made, mirror)...); err != nil {
		return err
	}
	return os.Rename(made, name)
}

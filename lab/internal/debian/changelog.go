package debian

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
)

// changelogPackage is small, and made of the same source as the kernel, so that it has the kernel's changelog.
const changelogPackage = "linux-libc-dev"

// Changelog fetches the changelog of a suite's newest kernel and returns it as it is packed (gzip). Of the
// configuration the suite, the mirror and Progress count.
func Changelog(ctx context.Context, c Config) (packed []byte, err error) {
	if !suiteName.MatchString(c.Wanted) {
		return nil, fmt.Errorf("%q is no suite of Debian, such as %s or sid", c.Wanted, DefaultSuite)
	}
	if c.Mirror == "" {
		c.Mirror = Mirror
	}
	work, err := os.MkdirTemp("", "changelog-")
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(work)) }()
	failed := func(err error) ([]byte, error) {
		return nil, fmt.Errorf("the changelog of %s's kernel: %w", c.Wanted, err)
	}
	a, err := newAPT(ctx, work, c.Mirror, c.Wanted)
	if err != nil {
		return failed(err)
	}
	if c.Progress != nil {
		c.Progress("fetching the changelog of " + c.Wanted + "'s kernel")
	}
	if err := a.update(ctx); err != nil {
		return failed(err)
	}
	files, err := a.download(ctx, []string{changelogPackage})
	if err != nil {
		return failed(err)
	}
	tree := filepath.Join(work, "tree")
	if _, err := run(ctx, work, nil, "dpkg-deb", "-x", files[0], tree); err != nil {
		return failed(err)
	}
	if packed, err = os.ReadFile(filepath.Join(tree, "usr/share/doc", changelogPackage, "changelog.Debian.gz")); err != nil {
		return failed(err)
	}
	return packed, nil
}

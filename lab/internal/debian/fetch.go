package debian

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/google/renameio/v2"

	"verdictd/lab/internal/kbuild"
)

// Config says which kernel is wanted.
type Config struct {
	// Wanted is a suite ("bookworm-backports", "trixie", "sid"), whose newest kernel is meant, "" for DefaultSuite,
	// "backports" for its backports, or SUITE/RELEASE for one of several that a suite has
	// ("bookworm-backports/6.12.43+deb12").
	Wanted string
	Mirror string // "": Mirror
	Cache  string // "": the user's
	// Progress hears what is going on; nil: nobody does.
	Progress func(string)
}

// DefaultSuite has Linux 6.1.
const DefaultSuite = "bookworm"

// Kernel is one that is in the cache.
type Kernel struct {
	Package string `json:"package"`
	Version string `json:"version"` // of the package, such as 6.1.192-2
	Suite   string `json:"suite"`
	Release string `json:"release"` // as uname -r says
	Path    string `json:"-"`       // vmlinuz
	Modules string `json:"-"`       // lib/modules/RELEASE
	Config  string `json:"-"`       // the options that it was built with
}

// known is what a suite's kernel was when it was last asked.
type known struct {
	Kernel
	Asked time.Time `json:"asked"`
}

// fresh is for how long a suite need not be asked again.
const fresh = 24 * time.Hour

var (
	suiteName   = regexp.MustCompile(`^[a-z]+(-[a-z]+)*$`)
	releaseName = regexp.MustCompile(`^[0-9][0-9a-zA-Z.+~-]*$`)
)

// Fetch returns a kernel, from the cache or the network.
func Fetch(ctx context.Context, c Config) (Kernel, error) {
	suite, release, _ := strings.Cut(c.Wanted, "/")
	switch suite {
	case "":
		suite = DefaultSuite
	case "backports":
		suite = DefaultSuite + "-backports"
	}
	if !suiteName.MatchString(suite) || release != "" && !releaseName.MatchString(release) {
		return Kernel{}, fmt.Errorf("%q is neither a suite of Debian, such as %s-backports, nor SUITE/RELEASE",
			c.Wanted, DefaultSuite)
	}
	if c.Mirror == "" {
		c.Mirror = Mirror
	}
	if c.Progress == nil {
		c.Progress = func(string) {}
	}
	if c.Cache == "" {
		var err error
		if c.Cache, err = kbuild.Cache(); err != nil {
			return Kernel{}, err
		}
	}
	dir := filepath.Join(c.Cache, "debian")
	if err := os.MkdirAll(dir, 0o755); err != nil { //nolint:gosec // kernels are no secret, and other users may boot them
		return Kernel{}, fmt.Errorf("make the cache for kernels: %w", err)
	}
	f := fetcher{Config: c, dir: dir, suite: suite, release: release}
	k, err := f.fetch(ctx)
	if err != nil {
		return Kernel{}, fmt.Errorf("Debian's kernel of %s: %w", suite, err) //nolint:staticcheck // a name begins it
	}
	return k, nil
}

type fetcher struct {
	Config
	dir, suite, release string
}

func (f *fetcher) fetch(ctx context.Context) (_ Kernel, err error) {
	unlock, err := kbuild.Lock(ctx, filepath.Join(f.dir, "lock"),
		func() { f.Progress("waiting for another run that fetches a kernel") })
	if err != nil {
		return Kernel{}, err
	}
	defer func() { err = errors.Join(err, unlock()) }()
	old, ok := f.recall()
	if ok && time.Since(old.Asked) < fresh {
		return old.Kernel, nil
	}
	k, err := f.ask(ctx)
	if err != nil && ok && ctx.Err() == nil {
		f.Progress(fmt.Sprintf("could not ask for a newer kernel; %s serves: %v", old.Package, err))
		return old.Kernel, nil
	}
	return k, err
}

// note is where it is written down what the suite has.
func (f *fetcher) note() string {
	name := f.suite
	if f.release != "" {
		name += "_" + f.release
	}
	return filepath.Join(f.dir, name+".json")
}

// recall is what the cache knows, if the kernel is there.
func (f *fetcher) recall() (known, bool) {
	var k known
	text, err := os.ReadFile(f.note())
	if err != nil || json.Unmarshal(text, &k) != nil {
		return k, false
	}
	return k, f.locate(&k.Kernel) == nil
}

func (k *Kernel) folder() string { return k.Package + "_" + strings.ReplaceAll(k.Version, ":", "%") }

// locate fills in where a kernel's files are, or says that it is not there.
func (f *fetcher) locate(k *Kernel) error {
	folder := filepath.Join(f.dir, k.folder())
	indexes, err := filepath.Glob(filepath.Join(folder, "lib/modules/*/modules.dep"))
	if err != nil || len(indexes) != 1 {
		return fmt.Errorf("%s has modules of %d kernels instead of one", folder, len(indexes))
	}
	k.Modules = filepath.Dir(indexes[0])
	k.Release = filepath.Base(k.Modules)
	for path, places := range map[*string][]string{
		// Since Linux 7 Debian has the image among the modules.
		&k.Path:   {filepath.Join(folder, "boot/vmlinuz-"+k.Release), filepath.Join(k.Modules, "vmlinuz")},
		&k.Config: {filepath.Join(folder, "boot/config-"+k.Release), filepath.Join(k.Modules, "config")},
	} {
		at := slices.IndexFunc(places, func(name string) bool { _, err := os.Stat(name); return err == nil })
		if at < 0 {
			return fmt.Errorf("there is no %s in it", strings.Join(places, ", nor "))
		}
		*path = places[at]
	}
	return nil
}

// ask finds out what the suite has, and fetches it if it is not there.
func (f *fetcher) ask(ctx context.Context) (k Kernel, err error) {
	work, err := os.MkdirTemp(f.dir, ".fetch-")
	if err != nil {
		return k, err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(work)) }()
	a, err := newAPT(ctx, work, f.Mirror, f.suite)
	if err != nil {
		return k, err
	}
	f.Progress("asking " + f.Mirror + " for the kernel of " + f.suite)
	if err := a.update(ctx); err != nil {
		return k, err
	}
	k.Suite = f.suite
	if f.release != "" {
		k.Package = "linux-image-" + strings.TrimSuffix(f.release, "-cloud-amd64") + "-cloud-amd64"
	} else if k.Package, err = a.newest(ctx); err != nil {
		return k, err
	}
	if k.Version, err = a.show(ctx, k.Package, "Version"); err != nil {
		return k, err
	}
	if k.Version == "" {
		return k, fmt.Errorf("the package %s has no version", k.Package)
	}
	if f.locate(&k) != nil {
		if err := f.unpack(ctx, a, work, &k); err != nil {
			return k, err
		}
	}
	text, err := json.MarshalIndent(known{k, time.Now()}, "", "  ")
	if err != nil {
		return k, err
	}
	return k, renameio.WriteFile(f.note(), text, 0o644)
}

// unpack fetches a package and puts it in place with one rename.
func (f *fetcher) unpack(ctx context.Context, a *apt, work string, k *Kernel) error {
	f.Progress("fetching " + k.Package + " " + k.Version)
	parts, err := a.parts(ctx, k.Package)
	if err != nil {
		return err
	}
	files, err := a.download(ctx, parts)
	if err != nil {
		return err
	}
	f.Progress("unpacking " + k.Package)
	tree := filepath.Join(work, "tree")
	for _, file := range files {
		if _, err := run(ctx, work, nil, "dpkg-deb", "-x", file, tree); err != nil {
			return err
		}
	}
	if err := index(ctx, tree); err != nil {
		return err
	}
	at := filepath.Join(f.dir, k.folder())
	if err := os.RemoveAll(at); err != nil { // what is there was found to be not whole
		return err
	}
	if err := os.Rename(tree, at); err != nil {
		return err
	}
	return f.locate(k)
}

// index makes modules.dep and its kin.
func index(ctx context.Context, tree string) error {
	depmod, err := findDepmod()
	if err != nil {
		return err
	}
	// Some packages have their modules in lib, some in usr/lib, and some depmods look in the one, some in the other.
	link, target := "lib", "usr/lib"
	if _, err := os.Stat(filepath.Join(tree, "lib/modules")); err == nil {
		link, target = "usr/lib", "../lib"
	}
	if err := os.MkdirAll(filepath.Join(tree, "usr"), 0o750); err != nil {
		return err
	}
	if err := os.Symlink(target, filepath.Join(tree, link)); err != nil && !errors.Is(err, fs.ErrExist) {
		return err
	}
	releases, err := filepath.Glob(filepath.Join(tree, "lib/modules/*"))
	if err != nil || len(releases) != 1 {
		return fmt.Errorf("the package has modules of %d kernels instead of one", len(releases))
	}
	_, err = run(ctx, tree, nil, depmod, "-b", tree, filepath.Base(releases[0]))
	return err
}

func findDepmod() (string, error) {
	// an ordinary user's PATH may lack sbin
	for _, name := range []string{"depmod", "/sbin/depmod", "/usr/sbin/depmod"} {
		if at, err := exec.LookPath(name); err == nil {
			return at, nil
		}
	}
	return "", errors.New("depmod is not installed: install kmod")
}

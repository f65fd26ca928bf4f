package kbuild

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"time"
)

// Config says which kernel is wanted.
type Config struct {
	// Source is a folder or a tarball of Linux, or "debian" for the package linux-source-6.1.
	Source  string
	Variant Variant
	// KASAN builds the detector of bad memory accesses in.
	KASAN bool
	// Fragments are the configuration: what they do not name is left out.
	Fragments []Fragment
	// KASANFragment follows them if KASAN is wanted.
	KASANFragment Fragment
	// Cache is the folder for all that is written; "" is Cache.
	Cache string
	// Progress hears what is going on; nil: nobody does.
	Progress func(Step)
}

// A Step is how far a build is.
type Step struct {
	What string // such as "compiling"
	// Done of Total files are compiled; a Total of 0 is not known. It is an estimate: what the last such build had.
	Done, Total int
	Elapsed     time.Duration
	Left        time.Duration // an estimate; 0: none
}

// Image is a finished kernel.
type Image struct {
	Path     string    `json:"-"` // the bzImage
	Key      string    `json:"key"`
	Release  string    `json:"release"` // as uname -r will say
	Variant  Variant   `json:"variant"`
	KASAN    bool      `json:"kasan"`
	SourceID string    `json:"source_id"`
	Source   string    `json:"source"`
	Compiler string    `json:"compiler"`
	Built    time.Time `json:"built"`
	Seconds  float64   `json:"seconds"` // that the build took
	Cached   bool      `json:"-"`       // it was there already
}

// Build gives the kernel, from the cache or built. It can take minutes; ctx ends it with all its processes.
func Build(ctx context.Context, c Config) (Image, error) {
	if !slices.Contains(Variants(), c.Variant) {
		return Image{}, fmt.Errorf("there is no variant %q; there are %v", c.Variant, Variants())
	}
	if c.Cache == "" {
		dir, err := Cache()
		if err != nil {
			return Image{}, err
		}
		c.Cache = dir
	}
	if c.Progress == nil {
		c.Progress = func(Step) {}
	}
	if err := os.MkdirAll(c.Cache, 0o750); err != nil {
		return Image{}, fmt.Errorf("make the cache for kernels: %w", err)
	}
	fragments := slices.Clone(c.Fragments)
	if c.KASAN {
		fragments = append(fragments, c.KASANFragment)
	}
	config, err := merge(fragments)
	if err != nil {
		return Image{}, err
	}
	compiler, err := compilerVersion(ctx)
	if err != nil {
		return Image{}, err
	}
	c.Progress(Step{What: "looking at the source"})
	src, err := findSource(ctx, c)
	if err != nil {
		return Image{}, err
	}
	b := build{Config: c, source: src, fragments: fragments, config: config}
	b.image = Image{Variant: c.Variant, KASAN: c.KASAN, SourceID: src.id, Source: src.name, Compiler: compiler}
	b.image.Key = key(src.id, config, string(c.Variant), compiler, runtime.GOARCH)
	if img, ok, err := b.cached(); ok || err != nil {
		return img, err
	}
	return b.run(ctx)
}

// key names an image by everything that it depends on.
func key(parts ...string) string {
	h := sha256.New()
	for _, p := range append(parts, recipe) {
		fmt.Fprintf(h, "%d:%s", len(p), p) // lengths, so that no two lists are written alike
	}
	return hex.EncodeToString(h.Sum(nil)[:12])
}

// build is one image on its way.
type build struct {
	Config
	source    source
	fragments []Fragment
	config    string // merged
	image     Image
}

func (b *build) imageDir() string { return filepath.Join(b.Cache, "images", b.image.Key) }

// cached is the finished image if there is one.
func (b *build) cached() (Image, bool, error) {
	dir := b.imageDir()
	text, err := os.ReadFile(filepath.Join(dir, "image.json"))
	if errors.Is(err, os.ErrNotExist) {
		return Image{}, false, nil
	}
	if err != nil {
		return Image{}, false, fmt.Errorf("read the cached image: %w", err)
	}
	img := b.image
	if err := json.Unmarshal(text, &img); err != nil {
		return Image{}, false, fmt.Errorf("read the cached image: %w; remove %s", err, dir)
	}
	img.Path, img.Cached = filepath.Join(dir, "bzImage"), true
	if _, err := os.Stat(img.Path); err != nil {
		return Image{}, false, fmt.Errorf("the cached image is not whole: %w; remove %s", err, dir)
	}
	return img, true, nil
}

// run builds, alone in its tree.
func (b *build) run(ctx context.Context) (_ Image, err error) {
	tree := b.source.tree(b.Cache)
	if err := os.MkdirAll(tree.dir, 0o750); err != nil {
		return Image{}, fmt.Errorf("make a folder for the source: %w", err)
	}
	unlock, err := Lock(ctx, filepath.Join(tree.dir, "lock"), func() {
		b.Progress(Step{What: "waiting for another build from this source"})
	})
	if err != nil {
		return Image{}, err
	}
	defer func() { err = errors.Join(err, unlock()) }()
	if img, ok, err := b.cached(); ok || err != nil {
		return img, err // the other build made it
	}
	begun := time.Now()
	b.Progress(Step{What: "unpacking the source"})
	if err := b.source.provide(ctx, tree); err != nil {
		return Image{}, err
	}
	if err := tree.apply(b.Variant); err != nil {
		return Image{}, fmt.Errorf("make the %s variant of %s: %w", b.Variant, b.source.name, err)
	}
	m, err := newMaker(tree, b)
	if err != nil {
		return Image{}, err
	}
	if err := m.make(ctx); err != nil {
		return Image{}, err
	}
	b.image.Release, b.image.Built, b.image.Seconds = m.release, begun.UTC().Truncate(time.Second),
		time.Since(begun).Seconds()
	return b.store(m)
}

// store puts the image in place with one rename: nobody sees half of it.
func (b *build) store(m *maker) (_ Image, err error) {
	images := filepath.Join(b.Cache, "images")
	if err := os.MkdirAll(images, 0o750); err != nil {
		return Image{}, fmt.Errorf("make a folder for images: %w", err)
	}
	dir, err := os.MkdirTemp(images, ".new-")
	if err != nil {
		return Image{}, fmt.Errorf("make a folder for the image: %w", err)
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, os.RemoveAll(dir))
		}
	}()
	text, err := json.MarshalIndent(b.image, "", "  ")
	if err != nil {
		return Image{}, fmt.Errorf("describe the image: %w", err)
	}
	err = errors.Join(
		os.Chmod(dir, 0o750), // MkdirTemp's is 0700
		copyFile(filepath.Join(m.objects, "arch/x86/boot/bzImage"), filepath.Join(dir, "bzImage")),
		copyFile(filepath.Join(m.objects, ".config"), filepath.Join(dir, "config")),
		os.WriteFile(filepath.Join(dir, "image.json"), append(text, '\n'), 0o644),
	)
	if err != nil {
		return Image{}, fmt.Errorf("keep the image: %w", err)
	}
	if err := os.Rename(dir, b.imageDir()); err != nil {
		return Image{}, fmt.Errorf("keep the image: %w", err)
	}
	img := b.image
	img.Path = filepath.Join(b.imageDir(), "bzImage")
	return img, nil
}

func copyFile(from, to string) (err error) {
	in, err := os.Open(from)
	if err != nil {
		return err
	}
	defer in.Close() //nolint:errcheck // it was only read
	out, err := os.Create(to)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, out.Close()) }()
	_, err = io.Copy(out, in)
	return err
}

// String is for people: what it is and where from.
func (i Image) String() string {
	parts := []string{"Linux " + i.Release, string(i.Variant)}
	if i.KASAN {
		parts = append(parts, "with KASAN")
	}
	return strings.Join(append(parts, "from "+i.Source), ", ")
}

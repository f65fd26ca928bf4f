package kbuild

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
)

// A tree is a source of one's own below the cache, and what was made of it:
//
//	source/    unpacked or copied, with the edits of the last variant
//	pristine/  the files that edits change, as they were
//	objects*/  make's output, with and without KASAN
type tree struct {
	dir string
}

func (t tree) source() string   { return filepath.Join(t.dir, "source") }
func (t tree) pristine() string { return filepath.Join(t.dir, "pristine") }

// tree is where the source has its place: a tarball by its contents, a folder by its name, so that after a change there
// only what it touches is compiled again.
func (s source) tree(cache string) tree {
	name := s.id
	if s.dir {
		h := sha256.New()
		h.Write([]byte(s.path))
		name = sum(h)
	}
	return tree{filepath.Join(cache, "trees", name)}
}

// provide makes the tree's source that of s. The files that edits change are brought to pristine alone.
func (s source) provide(ctx context.Context, t tree) error {
	if s.dir {
		return s.copyTo(ctx, t)
	}
	if _, err := os.Stat(t.source()); err == nil { // it came there whole, by a rename
		// An earlier release of this program may have known fewer edits. What it did not know, it did not change.
		return t.keepPristine(t.source())
	}
	unpacked := t.dir + "/unpacking"
	// From a run that was killed.
	if err := errors.Join(os.RemoveAll(unpacked), os.RemoveAll(t.pristine())); err != nil {
		return fmt.Errorf("remove what an earlier run left: %w", err)
	}
	if err := os.MkdirAll(unpacked, 0o750); err != nil {
		return fmt.Errorf("make a folder for the source: %w", err)
	}
	if err := run(ctx, t.dir, "tar", "--no-same-owner", "--strip-components=1", "-C", unpacked, "-xf",
		s.path); err != nil {
		return fmt.Errorf("unpack %s: %w", s.path, errors.Join(err, os.RemoveAll(unpacked)))
	}
	for _, file := range []string{"Kbuild", "Kconfig", "Makefile"} {
		if _, err := os.Stat(filepath.Join(unpacked, file)); err != nil {
			return fmt.Errorf("%s holds no source of Linux in one folder: %w", s.path,
				errors.Join(err, os.RemoveAll(unpacked)))
		}
	}
	if err := t.keepPristine(unpacked); err != nil {
		return err
	}
	if err := os.Rename(unpacked, t.source()); err != nil {
		return fmt.Errorf("unpack %s: %w", s.path, err)
	}
	return nil
}

// keepPristine copies the files that edits change, unless that was done before.
func (t tree) keepPristine(source string) error {
	for file := range editedFiles() {
		to := filepath.Join(t.pristine(), file)
		if _, err := os.Stat(to); err == nil {
			continue
		}
		err := os.MkdirAll(filepath.Dir(to), 0o750)
		if err == nil {
			err = copyFile(filepath.Join(source, file), to+".new")
		}
		if err == nil {
			err = os.Rename(to+".new", to)
		}
		if err != nil && !errors.Is(err, fs.ErrNotExist) { // apply tells of what lacks
			return fmt.Errorf("keep %s: %w", file, err)
		}
	}
	return nil
}

// copyTo brings the tree up to date with a folder: what differs in size or time is copied, what is not there any more
// goes.
func (s source) copyTo(ctx context.Context, t tree) error {
	edited := editedFiles()
	wanted := map[string]bool{}
	err := walkSource(ctx, s.path, func(name string, info fs.FileInfo) error {
		to := filepath.Join(t.source(), name)
		wanted[name] = true
		if edited[name] {
			to = filepath.Join(t.pristine(), name)
		}
		return copyIfChanged(filepath.Join(s.path, name), to, info)
	})
	if err != nil {
		return fmt.Errorf("copy the source %s: %w", s.path, err)
	}
	var gone []string
	for _, dir := range []string{t.source(), t.pristine()} {
		err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
			if errors.Is(err, fs.ErrNotExist) {
				return nil
			}
			if err != nil || d.IsDir() {
				return err
			}
			name, err := filepath.Rel(dir, path)
			if err != nil || wanted[name] {
				return err
			}
			gone = append(gone, path)
			return nil
		})
		if err != nil {
			return fmt.Errorf("look for what is not in the source %s any more: %w", s.path, err)
		}
	}
	for _, path := range gone {
		if err := os.Remove(path); err != nil {
			return fmt.Errorf("remove what is not in the source %s any more: %w", s.path, err)
		}
	}
	now, err := folderSum(ctx, s.path)
	if err != nil {
		return err
	}
	if now != s.id {
		return fmt.Errorf("the source %s changed while it was copied: build again", s.path)
	}
	return nil
}

func copyIfChanged(from, to string, info fs.FileInfo) error {
	if have, err := os.Lstat(to); err == nil {
		if have.Mode() == info.Mode() && have.Size() == info.Size() && have.ModTime().Equal(info.ModTime()) {
			return nil
		}
		if err := os.Remove(to); err != nil {
			return err
		}
	}
	if err := os.MkdirAll(filepath.Dir(to), 0o750); err != nil {
		return err
	}
	if info.Mode()&fs.ModeSymlink != 0 {
		target, err := os.Readlink(from)
		if err != nil {
			return err
		}
		if filepath.IsAbs(target) {
			return fmt.Errorf("%s is a link to %s: a source's links are relative", from, target)
		}
		return os.Symlink(target, to)
	}
	if err := copyFile(from, to); err != nil {
		return err
	}
	return errors.Join(os.Chmod(to, info.Mode().Perm()|0o200), os.Chtimes(to, info.ModTime(), info.ModTime()))
}

// editedFiles are those that some variant changes.
func editedFiles() map[string]bool {
	files := map[string]bool{}
	for _, e := range edits {
		files[e.file] = true
	}
	return files
}

// apply makes the tree's source that of a variant. A file that is so already keeps its time, so that make leaves what
// depends on it alone.
func (t tree) apply(v Variant) error {
	for file := range editedFiles() {
		text, err := os.ReadFile(filepath.Join(t.pristine(), file))
		if err != nil {
			return fmt.Errorf("the source has no %s: %w", file, err)
		}
		want := string(text)
		for _, e := range edits {
			if e.file != file {
				continue
			}
			if want, err = e.apply(want, v); err != nil {
				return fmt.Errorf("%s: %w", file, err)
			}
		}
		path := filepath.Join(t.source(), file)
		have, err := os.ReadFile(path)
		if err == nil && string(have) == want {
			continue
		}
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("read %s: %w", file, err)
		}
		err = errors.Join(os.MkdirAll(filepath.Dir(path), 0o750), os.WriteFile(path, []byte(want), 0o644)) //nolint:gosec // the names are those of edits
		if err != nil {
			return fmt.Errorf("edit the source: %w", err)
		}
	}
	return nil
}

// objects is make's output folder.
func (t tree) objects(kasan bool) string {
	name := []string{"objects"}
	if kasan {
		name = append(name, "kasan")
	}
	return filepath.Join(t.dir, strings.Join(name, "-"))
}

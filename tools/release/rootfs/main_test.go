package main

import (
	"archive/tar"
	"bytes"
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"testing"

	"github.com/google/go-containerregistry/pkg/v1/layout"
	"github.com/google/go-containerregistry/pkg/v1/validate"
)

// written is what a run makes of a program that is a few bytes long.
func written(t *testing.T) (root, image []byte) {
	t.Helper()
	t.Setenv("SOURCE_DATE_EPOCH", "1700000000")
	dir := t.TempDir()
	program := filepath.Join(dir, "verdictd")
	if err := os.WriteFile(program, []byte("program"), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := run(filepath.Join(dir, "root.tar"), filepath.Join(dir, "image.tar"), "amd64", "1.2.3", []string{program}); err != nil {
		t.Fatal(err)
	}
	for name, text := range map[string]*[]byte{"root.tar": &root, "image.tar": &image} {
		b, err := os.ReadFile(filepath.Join(dir, name))
		if err != nil {
			t.Fatal(err)
		}
		*text = b
	}
	return root, image
}

func TestSameInputSameBytes(t *testing.T) {
	root, image := written(t)
	root2, image2 := written(t)
	if !bytes.Equal(root, root2) || !bytes.Equal(image, image2) {
		t.Error("two runs differ")
	}
}

func TestRoot(t *testing.T) {
	root, _ := written(t)
	modes := map[string]int64{}
	for name, h := range entries(t, root) {
		modes[name] = h.Mode
		if h.ModTime.Unix() != 1700000000 || h.Uid != 0 || h.Gid != 0 {
			t.Errorf("%s: %+v", name, h)
		}
	}
	for name, want := range map[string]int64{"usr/bin/verdictd": 0o755, "etc/passwd": 0o644, "tmp/": 0o1777, "run/verdictd/": 0o755} {
		if modes[name] != want {
			t.Errorf("%s has the mode %o, want %o", name, modes[name], want)
		}
	}
}

func entries(t *testing.T, archive []byte) map[string]*tar.Header {
	t.Helper()
	all := map[string]*tar.Header{}
	r := tar.NewReader(bytes.NewReader(archive))
	for {
		h, err := r.Next()
		if errors.Is(err, io.EOF) {
			return all
		}
		if err != nil {
			t.Fatal(err)
		}
		all[h.Name] = h
	}
}

// TestImage reads it back as a registry's client does, which compares all sums.
func TestImage(t *testing.T) {
	_, archive := written(t)
	dir := t.TempDir()
	untar := exec.Command("tar", "-x", "-C", dir)
	untar.Stdin = bytes.NewReader(archive)
	if text, err := untar.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, text)
	}
	index, err := layout.ImageIndexFromPath(dir)
	if err != nil {
		t.Fatal(err)
	}
	if err := validate.Index(index); err != nil {
		t.Error(err)
	}
	manifest, err := index.IndexManifest()
	if err != nil || len(manifest.Manifests) != 1 {
		t.Fatalf("%+v, %v: want one image", manifest, err)
	}
	image, err := index.Image(manifest.Manifests[0].Digest)
	if err != nil {
		t.Fatal(err)
	}
	config, err := image.ConfigFile()
	if err != nil {
		t.Fatal(err)
	}
	if c := config.Config; config.OS != "linux" || config.Architecture != "amd64" || !slices.Equal(c.Entrypoint, entrypoint) ||
		!slices.Equal(c.Cmd, arguments) {
		t.Errorf("%+v", config)
	}
}

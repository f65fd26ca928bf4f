package main

import (
	"archive/tar"
	"bytes"
	"flag"
	"fmt"
	"io"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/layout"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/tarball"
)

// What the image starts: a parent that holds the queues' descriptors while the daemon restarts, and the daemon, whose
// configuration is mounted. There is none in the image: what is queued is the operator's to say.
var (
	entrypoint = []string{"/usr/bin/verdictd"}
	arguments  = []string{"supervise", "--", "run", "--config", "/etc/verdictd/verdictd.yaml"}
)

// texts are files of the root besides the programs.
var texts = map[string]string{ //nolint:gosec // no password is among them
	"etc/passwd": "root:x:0:0:root:/:/sbin/nologin\nverdictd:x:65533:65533:verdictd:/:/sbin/nologin\n",
	"etc/group":  "root:x:0:\nverdictd:x:65533:\n",
}

// folders are there for what programs write, and for what an orchestrator mounts.
var folders = []string{"dev", "etc", "etc/verdictd", "proc", "run", "run/verdictd", "sys", "tmp", "usr", "usr/bin", "var",
	"var/lib", "var/lib/verdictd"}

func main() {
	out := flag.String("out", "", "write the root file system to this tarball")
	oci := flag.String("oci", "", "write the image to this tarball")
	arch := flag.String("arch", "", "the programs' architecture, as Go names it")
	version := flag.String("version", "", "the version that the image bears")
	flag.Parse()
	if err := run(*out, *oci, *arch, *version, flag.Args()); err != nil {
		fmt.Fprintln(os.Stderr, "rootfs:", err)
		os.Exit(1)
	}
}

// epoch is the time that all files bear.
func epoch() time.Time {
	seconds, err := strconv.ParseInt(os.Getenv("SOURCE_DATE_EPOCH"), 10, 64)
	if err != nil {
		seconds = 0
	}
	return time.Unix(seconds, 0).UTC()
}

func run(out, oci, arch, version string, programs []string) error {
	files := map[string][]byte{}
	for name, text := range texts {
		files[name] = []byte(text)
	}
	for _, p := range programs {
		text, err := os.ReadFile(p)
		if err != nil {
			return err
		}
		files["usr/bin/"+filepath.Base(p)] = text
	}
	var root bytes.Buffer
	if err := writeRoot(&root, files); err != nil {
		return err
	}
	if err := os.WriteFile(out, root.Bytes(), 0o644); err != nil || oci == "" {
		return err
	}
	return writeImage(oci, root.Bytes(), arch, version)
}

// writeRoot writes entries sorted by name, so that a folder is before what is in it.
func writeRoot(w io.Writer, files map[string][]byte) error {
	names := slices.Clone(folders)
	for name := range files {
		names = append(names, name)
	}
	slices.Sort(names)
	t := tar.NewWriter(w)
	for _, name := range names {
		text, isFile := files[name]
		h := &tar.Header{Name: name + "/", Typeflag: tar.TypeDir, Mode: 0o755, ModTime: epoch(), Format: tar.FormatUSTAR}
		switch {
		case isFile:
			h.Name, h.Typeflag, h.Size, h.Mode = name, tar.TypeReg, int64(len(text)), 0o644
			if path.Dir(name) == "usr/bin" {
				h.Mode = 0o755
			}
		case name == "tmp":
			h.Mode = 0o1777
		}
		if err := t.WriteHeader(h); err != nil {
			return err
		}
		if _, err := t.Write(text); err != nil {
			return err
		}
	}
	return t.Close()
}

// writeImage makes an image of one layer and puts its layout into a tarball, as `skopeo copy oci-archive:FILE ...`,
// `podman load` and `ctr images import` take it.
func writeImage(name string, root []byte, arch, version string) error {
	layer, err := tarball.LayerFromOpener(func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(root)), nil })
	if err != nil {
		return err
	}
	image, err := mutate.Append(empty.Image, mutate.Addendum{Layer: layer, History: v1.History{
		Created: v1.Time{Time: epoch()}, CreatedBy: "make rootfs",
	}})
	if err != nil {
		return err
	}
	config, err := image.ConfigFile()
	if err != nil {
		return err
	}
	config = config.DeepCopy()
	config.Architecture, config.OS, config.Created = arch, "linux", v1.Time{Time: epoch()}
	config.Config = v1.Config{
		Entrypoint: entrypoint, Cmd: arguments, WorkingDir: "/", User: "0",
		Labels: map[string]string{
			"org.opencontainers.image.title":    "verdictd",
			"org.opencontainers.image.version":  version,
			"org.opencontainers.image.licenses": "Apache-2.0",
		},
	}
	if image, err = mutate.ConfigFile(image, config); err != nil {
		return err
	}
	dir, err := os.MkdirTemp("", "rootfs-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir) //nolint:errcheck // a temporary folder
	l, err := layout.Write(dir, empty.Index)
	if err != nil {
		return err
	}
	if err := l.AppendImage(image, layout.WithAnnotations(map[string]string{
		"org.opencontainers.image.ref.name": "verdictd:" + version,
	})); err != nil {
		return err
	}
	return pack(name, dir)
}

// pack puts a folder's files into a tarball, in the order of their names.
func pack(name, dir string) error {
	f, err := os.Create(name)
	if err != nil {
		return err
	}
	t := tar.NewWriter(f)
	err = filepath.WalkDir(dir, func(p string, d os.DirEntry, err error) error {
		if err != nil || p == dir {
			return err
		}
		relative, err := filepath.Rel(dir, p)
		if err != nil {
			return err
		}
		if d.IsDir() {
			return t.WriteHeader(&tar.Header{Name: relative + "/", Typeflag: tar.TypeDir, Mode: 0o755, ModTime: epoch()})
		}
		text, err := os.ReadFile(p)
		if err != nil {
			return err
		}
		if err := t.WriteHeader(&tar.Header{Name: relative, Typeflag: tar.TypeReg, Size: int64(len(text)), Mode: 0o644,
			ModTime: epoch()}); err != nil {
			return err
		}
		_, err = t.Write(text)
		return err
	})
	if err != nil {
		_ = f.Close()
		return err
	}
	if err := t.Close(); err != nil {
		_ = f.Close()
		return err
	}
	return f.Close()
}

package kbuild

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

const header = "include/net/netfilter/nf_conntrack_core.h"

// fakeSource is what passes for a source of Linux: its makefile answers the targets of a build, and its image says
// which header it was made of. It is also a test of the real make, process groups included.
func fakeSource(t *testing.T) string {
	t.Helper()
	// It needs make, tar and gcc's version. What only a kernel needs is made up where this machine has none.
	stubs := t.TempDir()
	libelf = filepath.Join(stubs, "libelf.h")
	for _, name := range []string{"flex", "bison", "bc", "perl", "libelf.h"} {
		if err := os.WriteFile(filepath.Join(stubs, name), []byte("#!/bin/sh\nexit 1\n"), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	t.Setenv("PATH", os.Getenv("PATH")+":"+stubs)
	dir := t.TempDir()
	for name, text := range map[string]string{
		"Kbuild": "", "Kconfig": "",
		header: recent, "net/netfilter/nf_conntrack_core.c": allocating,
		"net/netfilter/nf_conntrack_ecache.c": delivering,
		"Makefile": `allnoconfig:
	sed 's/^CONFIG_ABSENT=.*//' $(KCONFIG_ALLCONFIG) >$(O)/.config
kernelrelease:
	@echo 6.1.0$(LOCALVERSION)
bzImage:
	@echo "  CC      a.o"; echo "  LD      vmlinux"
	@if [ -e wait ]; then echo $$$$ >$(O)/waiting; sleep 1000; fi
	mkdir -p $(O)/arch/x86/boot
	cp include/net/netfilter/nf_conntrack_core.h $(O)/arch/x86/boot/bzImage
	echo built >>$(O)/count
`,
	} {
		path := filepath.Join(dir, name)
		if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o755),
			os.WriteFile(path, []byte(text), 0o644)); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

func fakeConfig(t *testing.T, source string, v Variant) Config {
	return Config{
		Source: source, Variant: v, Cache: filepath.Join(t.TempDir(), "cache"),
		Fragments:     []Fragment{{Name: "lab", Text: "CONFIG_NET=y\n"}},
		KASANFragment: Fragment{Name: "kasan", Text: "CONFIG_KASAN=y\n"},
	}
}

func mustBuild(t *testing.T, c Config) Image {
	t.Helper()
	img, err := Build(t.Context(), c)
	if err != nil {
		t.Fatal(err)
	}
	return img
}

func text(t *testing.T, path string) string {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

func TestBuildVariantsOfOneSource(t *testing.T) {
	source := fakeSource(t)
	// What a build inside the source left must not come along.
	for _, made := range []string{".config", "main.o", "include/config/auto.conf"} {
		path := filepath.Join(source, made)
		if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o755), os.WriteFile(path, nil, 0o644)); err != nil {
			t.Fatal(err)
		}
	}
	c := fakeConfig(t, source, Fixed)
	fixed := mustBuild(t, c)
	if fixed.Cached || fixed.Release != "6.1.0-lab-fixed" || text(t, fixed.Path) != recent {
		t.Errorf("got %+v", fixed)
	}
	c.Variant, c.KASAN = Vulnerable, true
	vulnerable := mustBuild(t, c)
	if vulnerable.Release != "6.1.0-lab-vulnerable-kasan" || vulnerable.Path == fixed.Path ||
		text(t, vulnerable.Path) != withoutRefetch.Replace(recent) {
		t.Errorf("got %+v", vulnerable)
	}
	if config := text(t, filepath.Join(filepath.Dir(vulnerable.Path), "config")); !strings.Contains(config,
		"CONFIG_KASAN=y") {
		t.Errorf("the configuration kept with the image is %q", config)
	}
	if text(t, filepath.Join(source, header)) != recent {
		t.Error("the user's source was written to")
	}
	copied, err := filepath.Glob(filepath.Join(c.Cache, "trees", "*", "source", "*"))
	if err != nil || len(copied) == 0 {
		t.Fatalf("no copy of the source: %v, %v", copied, err)
	}
	for _, path := range copied {
		if base := filepath.Base(path); base == "main.o" || base == ".config" {
			t.Errorf("%s was copied", path)
		}
	}
	again := mustBuild(t, c)
	if !again.Cached || again.Path != vulnerable.Path || again.Release != vulnerable.Release {
		t.Errorf("the second time gave %+v", again)
	}
	// A change of the source is another kernel; the time of a file counts, as it does for make.
	later := time.Now().Add(time.Hour)
	if err := os.Chtimes(filepath.Join(source, "Kconfig"), later, later); err != nil {
		t.Fatal(err)
	}
	if changed := mustBuild(t, c); changed.Cached || changed.Key == vulnerable.Key {
		t.Errorf("after a change the build gave %+v", changed)
	}
}

func TestBuildFromTarball(t *testing.T) {
	source := fakeSource(t)
	tarball := filepath.Join(t.TempDir(), "linux.tar.gz")
	if err := run(t.Context(), filepath.Dir(source), "tar", "-czf", tarball, filepath.Base(source)); err != nil {
		t.Fatal(err)
	}
	c := fakeConfig(t, tarball, Vulnerable)
	if img := mustBuild(t, c); text(t, img.Path) != withoutRefetch.Replace(recent) {
		t.Errorf("got %+v", img)
	}
	c.Variant = Fixed
	if img := mustBuild(t, c); text(t, img.Path) != recent {
		t.Errorf("got %+v", img)
	}
}

func TestBuildRefuses(t *testing.T) {
	source := fakeSource(t)
	for _, test := range []struct {
		name    string
		change  func(*Config)
		problem string
	}{
		{"no such variant", func(c *Config) { c.Variant = "broken" }, `no variant "broken"`},
		{"no source", func(c *Config) { c.Source = filepath.Join(source, "absent") }, "no such file"},
		{"another folder", func(c *Config) { c.Source = t.TempDir() }, "no source of Linux"},
		{"an option that does not come out", func(c *Config) { c.Fragments[0].Text = "CONFIG_ABSENT=y\n" },
			"asked for CONFIG_ABSENT=y"},
		{"another header", func(*Config) {
			if err := os.WriteFile(filepath.Join(source, header), []byte("int x;\n"), 0o644); err != nil {
				t.Fatal(err)
			}
		}, "is there 0 times"},
	} {
		t.Run(test.name, func(t *testing.T) {
			c := fakeConfig(t, source, Fixed)
			test.change(&c)
			if img, err := Build(t.Context(), c); err == nil || !strings.Contains(err.Error(), test.problem) {
				t.Errorf("got %v and error %v, want one with %q", img, err, test.problem)
			}
			if images, err := filepath.Glob(filepath.Join(c.Cache, "images", "*")); err != nil || len(images) > 0 {
				t.Errorf("there are images: %v, %v", images, err)
			}
		})
	}
}

// Two builds from one source take turns, and the second finds the first one's image.
func TestBuildsTakeTurns(t *testing.T) {
	c := fakeConfig(t, fakeSource(t), Fixed)
	type result struct {
		img Image
		err error
	}
	results := make(chan result)
	for range 3 {
		go func() {
			img, err := Build(t.Context(), c)
			results <- result{img, err}
		}()
	}
	var key string
	for range 3 {
		r := <-results
		if r.err != nil || key != "" && r.img.Key != key {
			t.Errorf("got %+v, %v", r.img, r.err)
		}
		key = r.img.Key
	}
	counts, err := filepath.Glob(filepath.Join(c.Cache, "trees", "*", "objects", "count"))
	if err != nil || len(counts) != 1 || text(t, counts[0]) != "built\n" {
		t.Errorf("not built once: %v, %v", counts, err)
	}
}

// An interrupted build leaves no process, no image and no lock.
func TestBuildIsInterrupted(t *testing.T) {
	source := fakeSource(t)
	wait := filepath.Join(source, "wait")
	if err := os.WriteFile(wait, nil, 0o644); err != nil {
		t.Fatal(err)
	}
	c := fakeConfig(t, source, Fixed)
	ctx, cancel := context.WithCancelCause(t.Context())
	stopped := errors.New("stopped by the test")
	ended := make(chan error, 1)
	go func() {
		_, err := Build(ctx, c)
		ended <- err
	}()
	var pid string
	for deadline := time.Now().Add(time.Minute); pid == ""; time.Sleep(5 * time.Millisecond) {
		if found, err := filepath.Glob(filepath.Join(c.Cache, "trees", "*", "objects", "waiting")); err == nil &&
			len(found) == 1 {
			pid = strings.TrimSpace(text(t, found[0]))
		}
		if time.Now().After(deadline) {
			t.Fatal("make never ran")
		}
	}
	cancel(stopped)
	if err := <-ended; !errors.Is(err, stopped) || strings.Contains(err.Error(), "all of its output") {
		t.Errorf("error %v, want the reason of the end", err)
	}
	gone := func() bool {
		stat, err := os.ReadFile(filepath.Join("/proc", pid, "stat"))
		return err != nil || strings.Contains(string(stat), ") Z ")
	}
	for deadline := time.Now().Add(time.Minute); !gone(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("process %s of make is still there", pid)
		}
	}
	if err := os.Remove(wait); err != nil {
		t.Fatal(err)
	}
	if img := mustBuild(t, c); img.Cached {
		t.Errorf("an interrupted build left %+v", img)
	}
}

func TestMissingToolsAreNamed(t *testing.T) {
	source := fakeSource(t)
	t.Setenv("PATH", t.TempDir())
	libelf = filepath.Join(t.TempDir(), "absent.h")
	_, err := Build(t.Context(), fakeConfig(t, source, Fixed))
	for _, want := range []string{"bison", "apt-get install", "libelf-dev", "xz-utils"} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("error %v does not say %s", err, want)
		}
	}
}

func TestKeysDependOnEverything(t *testing.T) {
	seen := map[string]bool{}
	for _, parts := range [][]string{{"a", "b"}, {"ab", ""}, {"", "ab"}, {"a", "b", ""}, {"b", "a"}, {"a", "c"}} {
		k := key(parts...)
		if seen[k] {
			t.Errorf("%q has the key of another", parts)
		}
		seen[k] = true
	}
	if again := key("a", "b"); !seen[again] {
		t.Error("the same has two keys")
	}
}

func TestEstimate(t *testing.T) {
	cache := t.TempDir()
	e := newEstimate(cache, true, false)
	if e.total() != estimates["whole-kasan"] {
		t.Errorf("the first estimate is %d", e.total())
	}
	var steps []Step
	output := strings.Repeat("  CC      a.o\n", 90) + "make: something else\n"
	if err := e.watch(strings.NewReader(output), func(s Step) { steps = append(steps, s) }); err != nil ||
		e.done != 90 {
		t.Fatalf("%d steps counted, %v", e.done, err)
	}
	if len(steps) == 0 || steps[0].Done != 1 || steps[0].Left != 0 {
		t.Errorf("the first steps were told as %+v", steps)
	}
	if err := e.remember(); err != nil {
		t.Fatal(err)
	}
	e = newEstimate(cache, true, false)
	e.done = 30
	if s := e.step(e.begun.Add(time.Minute)); s.Total != 90 || s.Left != 2*time.Minute {
		t.Errorf("a third of the way, after a minute: %+v", s)
	}
	e.done = 91
	if s := e.step(e.begun.Add(time.Minute)); s.Total != 0 || s.Left != 0 {
		t.Errorf("more steps than the last time: %+v", s)
	}
	if e := newEstimate(cache, true, true); e.total() != estimates["again-kasan"] {
		t.Errorf("the count of a whole build is that of another kind: %d", e.total())
	}
	if err := os.WriteFile(filepath.Join(cache, "estimates.json"), []byte("no"), 0o644); err != nil {
		t.Fatal(err)
	}
	if e := newEstimate(cache, false, false); e.total() != estimates["whole"] {
		t.Errorf("with a broken file the estimate is %d", e.total())
	}
}

package main

import (
	"bytes"
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"verdictd/internal/testkit"
)

// scripts take the place of all programs that are looked for by name.
func scripts(t *testing.T, programs map[string]string) {
	t.Helper()
	dir := t.TempDir()
	for name, script := range programs {
		if err := os.WriteFile(filepath.Join(dir, name), []byte("#!/bin/sh\n"+script+"\n"), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	t.Setenv("PATH", dir)
}

// TestFactsSayHowFarTheyAre: each suite's changelog takes its time.
func TestFactsSayHowFarTheyAre(t *testing.T) {
	scripts(t, map[string]string{
		"apt-config": "", "apt-cache": "",
		"apt-get":  `case "$*" in *download*) : >p.deb ;; esac`,
		"dpkg-deb": `d=$3/usr/share/doc/linux-libc-dev; /bin/mkdir -p $d; { echo 'linux (6.1.130-1) sid; urgency=low'; echo '    https://kernel.org/ChangeLog-6.1.130'; } >$d/changelog.Debian.gz`,
	})
	var out bytes.Buffer
	screen, text := testkit.Screen(t)
	run(t.Context(), []string{"facts", "--suite", "bookworm,sid"}, streams{&out, screen})
	for _, want := range []string{"[1/2, ", "bookworm", "[2/2, ", " sid"} {
		await(t, text, want)
	}
}

// TestKernelRunSaysHowFarItIs: a machine that has said nothing yet is shown with the time that it has.
func TestKernelRunSaysHowFarItIs(t *testing.T) {
	scripts(t, map[string]string{"qemu-system-x86_64": `case "$*" in *isa-debug-exit*) printf ok; exit 33 ;; esac; exec /bin/sleep 1000`})
	bin := t.TempDir()
	for _, name := range []string{"lab", "verdictd", "stress", "conntrackwatch", "bzImage"} {
		if err := os.WriteFile(filepath.Join(bin, name), nil, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	var out bytes.Buffer
	screen, text := testkit.Screen(t)
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		run(ctx, []string{"kernel", "run", "--bin", bin, "--image", filepath.Join(bin, "bzImage"), "--timeout", "1m", "--", "true"}, streams{&out, screen})
	}()
	await(t, text, "the machine boots and runs true, for 1m0s at most")
	cancel()
	<-ended
}

// await waits for a text on the screen.
func await(t *testing.T, shown func() string, want string) {
	t.Helper()
	for deadline := time.Now().Add(time.Minute); !strings.Contains(shown(), want); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("no %q on the screen: %q", want, shown())
		}
	}
}

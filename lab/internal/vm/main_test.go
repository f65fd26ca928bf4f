package vm

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

// testInit is where the machines of the tests have that program.
const testInit = "/bin/init"

// The tests' own program is the init of the machines that they boot, and the command that runs there.
func TestMain(m *testing.M) {
	switch {
	case os.Getpid() == 1 && filepath.Base(os.Args[0]) == "system":
		time.Sleep(time.Hour) // the machine ends with the command
	case slices.Contains(os.Args, "guest"):
		fmt.Fprintln(os.Stderr, Guest())
		os.Exit(1)
	case len(os.Args) == 3 && os.Args[1] == "inside":
		os.Exit(inside(os.Args[2]))
	}
	os.Exit(m.Run())
}

// inside is what the command does in a guest.
func inside(what string) int {
	fail := func(err error) {
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(99)
		}
	}
	fmt.Println("PATH:", os.Getenv("PATH"))
	switch what {
	case "report":
		modules, err := os.ReadFile("/proc/modules")
		fail(err)
		for line := range strings.Lines(string(modules)) {
			name, _, _ := strings.Cut(line, " ")
			fmt.Println("module:", name)
		}
		lo, err := os.ReadFile("/sys/class/net/lo/flags")
		fail(err)
		fmt.Println("lo:", strings.TrimSpace(string(lo)), os.Getenv("LAB_TEST"))
		text, err := os.ReadFile("/data/sub/file")
		fail(err)
		fail(os.MkdirAll("/out/sub", 0o755))
		fail(os.WriteFile("/out/sub/copy", text, 0o600))
		fail(os.WriteFile("/out/large", make([]byte, 300_000), 0o600))
		fmt.Fprint(os.Stderr, "on stderr")
		return 3
	case "system":
		line, err := os.ReadFile("/proc/1/cmdline")
		fail(err)
		fmt.Println("first:", strings.Trim(string(line), "\x00"))
		return 0
	case "panic":
		// or the line above may still be on its way to the serial port, and is lost with the machine
		time.Sleep(time.Second)
		fail(os.WriteFile("/proc/sys/kernel/sysrq", []byte("1"), 0))
		fail(os.WriteFile("/proc/sysrq-trigger", []byte("c"), 0))
	}
	return 98
}

// testKernel is the kernel that tests boot.
func testKernel(t *testing.T) string {
	t.Helper()
	kernel := os.Getenv("VERDICTD_TEST_KERNEL")
	if kernel == "" {
		t.Skip("VERDICTD_TEST_KERNEL names no kernel to boot: VERDICTD_TEST_KERNEL=$(bin/lab kernel fetch debian) go test ./lab/internal/vm")
	}
	if _, err := FindQEMU(); err != nil {
		t.Fatal(err)
	}
	return kernel
}

// fakeQEMU puts a shell script in QEMU's place.
func fakeQEMU(t *testing.T, script string) {
	t.Helper()
	dir := t.TempDir()
	if script != "" {
		if err := os.WriteFile(filepath.Join(dir, "qemu-system-x86_64"), []byte("#!/bin/sh\n"+script),
			0o755); err != nil {
			t.Fatal(err)
		}
	}
	t.Setenv("PATH", dir)
}

package privileges

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"

	"golang.org/x/sys/unix"

	"verdictd/internal/testkit"
)

// asConfined has this test's program confine itself and say what it can still do.
const asConfined = "PRIVILEGES_TEST_FOLDER"

func TestMain(m *testing.M) {
	if folder := os.Getenv(asConfined); folder != "" {
		confinedMain(folder)
		return
	}
	testkit.Main(m)
}

// attempts are what the daemon has no use for, and what it has. They are made on many threads, some of which are older
// than the fences.
var attempts = []struct {
	name string
	may  bool
	do   func(folder string) error
}{
	{"read the configuration", true, func(f string) error { _, err := os.ReadFile(filepath.Join(f, "read/file")); return err }},
	{"read /proc", true, func(string) error { _, err := os.ReadFile("/proc/self/status"); return err }},
	{"read another file", false, func(string) error { _, err := os.ReadFile("/etc/passwd"); return err }},
	{"write the statistics", true, func(f string) error {
		file, err := os.CreateTemp(filepath.Join(f, "write"), "x")
		if err != nil {
			return err
		}
		return errors.Join(file.Close(), os.Rename(file.Name(), file.Name()+".renamed"))
	}},
	{"write beside the configuration", false, func(f string) error { return os.WriteFile(filepath.Join(f, "read/new"), nil, 0o600) }},
	{"write a setting of the kernel", false, func(string) error { return os.WriteFile("/proc/sys/net/ipv4/ip_forward", []byte("1"), 0) }},
	{"execute", false, func(string) error { return exec.Command("/bin/true").Run() }},
	{"open a packet socket", false, func(string) error { return socket(unix.AF_PACKET) }},
	{"open a netlink socket", true, func(string) error { return socket(unix.AF_NETLINK) }},
	{"make a namespace", false, func(string) error { return unix.Unshare(unix.CLONE_NEWUSER) }},
	{"trace a process", false, func(string) error { return unix.PtraceAttach(os.Getppid()) }},
	{"load a program into the kernel", false, func(string) error {
		_, _, errno := unix.Syscall(unix.SYS_BPF, 0, 0, 0)
		if errno == unix.EPERM {
			return errno
		}
		return nil
	}},
}

func socket(family int) error {
	fd, err := unix.Socket(family, unix.SOCK_RAW|unix.SOCK_CLOEXEC, 0)
	if err == nil {
		err = unix.Close(fd)
	}
	return err
}

func confinedMain(folder string) {
	var ready, done sync.WaitGroup
	fenced := make(chan struct{})
	results := make(chan string, 1000)
	try := func() {
		for _, a := range attempts {
			if err := a.do(folder); (err == nil) != a.may {
				results <- fmt.Sprintf("%s: %v", a.name, err)
			}
		}
	}
	for range 4 {
		ready.Add(1)
		done.Go(func() {
			runtime.LockOSThread()
			ready.Done()
			<-fenced
			try()
		})
	}
	ready.Wait()
	confined, err := Confine(Config{
		Capabilities: true, Seccomp: true, Landlock: true,
		Read: []string{filepath.Join(folder, "read"), "/nonexistent"}, Write: []string{filepath.Join(folder, "write")},
	})
	if err != nil {
		fmt.Println("error", err)
		return
	}
	fmt.Println("in force", confined.Done, confined.Missing)
	close(fenced)
	done.Go(func() { runtime.LockOSThread(); try() })
	done.Wait()
	close(results)
	for r := range results {
		fmt.Println("wrong:", r)
	}
}

func TestFences(t *testing.T) {
	folder := t.TempDir()
	for _, name := range []string{"read", "write"} {
		if err := os.Mkdir(filepath.Join(folder, name), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.WriteFile(filepath.Join(folder, "read/file"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command("/proc/self/exe")
	cmd.Env = append(os.Environ(), asConfined+"="+folder)
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	for line := range strings.Lines(string(out)) {
		switch line = strings.TrimSpace(line); {
		case strings.HasPrefix(line, "wrong:"), strings.HasPrefix(line, "error"):
			t.Error(line)
		case strings.HasPrefix(line, "in force"):
			t.Log(line)
			for _, part := range []string{"no_new_privs", "capabilities", "landlock", "seccomp"} {
				if !strings.Contains(line, part) {
					t.Skipf("this kernel has no %s: %s", part, line)
				}
			}
		}
	}
}

func TestUnknownUser(t *testing.T) {
	for _, name := range []string{"no-such-user", "-1", "4294967296"} {
		if _, err := Confine(Config{User: name}); err == nil || !strings.Contains(err.Error(), "privileges.user") {
			t.Errorf("%s: %v", name, err)
		}
	}
	if o, err := lookUp("123456"); err != nil || *o != (owners{123456, 123456}) {
		t.Errorf("a number without a name: %+v, %v", o, err)
	}
	if o, err := lookUp("root"); err != nil || *o != (owners{0, 0}) {
		t.Errorf("root: %+v, %v", o, err)
	}
}

// TestCallsAreNamedOnce keeps the list readable.
func TestCallsAreNamedOnce(t *testing.T) {
	list := slices.Clone(calls)
	slices.Sort(list)
	if n := len(list) - len(slices.Compact(slices.Clone(list))); n != 0 {
		t.Errorf("%d are there twice", n)
	}
}

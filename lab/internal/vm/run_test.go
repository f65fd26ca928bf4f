package vm

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

func readText(t *testing.T, name string) string {
	t.Helper()
	b, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// fakeConfig is a run under a QEMU that is a shell script.
func fakeConfig(t *testing.T, script string) Config {
	t.Helper()
	fakeQEMU(t, "case \"$*\" in *isa-debug-exit*) printf ok; exit 33;; esac\n"+script)
	t.Setenv("TMPDIR", t.TempDir())
	return Config{Kernel: "/etc/passwd", Command: []string{"true"}, Init: "/bin/true", InitPath: testInit}
}

func TestCommandEnds(t *testing.T) {
	// Frames as a guest sends them: ready, "hi" on stdout, exit status 5, end.
	var frames strings.Builder
	w := &frameWriter{w: &frames}
	for _, f := range []struct {
		kind kind
		body string
	}{{kindReady, ""}, {kindStart, ""}, {kindStdout, "hi"}, {kindExit, "\x00\x00\x00\x05"}, {kindEnd, ""}} {
		if err := w.write(f.kind, []byte(f.body)); err != nil {
			t.Fatal(err)
		}
	}
	file := filepath.Join(t.TempDir(), "frames")
	if err := os.WriteFile(file, []byte(frames.String()), 0o600); err != nil {
		t.Fatal(err)
	}
	c := fakeConfig(t, "printf 'booting\\r\\n'\n/bin/cat "+file+" >&3\n")
	var live strings.Builder
	c.Console = &live
	r, err := Run(t.Context(), c)
	if err != nil {
		t.Fatal(err)
	}
	if r.Ended != EndedExited || r.ExitStatus != 5 || string(r.Stdout) != "hi" || string(r.Console) != "booting\n" ||
		live.String() != "booting\n" {
		t.Errorf("%+v, console %q and %q", r, r.Console, live.String())
	}
	emptied(t)
}

// A console that says too much is kept from both ends.
func TestLongConsole(t *testing.T) {
	c := newConsole(nil)
	line := strings.Repeat("x", 1<<20-2) + "\r\n"
	for i := range 40 {
		if _, err := c.Write([]byte(strconv.Itoa(10+i) + line[2:])); err != nil {
			t.Fatal(err)
		}
	}
	text := string(c.text())
	if len(text) < 2*maxConsole || len(text) > 3*maxConsole || !strings.HasPrefix(text, "10x") ||
		!strings.Contains(text[len(text)-1<<20:], "49x") || strings.Contains(text, "\r") {
		t.Errorf("%d bytes, from %.5q to %.5q", len(text), text, text[len(text)-1<<20:])
	}
}

// emptied says whether anything is left of runs in the folder for temporary files.
func emptied(t *testing.T) {
	t.Helper()
	left, err := os.ReadDir(os.TempDir())
	if err != nil || len(left) > 0 {
		t.Errorf("left behind: %v, %v", left, err)
	}
}

func TestMachinesThatFail(t *testing.T) {
	var frame strings.Builder
	if err := (&frameWriter{w: &frame}).write(kindReady, nil); err != nil {
		t.Fatal(err)
	}
	octal := ""
	for _, b := range []byte(frame.String()) {
		octal += `\` + strconv.FormatInt(0o1000+int64(b), 8)[1:]
	}
	ready := "printf '" + octal + "' >&3\n"
	for _, test := range []struct {
		name, script string
		ended        string
		err          string // part of it, where the run is an error
	}{
		{"panic", ready + "echo '[    1.0] Kernel panic - not syncing: boom'", EndedPanic, ""},
		{"reset", ready + "echo running", EndedLost, ""},
		{"hang", ready + "echo running; exec /bin/sleep 1000", EndedTimeout, ""},
		{"hang before init", "echo booting; exec /bin/sleep 1000", EndedTimeout, ""},
		{"no init", "echo '[    1.0] Kernel panic - not syncing: No working init found.'", "", "No working init found"},
		{"QEMU refuses", "echo 'qemu-system-x86_64: invalid kernel header' >&2; exit 1", "",
			"QEMU: invalid kernel header"},
	} {
		t.Run(test.name, func(t *testing.T) {
			c := fakeConfig(t, test.script)
			c.Timeout = time.Second
			if !strings.Contains(test.script, "sleep") {
				c.Timeout = time.Minute
			}
			r, err := Run(t.Context(), c)
			switch {
			case test.err != "" && (err == nil || !strings.Contains(err.Error(), test.err)):
				t.Errorf("error %v, want %q", err, test.err)
			case test.err == "" && err != nil:
				t.Error(err)
			case test.err == "" && r.Ended != test.ended:
				t.Errorf("ended %q, want %q", r.Ended, test.ended)
			}
			emptied(t)
		})
	}
}

// A context's end ends QEMU and what that started.
func TestCancelledRunLeavesNoProcess(t *testing.T) {
	c := fakeConfig(t, "/bin/sleep 1000 &\necho $! >$0.child\necho $$ >$0.self\necho up\nwait\n")
	ctx, cancel := context.WithCancel(t.Context())
	c.Console = writerFunc(func([]byte) { cancel() })
	if _, err := Run(ctx, c); !errors.Is(err, context.Canceled) {
		t.Errorf("%v, want the context's error", err)
	}
	qemu, err := FindQEMU()
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{".self", ".child"} {
		pid, err := strconv.Atoi(strings.TrimSpace(readText(t, qemu+name)))
		if err != nil {
			t.Fatal(err)
		}
		// An orphan that was killed is there until its new parent has looked at it.
		for deadline := time.Now().Add(time.Minute); running(pid); time.Sleep(10 * time.Millisecond) {
			if time.Now().After(deadline) {
				t.Fatalf("process %d (%s) still runs", pid, name)
			}
		}
	}
	emptied(t)
}

func running(pid int) bool {
	if syscall.Kill(pid, 0) != nil {
		return false
	}
	stat, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/stat")
	if err != nil {
		return false
	}
	_, state, _ := strings.Cut(string(stat), ") ")
	return !strings.HasPrefix(state, "Z")
}

type writerFunc func([]byte)

func (f writerFunc) Write(b []byte) (int, error) { f(b); return len(b), nil }

func TestEverythingWrongIsSaid(t *testing.T) {
	c := Config{Kernel: "/does/not/exist", CPUs: 1000, Memory: 3, Files: []File{{Host: "relative"}},
		Append: []string{"a -- b"}, Timeout: -1}
	err := c.check()
	for _, part := range []string{"/does/not/exist", "no command", "1000 CPUs", "3 MiB", "relative", "a -- b", "-1ns"} {
		if err == nil || !strings.Contains(err.Error(), part) {
			t.Errorf("%v does not say %q", err, part)
		}
	}
}

// The rest boots.

func TestGuest(t *testing.T) {
	data := t.TempDir()
	if err := os.MkdirAll(filepath.Join(data, "sub"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(data, "sub/file"), []byte("what was given"), 0o600); err != nil {
		t.Fatal(err)
	}
	c := Config{Kernel: testKernel(t), InitPath: testInit, InitArgs: []string{"guest"},
		Command: []string{testInit, "inside", "report"}, Env: []string{"LAB_TEST=set"},
		Files: []File{{Host: data, Guest: "/data"}}, Timeout: 10 * time.Minute}
	if c.Modules = ModulesOf(c.Kernel); c.Modules == "" {
		t.Fatalf("%s has no modules beside it", c.Kernel)
	}
	c.ModuleNames = []string{"nft_queue", "nf_conntrack_netlink", "dummy"}
	r, err := Run(t.Context(), c)
	if err != nil {
		t.Fatal(err)
	}
	if r.Ended != EndedExited || r.ExitStatus != 3 || string(r.Stderr) != "on stderr" || r.BootSeconds <= 0 ||
		r.Seconds < r.BootSeconds {
		t.Errorf("%+v; stderr %q", r, r.Stderr)
	}
	lines := strings.Split(string(r.Stdout), "\n")
	for _, want := range []string{"module: nf_conntrack", "module: nft_queue", "module: nf_conntrack_netlink",
		"module: dummy", "lo: 0x9 set"} {
		if !slices.Contains(lines, want) {
			t.Errorf("no %q in the command's output:\n%s", want, r.Stdout)
		}
	}
	if string(r.Outputs["sub/copy"]) != "what was given" || len(r.Outputs["large"]) != 300_000 {
		t.Errorf("files: %q, and a large one of %d bytes", r.Outputs["sub/copy"], len(r.Outputs["large"]))
	}
	if len(r.Reports) != 0 {
		t.Errorf("the kernel complains: %+v", r.Reports)
	}
}

func TestGuestPanics(t *testing.T) {
	r, err := Run(t.Context(), Config{Kernel: testKernel(t), InitPath: testInit, InitArgs: []string{"guest"},
		Command: []string{testInit, "inside", "panic"}, Timeout: 10 * time.Minute})
	if err != nil {
		t.Fatal(err)
	}
	if r.Ended != EndedPanic || len(r.Reports) == 0 || !strings.HasPrefix(string(r.Stdout), "PATH: /bin") {
		t.Errorf("%+v; stdout %q; console:\n%s", r, r.Stdout, r.Console)
	}
}

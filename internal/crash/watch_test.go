package crash

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// fakeKernel is a log and a taint mask in files.
type fakeKernel struct {
	t          *testing.T
	log, taint string
}

func newFakeKernel(t *testing.T) fakeKernel {
	t.Helper()
	k := fakeKernel{t, filepath.Join(t.TempDir(), "kmsg"), filepath.Join(t.TempDir(), "tainted")}
	was := taintFile
	taintFile = k.taint
	t.Cleanup(func() { taintFile = was })
	k.setTaint("0")
	k.print("BUG: from before the watch\n")
	return k
}

func (k fakeKernel) print(text string) {
	k.t.Helper()
	f, err := os.OpenFile(k.log, os.O_WRONLY|os.O_APPEND|os.O_CREATE, 0o600)
	if err != nil {
		k.t.Fatal(err)
	}
	if _, err := f.WriteString(text); err != nil {
		k.t.Fatal(err)
	}
	if err := f.Close(); err != nil {
		k.t.Fatal(err)
	}
}

func (k fakeKernel) setTaint(mask string) {
	k.t.Helper()
	if err := os.WriteFile(k.taint, []byte(mask+"\n"), 0o600); err != nil {
		k.t.Fatal(err)
	}
}

func (k fakeKernel) watch() *Watch {
	k.t.Helper()
	w, err := StartFrom(k.log)
	if err != nil {
		k.t.Fatal(err)
	}
	k.t.Cleanup(func() { _ = w.Close() })
	return w
}

func check(t *testing.T, w *Watch) Findings {
	t.Helper()
	f, err := w.Check()
	if err != nil {
		t.Fatal(err)
	}
	return f
}

func TestWatch(t *testing.T) {
	k := newFakeKernel(t)
	k.setTaint("4096")
	w := k.watch()
	if f := check(t, w); f.Broken() || f.Unread != "" || f.TaintBefore != 4096 {
		t.Errorf("before anything happens: %+v", f)
	}
	text := file(t, "kasan-confirm.txt")
	half := strings.Index(text, "Freed by task")
	k.print(text[:half-5]) // in the middle of a line
	if f := check(t, w); len(f.Reports) != 1 || f.Reports[0].Kind != KindKASAN || f.Reports[0].Signature != "" {
		t.Errorf("half a report: %+v", f.Reports)
	}
	k.print(text[half-5:])
	k.setTaint("4128")
	for range 2 { // asking again changes nothing
		f := check(t, w)
		if len(f.Reports) != 1 || f.Reports[0].Signature != "nf_conntrack_confirm" || f.NewTaint() != 32 || !f.Broken() {
			t.Errorf("a report and a bit of taint: %+v", f)
		}
	}
	k.print(file(t, "refcount.txt"))
	if f := check(t, w); len(f.Reports) != 2 || f.Reports[1].Kind != KindWarning {
		t.Errorf("a second report: %+v", f.Reports)
	}
}

// A pipe may stand for the log, and an empty one is not waited for.
func TestWatchPipe(t *testing.T) {
	k := newFakeKernel(t)
	k.log = filepath.Join(t.TempDir(), "pipe")
	if err := unix.Mkfifo(k.log, 0o600); err != nil {
		t.Fatal(err)
	}
	w := k.watch()
	done := make(chan Findings)
	go func() {
		f, err := w.Check()
		if err != nil {
			t.Error(err)
		}
		done <- f
	}()
	select {
	case f := <-done:
		if f.Broken() || f.Unread != "" {
			t.Errorf("%+v", f)
		}
	case <-time.After(30 * time.Second):
		t.Fatal("waits for an empty pipe")
	}
	k.print("4,1,1,-;BUG: through a pipe\n")
	if f := check(t, w); len(f.Reports) != 1 {
		t.Errorf("%+v", f)
	}
}

// Where the log is refused the reason is told, and the taint still counts.
func TestWatchWithoutLog(t *testing.T) {
	k := newFakeKernel(t)
	for path, want := range map[string]string{
		filepath.Join(t.TempDir(), "missing"): "no such file",
		t.TempDir():                           "read the kernel log", // a folder; file systems differ in how they refuse it
	} {
		k.log = path
		k.setTaint("0")
		w := k.watch()
		k.setTaint("512")
		if f := check(t, w); !strings.Contains(f.Unread, want) || f.NewTaint() != 512 || !f.Broken() {
			t.Errorf("%s: %+v", path, f)
		}
	}
	if text := refusal("/dev/kmsg", unix.EPERM); !strings.Contains(text, "operation not permitted") {
		t.Error(text)
	}
}

func TestWatchWithoutTaint(t *testing.T) {
	k := newFakeKernel(t)
	k.setTaint("many")
	if _, err := StartFrom(k.log); err == nil || !strings.Contains(err.Error(), "taint") {
		t.Errorf("%v", err)
	}
	k.setTaint("0")
	w := k.watch()
	if err := os.Remove(k.taint); err != nil {
		t.Fatal(err)
	}
	k.print("BUG: all the same\n")
	if f, err := w.Check(); err == nil || len(f.Reports) != 1 {
		t.Errorf("%+v, %v; want the report and the error", f, err)
	}
}

// The running kernel's: read or refused with a reason, and its reports are those of a sound machine.
func TestRunningKernel(t *testing.T) {
	w, err := Start()
	if err != nil {
		t.Fatal(err)
	}
	f := check(t, w)
	if f.Broken() {
		t.Errorf("%+v", f)
	}
	t.Logf("taint %#x (%s), unread %q", f.TaintAfter, DescribeTaint(f.TaintAfter), f.Unread)
	if os.Geteuid() == 0 && f.Unread != "" {
		if _, err := os.Stat(kernelLog); err == nil && inFirstUserNamespace(t) {
			t.Errorf("root cannot read the log: %s", f.Unread)
		}
	}
}

func inFirstUserNamespace(t *testing.T) bool {
	t.Helper()
	b, err := os.ReadFile("/proc/self/uid_map")
	if err != nil {
		t.Fatal(err)
	}
	return strings.Join(strings.Fields(string(b)), " ") == "0 0 4294967295"
}

func TestDescribeTaint(t *testing.T) {
	for mask, want := range map[uint64]string{0: "", 1 << 9: "W: the kernel printed a warning", 1 << 40: "does not know"} {
		if got := DescribeTaint(mask); !strings.Contains(got, want) || (mask == 0) != (got == "") {
			t.Errorf("%#x: %q", mask, got)
		}
	}
	if got := DescribeTaint(1<<7 | 1<<12); !strings.Contains(got, "D: ") || !strings.Contains(got, "; O: ") {
		t.Error(got)
	}
}

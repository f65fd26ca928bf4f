package traffic

import (
	"bufio"
	"io"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"
)

// asLeaker makes this test binary a program that holds on to 32 MiB and 20 descriptors for each line that it reads.
const asLeaker = "TRAFFIC_TEST_AS_LEAKER"

var held struct {
	memory [][]byte
	files  []*os.File
}

func leak() {
	for in := bufio.NewScanner(os.Stdin); in.Scan(); {
		b := make([]byte, 32<<20)
		for i := 0; i < len(b); i += 1024 {
			b[i] = 1
		}
		held.memory = append(held.memory, b)
		for range 20 {
			f, err := os.Open("/dev/null")
			if err != nil {
				os.Exit(1)
			}
			held.files = append(held.files, f)
		}
		_, _ = os.Stdout.WriteString("done\n")
	}
}

// leaker starts it. More makes it take more, end makes it end.
func leaker(t *testing.T) (pid int, more, end func()) {
	t.Helper()
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(exe)
	cmd.Env = append(os.Environ(), asLeaker+"=1")
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	lines := bufio.NewReader(out)
	more = func() {
		if _, err := io.WriteString(in, "more\n"); err != nil {
			t.Fatal(err)
		}
		if _, err := lines.ReadString('\n'); err != nil {
			t.Fatal(err)
		}
	}
	more() // it is started, and has what its runtime needs
	ended := false
	end = func() {
		if ended {
			return
		}
		ended = true
		in.Close()
		if err := cmd.Wait(); err != nil {
			t.Error(err)
		}
	}
	t.Cleanup(end)
	return cmd.Process.Pid, more, end
}

const growth = 16 << 20

func TestWatchFindsGrowth(t *testing.T) {
	pid, more, _ := leaker(t)
	w, err := WatchProcesses([]int{pid})
	if err != nil {
		t.Fatal(err)
	}
	more() // while it warms up
	w.Warm()
	if err := w.Sample(); err != nil {
		t.Fatal(err)
	}
	p := &w.Processes()[0]
	if got := p.Violations(growth, 20); len(got) != 0 {
		t.Errorf("warming up is a leak: %q", got)
	}
	if got := p.Violations(growth, 19); len(got) != 1 || !strings.Contains(got[0], "descriptors open") {
		t.Errorf("%q, want 20 descriptors too many", got)
	}
	more()
	if err := w.Sample(); err != nil {
		t.Fatal(err)
	}
	if got := p.Violations(growth, 40); len(got) != 1 || !strings.Contains(got[0], "grew from") {
		t.Errorf("%q, want 32 MiB too many", got)
	}
	if m := p.Memory; m.Start == 0 || m.Warm < m.Start+growth || m.End < m.Warm+growth || m.Max < m.End || p.Samples != 3 {
		t.Errorf("%+v", p)
	}
}

func TestWatchNoticesAnEnd(t *testing.T) {
	pid, _, end := leaker(t)
	w, err := WatchProcesses([]int{pid, os.Getpid()})
	if err != nil {
		t.Fatal(err)
	}
	end()
	if err := w.Sample(); err != nil {
		t.Fatal(err)
	}
	gone, here := w.Processes()[0], w.Processes()[1]
	if got := gone.Violations(growth, 0); len(got) != 1 || !strings.Contains(got[0], "ended") {
		t.Errorf("%q, want that it ended", got)
	}
	if got := here.Violations(growth, 10); len(got) != 0 || here.Samples != 2 {
		t.Errorf("%q of %+v", got, here)
	}
	if _, err := WatchProcesses([]int{pid}); err == nil || !strings.Contains(err.Error(), "there is none") {
		t.Errorf("%v, want that there is no such process", err)
	}
}

func TestWatchRuns(t *testing.T) {
	w, err := WatchProcesses([]int{os.Getpid()})
	if err != nil {
		t.Fatal(err)
	}
	stop, done := make(chan struct{}), make(chan error)
	go func() { done <- w.Run(stop, time.Hour, time.Nanosecond) }()
	close(stop)
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	if n := w.Processes()[0].Samples; n < 2 {
		t.Errorf("%d samples, want one at the start and one at the end", n)
	}
}

func TestSelf(t *testing.T) {
	before, err := ReadSelf()
	if err != nil {
		t.Fatal(err)
	}
	leaked, err := os.Open("/dev/null")
	if err != nil {
		t.Fatal(err)
	}
	release := make(chan struct{})
	go func(kept []byte) { <-release; kept[0]++ }(make([]byte, growth+1<<20))
	after, err := SettleSelf(before, 50*time.Millisecond)
	if err != nil {
		t.Fatal(err)
	}
	all := strings.Join(after.Violations(before, growth), "; ")
	for _, want := range []string{"live objects", "descriptors are left open", "goroutines are left"} {
		if !strings.Contains(all, want) {
			t.Errorf("no %q in %q", want, all)
		}
	}
	close(release)
	leaked.Close()
	if after, err = SettleSelf(before, 10*time.Second); err != nil {
		t.Fatal(err)
	}
	if got := after.Violations(before, growth); len(got) != 0 {
		t.Errorf("let go, and yet %q", got)
	}
}

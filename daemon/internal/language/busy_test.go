package language

import (
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"strconv"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"verdictd/internal/testkit"
)

// TestBesideBusyPrograms: where every CPU has a program that computes no packet is lost, and from Linux 6.12 on the
// threads of the daemon that packets wait for have short slices, privileges given up or not, so that they go before
// that program when a packet comes. The log tells how long packets waited: on a kernel before 6.12, milliseconds.
func TestBesideBusyPrograms(t *testing.T) {
	ns := testkit.Namespace(t)
	d := start(t, ns, "guard: {mode: hold}\nqueues: {count: 2}\n")
	for range runtime.NumCPU() {
		busy := exec.Command("sh", "-c", "while :; do :; done")
		busy.SysProcAttr = &unix.SysProcAttr{Pdeathsig: unix.SIGKILL}
		if err := busy.Start(); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() {
			_ = busy.Process.Kill()
			_ = busy.Wait()
		})
	}
	p := ping(t, time.Millisecond)
	time.Sleep(time.Second)
	took := p.since()
	if lost := p.stop(len(took)); lost != 0 {
		t.Errorf("%d packets lost", lost)
	}
	t.Logf("%d packets: p50 %v, p99 %v, longest %v", len(took), quantile(took, 0.5), quantile(took, 0.99), quantile(took, 1))
	ours, err := unix.SchedGetAttr(0, 0)
	if err != nil {
		t.Fatal(err)
	}
	// Before Linux 6.12 slices read as 0.
	if prompt := d.promptThreads(t, ours.Runtime); ours.Runtime > 0 && prompt < 3 {
		t.Errorf("%d threads have short slices, want those of two queues and the gate's", prompt)
	}
	d.Stop()
}

// promptThreads is how many threads of the daemon have shorter slices than usual.
func (d *daemon) promptThreads(t *testing.T, usual uint64) (n int) {
	t.Helper()
	status, err := d.client.Status(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	tasks, err := os.ReadDir(fmt.Sprintf("/proc/%d/task", status.PID))
	if err != nil {
		t.Fatal(err)
	}
	for _, task := range tasks {
		thread, err := strconv.Atoi(task.Name())
		if err != nil {
			t.Fatal(err)
		}
		if attr, err := unix.SchedGetAttr(thread, 0); err == nil && attr.Runtime < usual {
			n++
		}
	}
	return n
}

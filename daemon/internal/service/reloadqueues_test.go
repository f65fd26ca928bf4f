package service

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"verdictd/daemon/internal/control"
	"verdictd/internal/testkit"
)

// affinities are those of a process's threads, each once.
func affinities(t *testing.T, pid int) (list []string) {
	t.Helper()
	files, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/status", pid))
	if err != nil || len(files) == 0 {
		t.Fatalf("%v, %v", files, err)
	}
	for _, file := range files {
		text, err := os.ReadFile(filepath.Clean(file))
		if err != nil {
			continue // it has ended
		}
		_, rest, _ := strings.Cut(string(text), "Cpus_allowed_list:\t")
		cpus, _, _ := strings.Cut(rest, "\n")
		if !slices.Contains(list, cpus) {
			list = append(list, cpus)
		}
	}
	return list
}

// TestReloadQueues: settings of queues and threads change while packets come, and none is
// lost.
func TestReloadQueues(t *testing.T) {
	ns := testkit.Namespace(t)
	r := newReloadable(t, ns, "run", oneport)
	in, out := listen(t, ns, loopback4), dial(t, ns, loopback4)
	pid := r.status().PID
	before := affinities(t, pid)
	var allowed unix.CPUSet
	if err := unix.SchedGetaffinity(0, &allowed); err != nil {
		t.Fatal(err)
	}
	cpu := 0
	for !allowed.IsSet(cpu) {
		cpu++
	}
	for i, queues := range []string{
		"{max_length: 2000}", "{max_length: 2000, fail_open: true}", "{gso: false, uid_gid: true}", fmt.Sprintf("{pin: [%d]}", cpu),
		"{receive_buffer_max: 134217728}", "{copy_range: 100}", "{copy_range: 0}", "{}",
	} {
		r.done(oneport + "queues: " + queues + "\n")
		write(t, out, fmt.Sprint("passes ", i))
		want(t, in, fmt.Sprint("passes ", i))
		if pinned := slices.Contains(affinities(t, pid), fmt.Sprint(cpu)); strings.Contains(queues, "pin") && !pinned {
			t.Errorf("no thread is on CPU %d alone: %v", cpu, affinities(t, pid))
		}
	}
	if after := affinities(t, pid); len(after) != len(before) {
		t.Errorf("threads run on %v, before on %v", after, before)
	}
	for _, queues := range []string{"{count: 2}", "{first: 5}", "{batch: 7}", "{receive_buffer: 300000}"} {
		if answer := r.reload(oneport + "queues: " + queues + "\n"); answer.Result != control.Refused ||
			!strings.Contains(answer.Problems[0].Text, "systemctl restart verdictd") {
			t.Errorf("%s: %+v", queues, answer)
		}
	}
	r.Stop()
}

package service

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"verdictd/daemon/internal/childtest"
	"verdictd/daemon/internal/control"
	"verdictd/internal/testkit"
)

// TestReloadQueues: settings of queues and threads change while packets come, and none is
// lost.
func TestReloadQueues(t *testing.T) {
	ns := testkit.Namespace(t)
	r := newReloadable(t, ns, "run", oneport)
	in, out := listen(t, ns, loopback4), dial(t, ns, loopback4)
	pid := r.status().PID
	before := childtest.Affinities(t, pid)
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
		if pinned := slices.Contains(childtest.Affinities(t, pid), fmt.Sprint(cpu)); strings.Contains(queues, "pin") && !pinned {
			t.Errorf("no thread is on CPU %d alone: %v", cpu, childtest.Affinities(t, pid))
		}
	}
	if after := childtest.Affinities(t, pid); len(after) != len(before) {
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

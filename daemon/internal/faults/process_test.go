package faults

import (
	"os"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"verdictd/daemon/internal/childtest"
)

func pid(c *childtest.Child) string { return strconv.Itoa(c.Cmd.Process.Pid) }

func number(n uint16) string { return strconv.Itoa(int(n)) }

// begun is what the daemon logs when it judges.
const begun = "verdicts begin"

// longVariable has tests take the minutes that a fault takes in earnest.
const longVariable = "VERDICTD_TEST_LONG"

// TestStandsStill: the daemon is stopped (SIGSTOP, a frozen container) for 3 s, or for the 75 s that exceed what its
// histograms hold, with packets in its queues. They are all judged when it goes on.
func TestStandsStill(t *testing.T) {
	still := 3 * time.Second
	if os.Getenv(longVariable) == "1" {
		still = 75 * time.Second
	}
	e := twoEnds(t)
	c := childtest.Daemon(t, e.near, guarded)
	e.judges()
	c.Signal(unix.SIGSTOP)
	const flows = 20
	e.send(flows)
	time.Sleep(still)
	c.Signal(unix.SIGCONT)
	if n := e.receive(flows * burst); n != flows*burst {
		t.Errorf("%d of %d packets arrived", n, flows*burst)
	}
	e.judges()
	c.Stop()
	leavesNothing(t, e.near)
}

// TestClockJumps: the monotonic clock is years ahead (a time namespace, as after a container was restored), or behind.
// Nobody but the daemon sees it. That the daemon does not look at the wall's clock is TestNoWallClock's.
func TestClockJumps(t *testing.T) {
	needsRoot(t)
	if _, err := os.Stat("/proc/self/ns/time"); err != nil {
		t.Skip("the kernel has no time namespaces (Linux 5.6):", err)
	}
	for _, seconds := range []string{"1000000000", "-1"} {
		t.Run(seconds, func(t *testing.T) {
			e := twoEnds(t)
			file := t.TempDir() + "/statistics.json"
			c := childtest.Ready(t, e.near, childtest.Behind(t, []string{"unshare", "--time", "--monotonic", seconds,
				"--boottime", seconds, "--"}, "run", "--config", childtest.ConfigFile(t, guarded+thinking, file)))
			c.File = file
			e.judges()
			c.Stop()
			leavesNothing(t, e.near)
		})
	}
}

// TestDescriptors: there are fewer than the daemon needs, from next to none on. It starts, or says why it does not, and
// leaves nothing. With next to none Go's own runtime cannot begin, which is a crash before anything was done.
func TestDescriptors(t *testing.T) {
	started := false
	for _, most := range []int{5, 8, 12, 14, 16, 18, 20, 24, 32, 64} {
		words := "too many open files"
		if most < 10 {
			words = ""
		}
		limited(t, []string{"prlimit", "--nofile=" + strconv.Itoa(most) + ":" + strconv.Itoa(most), "--"}, &started, words)
	}
	if !started {
		t.Error("it does not start with 64 descriptors")
	}
}

// TestAddressSpace: the same with memory. Go's own end by a lack of it has status 2.
func TestAddressSpace(t *testing.T) {
	started := false
	for _, megabytes := range []int{32, 96, 160, 256, 1024, 8192} {
		limited(t, []string{"prlimit", "--as=" + strconv.Itoa(megabytes<<20), "--"}, &started, "")
	}
	if !started {
		t.Error("it does not start with 8 GiB of addresses")
	}
}

// limited starts the daemon behind a wrapper: it works and stops in order, or it ends by itself. It does not hang.
func limited(t *testing.T, wrapper []string, started *bool, words string) {
	t.Helper()
	ns := host(t)
	c := childtest.Start(t, ns, childtest.Behind(t, wrapper, "run", "--config", configuration(t, guarded)))
	for up := time.Now().Add(15 * time.Second); time.Now().Before(up); time.Sleep(5 * time.Millisecond) {
		select {
		case <-c.Done:
			status := c.Cmd.ProcessState.ExitCode()
			t.Logf("%v: status %d", wrapper, status)
			if words != "" {
				refuses(t, c, 1, words)
			}
			if status == 0 {
				t.Errorf("%v: it ended as if all were well", wrapper)
			}
			if status != 2 { // a crash leaves what a kill leaves
				leavesNothing(t, ns)
			}
			return
		default:
		}
		if !strings.Contains(c.Log(), begun) {
			continue
		}
		*started = true
		t.Logf("%v: it works", wrapper)
		c.Signal(syscall.SIGTERM)
		if err := c.Ended(); err != nil {
			t.Errorf("%v: %v", wrapper, err)
		}
		leavesNothing(t, ns)
		return
	}
	t.Errorf("%v: neither up nor ended after 15 s", wrapper)
}

// TestCapabilityMissing: the error names it and the cure.
func TestCapabilityMissing(t *testing.T) {
	for _, args := range [][]string{{"run"}, {"guard"}, {"rules", "apply"}} {
		ns := host(t)
		c := childtest.Start(t, ns, childtest.Behind(t, []string{"setpriv", "--bounding-set=-net_admin",
			"--inh-caps=-net_admin", "--"}, append(args, "--config", configuration(t, guarded))...))
		refuses(t, c, 1, "CAP_NET_ADMIN")
		leavesNothing(t, ns)
	}
}

package faults

import (
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"verdictd/daemon/internal/childtest"
)

// inMounts has a wrapper change what is mounted, for the daemon alone.
func inMounts(script string) []string {
	return []string{"unshare", "--mount", "--propagation", "private", "--", "sh", "-euc", script + `; exec "$@"`, "sh"}
}

// TestReadOnlyProc: as in containers.
func TestReadOnlyProc(t *testing.T) {
	needsRoot(t)
	e := twoEnds(t)
	file := filepath.Join(t.TempDir(), "statistics.json")
	c := childtest.Ready(t, e.near, childtest.Behind(t, inMounts("mount --bind /proc /proc; mount -o remount,ro,bind /proc"),
		"run", "--config", childtest.ConfigFile(t, guarded, file)))
	c.File = file
	e.judges()
	c.Stop()
	leavesNothing(t, e.near)
}

// TestHiddenProcesses: an own user with the one capability, who sees nobody else's processes. The kernel's files on
// queues and iptables have mode 0440, so it is of the group that is root: systemd/verdictd.service has it so. Without
// that it says what is missing.
func TestHiddenProcesses(t *testing.T) {
	needsRoot(t)
	e := twoEnds(t)
	start := func(groups string) *childtest.Child {
		wrapper := append(inMounts("mount -t proc -o hidepid=2 proc /proc"), "setpriv", "--reuid=64321", "--regid=64321",
			groups, "--inh-caps=+net_admin", "--ambient-caps=+net_admin", "--")
		return childtest.Start(t, e.near, childtest.Behind(t, wrapper, "run", "--config", configuration(t, guarded)))
	}
	refuses(t, start("--clear-groups"), 1, "group")
	leavesNothing(t, e.near)
	c := start("--groups=0")
	for end := time.Now().Add(childtest.ReadyWithin); !strings.Contains(c.Log(), begun) && time.Now().Before(end); {
		time.Sleep(5 * time.Millisecond)
	}
	e.judges()
	c.Signal(syscall.SIGTERM)
	if err := c.Ended(); err != nil {
		t.Error(err)
	}
	leavesNothing(t, e.near)
}

// TestFullDisk: the disk is full under the statistics of before. They stay whole, and the daemon says so with a status.
func TestFullDisk(t *testing.T) {
	needsRoot(t)
	e := twoEnds(t)
	before := strings.Repeat("of before ", 100)
	dir, report := t.TempDir(), filepath.Join(t.TempDir(), "report")
	script := "mount -t tmpfs -o size=8k tmpfs " + dir + "; printf '%s' '" + before + "' >" + dir + "/statistics.json; " +
		"dd if=/dev/zero of=" + dir + "/filling bs=4k 2>/dev/null || :; " +
		`"$@" & child=$!; trap 'kill $child' TERM; wait $child || :; status=0; wait $child || status=$?; ` +
		"cp " + dir + "/statistics.json " + report + "; ls " + dir + " >>" + report + "; exit $status"
	c := childtest.Ready(t, e.near, childtest.Behind(t, []string{"unshare", "--mount", "--propagation", "private", "--",
		"sh", "-uc", script, "sh"}, "run", "--config", childtest.ConfigFile(t, guarded, dir+"/statistics.json")))
	e.judges()
	c.Signal(syscall.SIGTERM)
	refuses(t, c, 1, "write statistics", "no space left on device")
	b, err := os.ReadFile(report)
	if err != nil || string(b) != before+"filling\nstatistics.json\n" {
		t.Errorf("%v; the statistics of before became, and the folder has, %q", err, b)
	}
	leavesNothing(t, e.near)
}

// TestConfigurations: what is no configuration has a status of its own, at once.
func TestConfigurations(t *testing.T) {
	large := configuration(t, strings.Repeat("# 20 MB of nothing\n", 20<<20/19))
	marked := configuration(t, "\xff\xfeb\x00")
	for path, words := range map[string]string{large: "1 MiB", "/dev/zero": "1 MiB", marked: "UTF-16"} {
		for _, command := range []string{"run", "guard", "check"} {
			ns := host(t)
			refuses(t, childtest.Start(t, ns, childtest.Program(t, command, "--config", path)), 78, words)
			leavesNothing(t, ns)
		}
	}
	good := configuration(t, "\xef\xbb\xbf"+guarded)
	if out, err := childtest.Program(t, "check", "--config", good).CombinedOutput(); err != nil {
		t.Errorf("a byte order mark: %v: %s", err, out)
	}
}

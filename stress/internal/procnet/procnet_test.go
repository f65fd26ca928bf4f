package procnet

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"verdictd/internal/testkit"
)

// The test binary is the other processes as well.
const (
	asWork = "procnet-work"
	asHold = "procnet-hold"
	asMute = "procnet-mute" // a working process that dies at once
)

func TestMain(m *testing.M) {
	if len(os.Args) == 2 {
		switch os.Args[1] {
		case asWork:
			if err := Work(os.Stdin, os.Stdout, []string{os.Args[0], asHold}); err != nil {
				fmt.Fprintln(os.Stderr, err)
				os.Exit(1)
			}
			os.Exit(0)
		case asHold:
			if err := Hold(os.Stdin); err != nil {
				os.Exit(1)
			}
			os.Exit(0)
		case asMute:
			os.Exit(0)
		}
	}
	testkit.Main(m)
}

func command(t *testing.T, role string) []string {
	t.Helper()
	executable, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	return []string{executable, role}
}

func short() Config {
	c := Default()
	c.Duration = 1500 * time.Millisecond
	c.HangAfter = 30 * time.Second // the machine may be slow, which is no hang
	return c
}

func TestRun(t *testing.T) {
	testkit.Namespace(t) // says so where there can be none
	var stderr bytes.Buffer
	res, err := Run(t.Context(), short(), command(t, asWork), &stderr)
	if err != nil || stderr.Len() > 0 {
		t.Fatalf("%v, %s", err, &stderr)
	}
	if err := Failed(res); err != nil {
		t.Errorf("%v\n%+v", err, res)
	}
	for _, kind := range []string{"/proc/PID/net", "/proc/PID/task/PID/net", "/proc/TID/net", "/proc/self/task/TID/net",
		"/proc/net and /proc/self/net", "/proc/thread-self/net"} {
		if res.Views[kind] == 0 {
			t.Errorf("no reading of %s: %v", kind, res.Views)
		}
	}
	if sum(res.Renames) == 0 || !res.LocksReached || res.Watches == 0 || res.Threads == 0 || res.Interrupted {
		t.Errorf("%+v", res)
	}
	t.Logf("%+v", res)
}

// A thread that waits in the kernel for ever is found and described, and the run ends all the same.
func TestPlantedHang(t *testing.T) {
	testkit.Namespace(t)
	c := Config{Namespaces: 1, Readers: 1, Duration: time.Hour, HangAfter: time.Second, PlantHang: true}
	start := time.Now()
	res, err := Run(t.Context(), c, command(t, asWork), os.Stderr)
	if err != nil {
		t.Fatal(err)
	}
	if took := time.Since(start); took > 5*time.Minute {
		t.Errorf("took %v", took)
	}
	found := false
	for _, h := range res.Hangs {
		found = found || h.Role == "planted" && h.Thread > 0 && h.For >= 1 && h.State == "S" &&
			strings.Contains(h.Doing, "--plant-hang")
	}
	if !found || res.Unkillable != 0 {
		t.Errorf("%+v", res)
	}
	if err := Failed(res); err == nil || !strings.Contains(err.Error(), "hang in the kernel") {
		t.Error(err)
	}
	t.Logf("%+v", res.Hangs)
}

func TestInterrupted(t *testing.T) {
	testkit.Namespace(t)
	c := short()
	c.Duration = time.Hour
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second)
	defer cancel()
	res, err := Run(ctx, c, command(t, asWork), os.Stderr)
	if err != nil || !res.Interrupted || Failed(res) != nil {
		t.Errorf("%+v, %v", res, err)
	}
}

func TestWorkingProcessDies(t *testing.T) {
	if _, err := Run(t.Context(), short(), command(t, asMute), os.Stderr); err == nil {
		t.Error("no error")
	}
	if _, err := Run(t.Context(), short(), []string{filepath.Join(t.TempDir(), "none")}, os.Stderr); err == nil ||
		!strings.Contains(err.Error(), "no such file") {
		t.Error(err)
	}
}

func TestValidate(t *testing.T) {
	c := Default()
	if err := Validate(&c); err != nil {
		t.Error(err)
	}
	err := Validate(&Config{Renamers: -1, Churners: 1 << 20})
	for _, want := range []string{"namespaces 0", "readers 0", "renamers -1", "churners 1048576", "duration 0s",
		"hang-after 0s"} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v lacks %q", err, want)
		}
	}
}

// What a wrong view looks like.
func TestChecks(t *testing.T) {
	const dev = `Inter-|   Receive                                                |  Transmit
 face |bytes    packets errs drop fifo frame compressed multicast|bytes    packets errs drop fifo colls carrier compressed
    lo:    8724     107    0    0    0     0          0         0     8724     107    0    0    0     0       0          0
  pn0a:       0       0    0    0    0     0          0         0        0       0    0    0    0     0       0          0
`
	const snmp = "Ip: Forwarding DefaultTTL\nIp: 1 64\nUdp: InDatagrams NoPorts\nUdp: 107 0\nUdpLite: InDatagrams NoPorts\nUdpLite: 0 0\n"
	own := sign{device: "pn0a", packets: 107, foreign: []string{"pn1a"}}
	other := sign{device: "pn1a", packets: 207, foreign: []string{"pn0a"}}
	counts := sign{device: "pn0a", packets: 108}
	outside := sign{foreign: []string{"pn0a"}}
	elsewhere := sign{foreign: []string{"pn7a"}}
	for _, tt := range []struct {
		name string
		why  string
		want string
	}{
		{"own devices", checkDevices(dev, &own), ""},
		{"another's devices", checkDevices(dev, &other), "shows pn0a"},
		{"another's devices, without that", checkDevices(strings.ReplaceAll(dev, "pn0a", "eth0"), &other),
			"lacks the namespace's own device pn1a"},
		{"another's packets", checkDevices(dev, &counts), "packets on lo: 107, but there were 108"},
		{"nothing", checkDevices("", &own), "no devices"},
		{"outside, inner devices", checkDevices(dev, &outside), "shows pn0a"},
		{"outside", checkDevices(dev, &elsewhere), ""},
		{"own counters", checkCounters(snmp, &own), ""},
		{"another's counters", checkCounters(snmp, &other), "datagrams received: 107, but there were 207"},
		{"no counters", checkCounters("Ip: 1 64\n", &own), "no counters of UDP"},
		{"own list", checkListing([]string{"lo", "pn0a"}, &own), ""},
		{"another's list", checkListing([]string{"lo", "pn0a"}, &other), "shows pn0a"},
		{"no list", checkListing([]string{"lo"}, &own), "not the namespace's own device"},
	} {
		if (tt.want == "") != (tt.why == "") || !strings.Contains(tt.why, tt.want) {
			t.Errorf("%s: %q, want %q", tt.name, tt.why, tt.want)
		}
	}
}

func TestWatchdog(t *testing.T) {
	busy, idle, done := &worker{}, &worker{}, &worker{}
	done.over.Store(true)
	now := time.Unix(1000, 0)
	dog := newWatchdog([]*worker{busy, idle, done}, now)
	for range 9 {
		now = now.Add(time.Second)
		busy.step("busy")
		if found, _ := dog.look(now, 10*time.Second); len(found) > 0 {
			t.Fatalf("%d found too early", len(found))
		}
	}
	now = now.Add(time.Second)
	busy.step("busy")
	found, since := dog.look(now, 10*time.Second)
	if len(found) != 1 || found[0] != idle || now.Sub(since[0]) != 10*time.Second {
		t.Errorf("%v since %v, want the idle one for 10 s", found, since)
	}
	idle.step("again")
	if found, _ := dog.look(now.Add(time.Hour), 10*time.Second); len(found) != 1 || found[0] != busy {
		t.Errorf("%v", found)
	}
}

func TestFailed(t *testing.T) {
	if err := Failed(&Result{}); err != nil {
		t.Error(err)
	}
	err := Failed(&Result{
		WrongViews: 2, Wrong: []Wrong{{Path: "/proc/7/net/dev", Why: "shows pn0a"}},
		ReadErrors: map[string]uint64{"EINVAL": 3},
		Renames:    map[string]uint64{renamed: 1}, Unkillable: 77,
		Hangs: []Hang{{Role: "renamer", State: "D", Wchan: "lock_rename", Doing: "renaming"}},
	})
	for _, want := range []string{"2 reading(s) showed", "3 reading(s) failed", "1 rename(s) below /proc succeeded",
		"process 77 cannot be killed", "state D, in lock_rename"} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v lacks %q", err, want)
		}
	}
}

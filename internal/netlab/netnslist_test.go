package netlab_test

import (
	"fmt"
	"os/exec"
	"slices"
	"strings"
	"testing"
	"time"

	"verdictd/internal/netlab"
	"verdictd/internal/testkit"
)

// A namespace that a process is in is listed once, however many processes are.
func TestListNetNS(t *testing.T) {
	testkit.Namespace(t) // which the test is in from now on
	ns, err := netlab.NewNetNS()
	if err != nil {
		t.Fatal(err)
	}
	defer ns.Close()
	var started []string // by what they are listed: others' programs may be called sleep as well
	for range 2 {
		sleep := exec.Command("sleep", "60")
		if err := ns.Do(sleep.Start); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = sleep.Process.Kill(); _ = sleep.Wait() })
		started = append(started, fmt.Sprintf("pid %d (sleep)", sleep.Process.Pid))
	}
	var sleeping []netlab.NetNSName
	for deadline := time.Now().Add(10 * time.Second); time.Now().Before(deadline); time.Sleep(10 * time.Millisecond) {
		list, err := netlab.ListNetNS()
		if err != nil {
			t.Fatal(err)
		}
		if list[0].Name != "self" {
			t.Fatalf("%v: want the caller's own first", list)
		}
		sleeping = slices.DeleteFunc(list, func(n netlab.NetNSName) bool { return !slices.Contains(started, n.Name) })
		if len(sleeping) > 0 {
			break
		}
	}
	if len(sleeping) != 1 {
		t.Fatalf("%v for %v: want their namespace once", sleeping, started)
	}
	opened, err := netlab.OpenNetNS(sleeping[0].Path)
	if err != nil {
		t.Fatal(err)
	}
	if err := opened.Close(); err != nil {
		t.Error(err)
	}
}

func TestFindNetNS(t *testing.T) {
	ns := testkit.Namespace(t)
	got, err := netlab.FindNetNS(ns.Path())
	if err != nil || got.Path != ns.Path() {
		t.Errorf("%+v, %v", got, err)
	}
	if _, err := netlab.FindNetNS("nosuch"); err == nil || !strings.Contains(err.Error(), "ip netns list") {
		t.Errorf("%v, want the cure", err)
	}
}

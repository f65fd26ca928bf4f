package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"verdictd/internal/netlab"
)

// watcher starts the fake conntrackwatch as a service in a namespace of its own.
func watcher(t *testing.T, g *group, bin string) (*process, error) {
	t.Helper()
	ns, err := netlab.NewNetNS()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { ns.Close() })
	return g.startService(ns, filepath.Join(bin, "conntrackwatch"), "stats", "--json")
}

func TestServiceStartsAndStops(t *testing.T) {
	bin, _ := fakes(t)
	g := newGroup(t.Context(), t.TempDir())
	defer g.Close()
	ns, err := netlab.NewNetNS()
	if err != nil {
		t.Fatal(err)
	}
	defer ns.Close()
	p, err := g.startService(ns, filepath.Join(bin, "conntrackwatch"), "stats", "--json")
	if err != nil {
		t.Fatal(err)
	}
	// It is where it was started, and not where the lab is.
	inside, err := os.Stat(fmt.Sprintf("/proc/%d/ns/net", p.cmd.Process.Pid))
	if err != nil {
		t.Fatal(err)
	}
	held, err := ns.File().Stat()
	if err != nil {
		t.Fatal(err)
	}
	if !os.SameFile(inside, held) {
		t.Errorf("started in %v, want %v", inside.Sys(), held.Sys())
	}
	if err := p.stop(os.Interrupt); err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(p.stdout.String(), `"clash_resolve":0`) {
		t.Errorf("stdout %q", p.stdout.String())
	}
	if g.ctx.Err() != nil {
		t.Errorf("a service that was asked to end ended the run: %v", context.Cause(g.ctx))
	}
}

func TestServiceFails(t *testing.T) {
	for mood, want := range map[string]string{
		"fails": "conntrackwatch failed with exit status 3: first line | last line",
		"ends":  "conntrackwatch ended by itself, with exit status 0, before it was asked to",
	} {
		t.Run(mood, func(t *testing.T) {
			bin, _ := fakes(t)
			t.Setenv(moodVariable+"conntrackwatch", mood)
			g := newGroup(t.Context(), t.TempDir())
			defer g.Close()
			if _, err := watcher(t, g, bin); err == nil || err.Error() != want {
				t.Errorf("error %v, want %q", err, want)
			}
		})
	}
}

func TestProgramThatCannotStart(t *testing.T) {
	bin, _ := fakes(t)
	g := newGroup(t.Context(), t.TempDir())
	defer g.Close()
	_, err := watcher(t, g, filepath.Join(bin, "nowhere"))
	if !errors.Is(err, os.ErrNotExist) || !strings.HasPrefix(err.Error(), "start conntrackwatch: ") {
		t.Errorf("error %v", err)
	}
}

// TestKilledServiceEndsTheRun is about kill -9 of one child: the run ends with that as its reason, and the other is gone.
func TestKilledServiceEndsTheRun(t *testing.T) {
	bin, _ := fakes(t)
	g := newGroup(t.Context(), t.TempDir())
	defer g.Close()
	first, err := watcher(t, g, bin)
	if err != nil {
		t.Fatal(err)
	}
	t.Setenv(moodVariable+"stress", "hangs")
	ns, err := netlab.NewNetNS()
	if err != nil {
		t.Fatal(err)
	}
	defer ns.Close()
	second, err := g.start(ns, true, nil, filepath.Join(bin, "stress"), "clash")
	if err != nil {
		t.Fatal(err)
	}
	if err := first.cmd.Process.Signal(syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	if err := second.wait(time.Minute); err == nil || err.Error() != "conntrackwatch was killed by SIGKILL" {
		t.Errorf("the run ended with %v", err)
	}
	g.Close()
	for _, p := range g.processes {
		if alive(p.cmd.Process.Pid) {
			t.Errorf("%s is still there", p.name)
		}
	}
}

func TestProgramThatHangs(t *testing.T) {
	bin, _ := fakes(t)
	t.Setenv(moodVariable+"stress", "hangs")
	g := newGroup(t.Context(), t.TempDir())
	defer g.Close()
	ns, err := netlab.NewNetNS()
	if err != nil {
		t.Fatal(err)
	}
	defer ns.Close()
	p, err := g.start(ns, true, nil, filepath.Join(bin, "stress"), "clash")
	if err != nil {
		t.Fatal(err)
	}
	if err := p.wait(50 * time.Millisecond); err == nil || !strings.Contains(err.Error(), "stress has not ended after 50ms") {
		t.Errorf("error %v", err)
	}
	g.Close()
	if alive(p.cmd.Process.Pid) {
		t.Error("it is still there")
	}
}

// alive says whether a process exists and is no zombie.
func alive(pid int) bool {
	stat, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/stat")
	if err != nil {
		return false
	}
	_, state, _ := strings.Cut(string(stat), ") ")
	return !strings.HasPrefix(state, "Z") && !strings.HasPrefix(state, "X")
}

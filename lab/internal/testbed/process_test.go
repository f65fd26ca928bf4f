package testbed

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"verdictd/internal/netlab"
	"verdictd/lab/internal/fakes"
)

// watcher starts the fake conntrackwatch as a service in a namespace of its own.
func watcher(t *testing.T, g *Group, bin string) (*Process, error) {
	t.Helper()
	ns, err := netlab.NewNetNS()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { ns.Close() })
	return g.StartService(ns, filepath.Join(bin, "conntrackwatch"), "stats", "--json")
}

func TestServiceStartsAndStops(t *testing.T) {
	bin, _ := fakes.Install(t)
	g := NewGroup(t.Context(), t.TempDir())
	defer g.Close()
	ns, err := netlab.NewNetNS()
	if err != nil {
		t.Fatal(err)
	}
	defer ns.Close()
	p, err := g.StartService(ns, filepath.Join(bin, "conntrackwatch"), "stats", "--json")
	if err != nil {
		t.Fatal(err)
	}
	// It is where it was started, and not where the lab is.
	inside, err := os.Stat(fmt.Sprintf("/proc/%d/ns/net", p.Cmd.Process.Pid))
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
	if err := p.Stop(os.Interrupt); err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(p.Stdout.String(), `"clash_resolve":0`) {
		t.Errorf("stdout %q", p.Stdout.String())
	}
	if g.Ctx.Err() != nil {
		t.Errorf("a service that was asked to end ended the run: %v", context.Cause(g.Ctx))
	}
}

func TestServiceFails(t *testing.T) {
	for mood, want := range map[string]string{
		"fails": "conntrackwatch failed with exit status 3: first line | last line",
		"ends":  "conntrackwatch ended by itself, with exit status 0, before it was asked to",
	} {
		t.Run(mood, func(t *testing.T) {
			bin, _ := fakes.Install(t)
			t.Setenv(fakes.MoodVariable+"conntrackwatch", mood)
			g := NewGroup(t.Context(), t.TempDir())
			defer g.Close()
			if _, err := watcher(t, g, bin); err == nil || err.Error() != want {
				t.Errorf("error %v, want %q", err, want)
			}
		})
	}
}

func TestProgramThatCannotStart(t *testing.T) {
	bin, _ := fakes.Install(t)
	g := NewGroup(t.Context(), t.TempDir())
	defer g.Close()
	_, err := watcher(t, g, filepath.Join(bin, "nowhere"))
	if !errors.Is(err, os.ErrNotExist) || !strings.HasPrefix(err.Error(), "start conntrackwatch: ") {
		t.Errorf("error %v", err)
	}
}

// TestKilledServiceEndsTheRun is about kill -9 of one child: the run ends with that as its reason, and the other is
// gone.
func TestKilledServiceEndsTheRun(t *testing.T) {
	bin, _ := fakes.Install(t)
	g := NewGroup(t.Context(), t.TempDir())
	defer g.Close()
	first, err := watcher(t, g, bin)
	if err != nil {
		t.Fatal(err)
	}
	t.Setenv(fakes.MoodVariable+"stress", "hangs")
	ns, err := netlab.NewNetNS()
	if err != nil {
		t.Fatal(err)
	}
	defer ns.Close()
	second, err := g.Start(ns, true, nil, filepath.Join(bin, "stress"), "clash")
	if err != nil {
		t.Fatal(err)
	}
	if err := first.Cmd.Process.Signal(syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	if err := second.Wait(time.Minute); err == nil || err.Error() != "conntrackwatch was killed by SIGKILL" {
		t.Errorf("the run ended with %v", err)
	}
	g.Close()
	for _, p := range g.processes {
		if fakes.Alive(p.Cmd.Process.Pid) {
			t.Errorf("%s is still there", p.name)
		}
	}
}

func TestProgramThatHangs(t *testing.T) {
	bin, _ := fakes.Install(t)
	t.Setenv(fakes.MoodVariable+"stress", "hangs")
	g := NewGroup(t.Context(), t.TempDir())
	defer g.Close()
	ns, err := netlab.NewNetNS()
	if err != nil {
		t.Fatal(err)
	}
	defer ns.Close()
	p, err := g.Start(ns, true, nil, filepath.Join(bin, "stress"), "clash")
	if err != nil {
		t.Fatal(err)
	}
	if err := p.Wait(50 * time.Millisecond); err == nil ||
		!strings.Contains(err.Error(), "stress has not ended after 50ms") {
		t.Errorf("error %v", err)
	}
	g.Close()
	if fakes.Alive(p.Cmd.Process.Pid) {
		t.Error("it is still there")
	}
}

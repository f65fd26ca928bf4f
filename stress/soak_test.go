package main

import (
	"os/exec"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"

	"verdictd/internal/cli"
	"verdictd/internal/netlab"
	"verdictd/internal/testkit"
)

// soakIn are the flags of a soak within one namespace.
func soakIn(ns *netlab.NetNS, args ...string) []string {
	return append([]string{"soak", "--sender-netns", ns.Path(), "--receiver-netns", ns.Path(), "--seed", "7", "--duration",
		"500ms",
		"--target", "127.0.0.1:7/echo", "--target", "[::1]:9", "--source", "127.0.0.2", "--source", "::1"}, args...)
}

func TestSoakInNamespacesOfItsOwn(t *testing.T) {
	testkit.Require(t)
	for _, topology := range []string{"veth", "loopback", "router"} {
		got := stress("soak", "--duration", "500ms", "--topology", topology, "--json", "-")
		if got.status != cli.Done || got.stderr != "" {
			t.Fatalf("%s: %+v", topology, got)
		}
		checkSchema(t, "soak", []byte(got.stdout))
		result := decode(t, got.stdout)
		shape := result["shape"].(map[string]any)
		if shape["flows"] == 0.0 || shape["ipv6"] == 0.0 || shape["echo"] == 0.0 || len(result["violations"].([]any)) != 0 {
			t.Errorf("%s: %v", topology, result)
		}
		from := result["targets"].([]any)[0].(map[string]any)["received_from"].([]any)
		if len(from) < 2 {
			t.Errorf("%s: all flows came from %v", topology, from)
		}
	}
}

func TestSoakWatches(t *testing.T) {
	ns := testkit.Namespace(t)
	sleep := exec.Command("sleep", "60")
	if err := sleep.Start(); err != nil {
		t.Fatal(err)
	}
	pid := sleep.Process.Pid
	t.Cleanup(func() { _ = sleep.Wait() }) // killed below
	got := stress(soakIn(ns, "--watch-pid", strconv.Itoa(pid))...)
	if got.status != cli.Done || !strings.Contains(got.stdout, "descriptors at the start") {
		t.Errorf("%+v", got)
	}
	before := receivedDatagrams(t)
	var killed sync.WaitGroup
	killed.Go(func() {
		_ = ns.Do(func() error {
			waitForTrafficSince(t, before) // what sends already also watches
			return nil
		})
		_ = sleep.Process.Kill()
	})
	got = stress(soakIn(ns, "--watch-pid", strconv.Itoa(pid), "--duration", "2s")...)
	if got.status != cli.Failed || !strings.Contains(got.stderr, "soak (seed 7)") ||
		!strings.Contains(got.stderr, "(process "+strconv.Itoa(pid)+") ended") {
		t.Errorf("%+v, want that the process has ended", got)
	}
	killed.Wait()
}

// What is lost fails the soak, but for targets that are said to be lossy.
func TestSoakFailsOnLoss(t *testing.T) {
	ns := testkit.Namespace(t)
	filter, err := ns.DropAtRandom(netlab.HookInput, 9, 3)
	if err != nil {
		t.Fatal(err)
	}
	got := stress(soakIn(ns, "--linger", "300ms")...)
	if got.status != cli.Failed || !strings.Contains(got.stderr, "packets lost") ||
		!strings.Contains(got.stdout, "FAILED") {
		t.Errorf("%+v, want status 1 for loss", got)
	}
	if n, err := filter.Dropped(); err != nil || n == 0 {
		t.Errorf("%d dropped, %v", n, err)
	}
	args := soakIn(ns, "--linger", "300ms")
	for i, a := range args {
		args[i] = strings.Replace(a, "[::1]:9", "[::1]:9/lossy", 1)
	}
	if got := stress(args...); got.status != cli.Done ||
		!strings.Contains(got.stdout, "lost on the way to lossy targets") {
		t.Errorf("%+v, want loss that is expected", got)
	}
}

func TestSoakUsage(t *testing.T) {
	for want, args := range map[string][]string{
		"want echo or lossy":       {"--target", "192.0.2.1:7/ecko"},
		"such as 192.0.2.1:7/echo": {"--target", "192.0.2.1"},
		"no source address":        {"--target", "192.0.2.1:7"},
		"leave one out":            {"--topology", "loopback", "--sender-netns", "/nowhere"},
		"duration 0s":              {"--duration", "0s", "--rate", "0"},
		"rate 0":                   {"--duration", "0s", "--rate", "0"},
		"no targets":               {"--sender-netns", "/nowhere"},
		"8.8.8.8":                  {"--target", "8.8.8.8:9", "--source", "192.0.2.1"},
	} {
		refused(t, want, append([]string{"soak"}, args...)...)
	}
}

func TestSoakInterrupted(t *testing.T) {
	ns := testkit.Namespace(t)
	result := interrupted(t, syscall.SIGINT, soakIn(ns, "--duration", "1h", "--json", "-")...)
	if len(result["violations"].([]any)) != 0 {
		t.Errorf("%v", result)
	}
}

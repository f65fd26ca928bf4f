package main

import (
	"strings"
	"testing"

	"verdictd/internal/cli"
	"verdictd/internal/testkit"
)

func TestFloodUsage(t *testing.T) {
	for args, want := range map[string]string{
		"flood --packets 0":                  "packets 0",
		"flood --segments 65":                "segments 65",
		"flood --threads 3 --flows 2":        "want as many at most",
		"flood --blind --fail-on-loss":       "leave one out",
		"flood --nat masquerade":             "--topology router",
		"flood --target 8.8.8.8":             "--allow-target",
		"flood --target ::1 --family ipv4":   "family ipv4",
		"flood --topology veth --source ::1": "leave one out",
		"flood --pace rate:-1":               "pace",
	} {
		refused(t, want, strings.Fields(args)...)
	}
}

func TestFlood(t *testing.T) {
	testkit.Require(t)
	for _, args := range []string{
		"--topology veth --packets 5000",
		"--topology router --nat dnat --family ipv6 --packets 5000 --segments 8",
		"--topology loopback --pace rate:5000 --duration 200ms --fail-on-loss",
		"--topology veth --blind --packets 5000",
	} {
		got := stress(append([]string{"flood", "--json", "-"}, strings.Fields(args)...)...)
		if got.status != cli.Done {
			t.Errorf("%s: %+v", args, got)
			continue
		}
		checkSchema(t, "flood", []byte(got.stdout))
		res := decode(t, got.stdout)
		least := 900.0
		if strings.Contains(args, "duration") {
			least = 1 // of a busy machine, whose threads may be late when the time is over
		}
		if _, arrived := res["delivered"]; res["scenario"] != "flood" || res["sent"].(float64) < least ||
			arrived == strings.Contains(args, "blind") {
			t.Errorf("%s: %s", args, got.stdout)
		}
		// A receiver without the right to a larger buffer may drop at its own socket, at full speed.
		if res["lost"] != res["receiver_dropped"] {
			t.Errorf("%s: %v lost, %v by the receiver", args, res["lost"], res["receiver_dropped"])
		}
	}
}

func TestFloodSummaryAndLoss(t *testing.T) {
	ns := testkit.Namespace(t)
	inside := []string{"flood", "--sender-netns", ns.Path(), "--receiver-netns", ns.Path(), "--packets", "400"} // which any buffer holds
	got := stress(append(inside, "--pace", "rate:100000")...)
	for _, want := range []string{"400 in ", "us a packet", "behind the schedule", "0 lost, 0 duplicated",
		"from when the packet was due"} {
		if got.status != cli.Done || !strings.Contains(got.stdout, want) {
			t.Errorf("no %q: %+v", want, got)
		}
	}
	// However the two threads take turns, a buffer of a few packets overflows some time.
	got = stress(append(inside, "--packets", "20000", "--receive-buffer", "1", "--linger", "50ms", "--fail-on-loss")...)
	if got.status != cli.Failed || !strings.Contains(got.stderr, "of 20000 packets lost") ||
		!strings.Contains(got.stdout, "dropped at its own socket") {
		t.Errorf("%+v, want status 1 and the cause", got)
	}
}

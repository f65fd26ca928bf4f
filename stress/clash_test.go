package main

import (
	"strings"
	"testing"

	"verdictd/internal/cli"
	"verdictd/internal/netlab"
	"verdictd/internal/testkit"
)

func TestClashUsage(t *testing.T) {
	for args, want := range map[string]string{
		"clash --nat dnat":                                        "add --topology router",
		"clash --topology veth --nat masquerade":                  "only a router masquerades",
		"clash --topology veth --target 192.0.2.1":                "leave one out",
		"clash --topology veth --source 192.0.2.1":                "leave one out",
		"clash --topology veth --sender-netns /proc/self/ns/net":  "leave one out",
		"clash --topology star":                                   "--topology",
		"clash --mode cross --echo":                               "both ends send already",
		"clash --spacing 1h":                                      "spacing",
		"clash --sockets 2":                                       "only mode reuseport",
		"clash --topology router --udpclash --nat none --flows 0": "flows 0",
	} {
		refused(t, want, strings.Fields(args)...)
	}
}

// In each topology, however translated, every packet arrives; the counters say so much as the kernel has.
func TestClashInNamespacesOfItsOwn(t *testing.T) {
	testkit.Require(t)
	for _, args := range []string{
		"--topology loopback",
		"--topology loopback --nat dnat --family ipv6",
		"--topology veth --nat dnat --echo",
		"--topology router --nat masquerade --mode reuseport",
		"--topology router --nat dnat --family ipv6 --mode sendmmsg",
		"--topology router --mode cross",
		"--topology router --mode reply --family ipv6",
	} {
		got := stress(append([]string{"clash", "--flows", "100", "--flow-timeout", "2s", "--json", "-", "--fail-on-loss"},
			strings.Fields(args)...)...)
		if got.status != cli.Done {
			t.Errorf("%s: %+v", args, got)
			continue
		}
		checkSchema(t, "clash", []byte(got.stdout))
		res := decode(t, got.stdout)
		if res["delivered"] != 400.0 || res["ended"] != "flows" || res["insert_failed"] == nil ||
			res["conntrack_unread"] != "" {
			t.Errorf("%s: %s", args, got.stdout)
		}
		if from := res["received_from"].([]any); strings.Contains(args, "masquerade") {
			if len(from) != 1 || from[0] != netlab.Networks["ipv4"].TargetGateway.String() {
				t.Errorf("%s: received from %v", args, from)
			}
		}
	}
}

// The counters are those of the namespaces on the way: a queue that holds the packets makes nearly all of them clash.
func TestClashCountsUntilTheTarget(t *testing.T) {
	if !testkit.CountsClashes(t) {
		t.Skip("this kernel does not count the clashes of queued packets")
	}
	testkit.Require(t)
	got := stress("clash", "--topology", "router", "--clashes", "5", "--timeout", "60s", "--flow-timeout", "2s", "--json",
		"-")
	if got.status != cli.Done {
		t.Fatalf("%+v", got)
	}
	res := decode(t, got.stdout)
	if res["ended"] != "enough" || res["clashes"].(float64) < 5 || res["clashes_per_packet"].(float64) <= 0 ||
		res["clash_target"] != 5.0 {
		t.Errorf("%s", got.stdout)
	}
	// One packet a flow cannot clash.
	got = stress("clash", "--topology", "router", "--clashes", "5", "--flows", "50", "--burst", "1", "--flow-timeout",
		"2s")
	if got.status != cli.Failed || !strings.Contains(got.stderr, "0 clashes, not the 5 wanted") {
		t.Errorf("%+v, want status 1 and the reason", got)
	}
}

func TestUDPClash(t *testing.T) {
	testkit.Require(t)
	got := stress("clash", "--udpclash", "--topology", "router", "--nat", "dnat", "--flows", "3", "--flow-timeout", "10s",
		"--json", "-", "--fail-on-loss")
	if got.status != cli.Done {
		t.Fatalf("%+v", got)
	}
	checkSchema(t, "udpclash", []byte(got.stdout))
	if res := decode(t, got.stdout); res["replies"] != 384.0 || res["lost"] != 0.0 || res["scenario"] != "udpclash" {
		t.Errorf("%s", got.stdout)
	}
	got = stress(append(within(testkit.Namespace(t)), "--udpclash", "--flows", "2")...)
	if got.status != cli.Done || !strings.Contains(got.stdout, "256 sent, 256 replies, 0 lost") ||
		!strings.Contains(got.stdout, "clashes") {
		t.Errorf("%+v", got)
	}
}

// Where conntrack cannot be read --clashes is refused.
func TestUnreadableNamespace(t *testing.T) {
	got := stress("clash", "--sender-netns", "/nowhere", "--clashes", "1")
	if got.status != cli.Failed || !strings.Contains(got.stderr, "/nowhere") {
		t.Errorf("%+v", got)
	}
}

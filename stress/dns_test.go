package main

import (
	"net/netip"
	"strings"
	"syscall"
	"testing"

	"verdictd/internal/cli"
	"verdictd/internal/netlab"
	"verdictd/internal/testkit"
)

func TestDNSInNamespacesOfItsOwn(t *testing.T) {
	testkit.Require(t)
	for _, args := range [][]string{{"--topology", "veth"}, {"--topology", "router", "--family", "ipv6"},
		{"--topology", "loopback", "--family", "ipv6"}, {"--client", "getaddrinfo"}} {
		got := stress(append([]string{"dns", "--resolutions", "20", "--fail-on-retry", "--json", "-"}, args...)...)
		if got.status != cli.Done || got.stderr != "" {
			t.Fatalf("%v: %+v", args, got)
		}
		checkSchema(t, "dns", []byte(got.stdout))
		result := decode(t, got.stdout)
		served := result["questions_served"].(map[string]any)
		if result["resolved"] != 20.0 || result["retried"] != 0.0 || served["a"] != 20.0 || served["aaaa"] != 20.0 {
			t.Errorf("%v: %s", args, got.stdout)
		}
	}
}

// dnsIn are the flags of resolutions within one namespace, half of whose questions a rule drops.
func dnsIn(t *testing.T, args ...string) []string {
	t.Helper()
	ns := testkit.Namespace(t)
	server := netip.MustParseAddr("192.0.2.1")
	if err := ns.AddAddress("lo", netip.PrefixFrom(server, server.BitLen())); err != nil {
		t.Fatal(err)
	}
	if _, err := ns.DropAtRandom(netlab.HookInput, 53, 2); err != nil {
		t.Fatal(err)
	}
	return append([]string{"dns", "--sender-netns", ns.Path(), "--receiver-netns", ns.Path(), "--target", server.String(),
		"--resolutions", "40"}, args...)
}

func TestDNSRetries(t *testing.T) {
	args := dnsIn(t, "--attempt-timeout", "100ms", "--attempts", "5")
	got := stress(args...)
	if got.status != cli.Done || got.stderr != "" || strings.Contains(got.stdout, " 0 needed a retry") {
		t.Errorf("%+v", got)
	}
	if got := stress(append(args, "--fail-on-retry")...); got.status != cli.Failed ||
		!strings.Contains(got.stderr, "had to ask again") {
		t.Errorf("%+v, want status 1", got)
	}
	// What getaddrinfo does not ask for is no success.
	if got := stress(append(args, "--client", "getaddrinfo", "--attempt-timeout", "1s", "--resolutions", "3", "--parallel",
		"3")...); got.status != cli.Failed || !strings.Contains(got.stderr, "no IPv6 address") {
		t.Errorf("%+v, want a warning that counts", got)
	}
}

func TestDNSTimeout(t *testing.T) {
	got := stress(dnsIn(t, "--parallel", "1", "--timeout", "300ms", "--json", "-")...)
	if got.status != cli.Failed || !strings.Contains(got.stderr, "the timeout came first") ||
		decode(t, got.stdout)["timed_out"] != true {
		t.Errorf("%+v", got)
	}
}

func TestDNSInterrupted(t *testing.T) {
	interrupted(t, syscall.SIGINT, dnsIn(t, "--attempt-timeout", "30s", "--json", "-")...)
}

func TestDNSUsage(t *testing.T) {
	for want, args := range map[string][]string{
		"resolutions 0":                 {"--resolutions", "0", "--parallel", "0"},
		"parallel 0":                    {"--resolutions", "0", "--parallel", "0"},
		"getaddrinfo":                   {"--client", "dig"},
		"knows whole seconds":           {"--client", "getaddrinfo", "--attempt-timeout", "1500ms"},
		"--allow-target 8.8.8.8":        {"--target", "8.8.8.8"},
		"leave one out":                 {"--target", "127.0.0.1", "--topology", "veth"},
		"target: no address given":      {"--sender-netns", "/nowhere"},
		"single-request-reopen":         {"--queries", "both"},
		"attempt timeout 31s: want mor": {"--attempt-timeout", "31s"},
	} {
		refused(t, want, append([]string{"dns"}, args...)...)
	}
	if got := stress("dns", "--target", "127.0.0.1", "--sender-netns", "/nowhere"); got.status != cli.Failed ||
		!strings.Contains(got.stderr, "/nowhere") {
		t.Errorf("%+v", got)
	}
}

package main

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"verdictd/daemon/internal/childtest"
	"verdictd/internal/testkit"
	"verdictd/internal/vocabulary"
)

// TestCheckAndRunAgree: what check accepts starts, is found guarded by an audit, is printed by config in words that
// check accepts, and stops in order. What check refuses ends run for good. Configurations put together at random have
// what nobody would try.
func TestCheckAndRunAgree(t *testing.T) {
	ns := testkit.Namespace(t)
	const most = 40
	accepted := 0
	for seed := range uint64(most) {
		if seed == most/2 {
			childtest.NFT(t, ns, "table inet tracks { chain c { type filter hook output priority 0; ct state invalid; }; }")
		}
		dir := t.TempDir()
		file, socket, counts := filepath.Join(dir, "v.yaml"), filepath.Join(dir, "c.sock"), filepath.Join(dir, "statistics.json")
		text := anyConfiguration(rand.New(rand.NewPCG(seed, 0))) + fmt.Sprintf("control: {socket: %q}\nstatistics: {file: %q}\n", socket, counts)
		put := func(text string) {
			t.Helper()
			if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		put(text)
		switch status, says := runCommandLine(t, "check", "--config", file); status {
		case 0:
			accepted++
			daemon := childtest.Service(t, ns, "run", "--config", file)
			daemon.File = counts
			_, inForce := runCommandLine(t, "config", "--socket", socket)
			if status, says := runCommandLine(t, "audit", "--socket", socket); status != 0 && !strings.Contains(text, "mode: off") {
				t.Errorf("the guard leaves something to be found: %s, of\n%s", says, text)
			}
			daemon.Stop()
			put(inForce)
			if status, says := runCommandLine(t, "check", "--config", file); status != 0 {
				t.Errorf("config of\n%s\nis refused: %s", text, says)
			}
		case 78:
			if status, says := runCommandLine(t, "run", "--config", file); status != 78 {
				t.Errorf("run ends with %d, %s, want 78 of\n%s", status, says, text)
			}
		default:
			t.Errorf("check ends with %d, %s, of\n%s", status, says, text)
		}
	}
	if accepted < most/8 || accepted > most-most/8 {
		t.Errorf("%d of %d configurations were accepted: they try little", accepted, most)
	}
}

// anyConfiguration is one that may contradict itself.
func anyConfiguration(random *rand.Rand) string {
	one := func(words ...string) string { return words[random.IntN(len(words))] }
	section := func(name string, keys map[string]string) string {
		var text strings.Builder
		for _, key := range slices.Sorted(maps.Keys(keys)) {
			if random.IntN(3) == 0 {
				fmt.Fprintf(&text, "  %s: %s\n", key, keys[key])
			}
		}
		if text.Len() == 0 {
			return ""
		}
		return name + ":\n" + text.String()
	}
	rule := one("action: accept", "action: drop, tls: {names: [blocked.example]}", "action: reject, destination_ports: [80]",
		"action: requeue, queue: "+one("0", "7", "61440"), "action: repeat, set_mark: "+one("1", "0x1000000"),
		"action: drop, dns: {names: [blocked.example]}, pending: "+one("hold", "accept"), "action: accept, limit: {rate: 5/s}",
		"action: drop, uids: [0]")
	return one("", "backend: gonfqueue\n") + one("", "on_failure: drop\n") + section("queues", map[string]string{
		"first": one("0", "61439", "61442", "65535"), "count": one("1", "2", "3"), "max_length": one("0", "4096"),
		"copy_range": one("auto", "128", "65535"), "fail_open": one("true", "false"),
		"uid_gid": one("true", "false"), "gso": one("true", "false"), "batch": one("1", "64", "1024"), "pin": one("[]", "[0]", "[0, 1]"),
	}) + section("guard", map[string]string{
		"mode": one(vocabulary.GuardMode("").Values()...), "queues": one("0", "1", "3"), "first_queue": one("2", "61440", "65534"),
		"hold": one("1s", "20ms"), "settled": one("true", "false"), "flows": one("1", "65536"),
	}) + section("rules", map[string]string{
		"install": one("true", "true", "false"), "placement": one(vocabulary.Placement("").Values()...),
		"fanout": one(vocabulary.Fanout("").Values()...), "manage": one(vocabulary.Manage("").Values()...),
		"bypass": one("auto", "true", "false"), "protocols": one("[udp]", "[tcp]", "[udp, tcp]", "[]"),
		"families": one("[ipv4]", "[ipv6]", "[ipv4, ipv6]"), "destination_ports": one("[]", "[53, 443]"),
	}) + section("policy", map[string]string{
		"default": one("accept", "drop", "reject"), "flow": one("true", "false"), "undecodable": one("accept", "drop"),
		"rules": "[{" + rule + one("", ", flow: true", ", flow: false") + "}]",
	})
}

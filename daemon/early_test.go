package main

import (
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"verdictd/internal/ruleset"
	"verdictd/internal/testkit"
)

// TestTriedBeforeRules: what a configuration names outside of the kernel's rules is tried before one of them is there.
func TestTriedBeforeRules(t *testing.T) {
	testkit.Namespace(t)
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = taken.Close() }()
	dir := t.TempDir()
	for key, text := range map[string]string{
		"statistics.file":    "statistics: {file: " + filepath.Join(dir, "none", "statistics.json") + "}",
		"metrics.listen":     fmt.Sprintf("metrics: {listen: %q}", taken.Addr()),
		"metrics.web_config": "metrics: {web_config: " + filepath.Join(dir, "none.yaml") + "}",
		"control.socket":     "control: {socket: /dev/null/verdictd.sock}",
		"queues.pin[0]":      "queues: {pin: [1023]}",
		"policy.sets[0]":     "policy: {sets: [{name: bad, type: addresses, file: none.txt}]}",
		"privileges.user":    "privileges: {user: nobody-of-that-name}",
	} {
		func() { // not a subtest, whose thread is in another namespace
			file := filepath.Join(dir, "verdictd.yaml")
			if !strings.HasPrefix(text, "control") {
				text += "\ncontrol: {socket: \"\"}"
			}
			if err := os.WriteFile(file, []byte(text+"\n"), 0o600); err != nil {
				t.Fatal(err)
			}
			status, output := runCommandLine(t, "run", "--config", file)
			if status == 0 || !strings.Contains(output, key) {
				t.Errorf("%s: exit status %d, %s", key, status, output)
			}
			if strings.Contains(output, "verdicts begin") {
				t.Errorf("%s: it begins first: %s", key, output)
			}
			if rules, err := ruleset.Show("verdictd"); err == nil {
				t.Errorf("%s: rules are left: %s", key, rules)
			}
		}()
	}
}

package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"verdictd/daemon/internal/service"
	"verdictd/internal/testkit"
)

// signals are those of this process, as main catches them.
var signals = service.Listen(os.Stderr)

func TestMain(m *testing.M) { testkit.Main(m) }

func TestCommands(t *testing.T) {
	testkit.Namespace(t)
	dir := t.TempDir()
	good, bad := filepath.Join(dir, "good.yaml"), filepath.Join(dir, "bad.yaml")
	odd, list, holds := filepath.Join(dir, "odd.yaml"), filepath.Join(dir, "list.yaml"), filepath.Join(dir, "holds.yaml")
	off := filepath.Join(dir, "off.yaml")
	short, large, names := filepath.Join(dir, "short.yaml"), filepath.Join(dir, "large.yaml"), filepath.Join(dir, "names.yaml")
	gfw, suricata, imported := filepath.Join(dir, "gfw.yaml"), filepath.Join(dir, "local.rules"), filepath.Join(dir, "imported.yaml")
	const policies = "../configs/policies/"
	policy, capture, verdicts := policies+"dns-guard.yaml", policies+"tests/dns-guard.pcap", policies+"tests/dns-guard.verdicts"
	for name, text := range map[string]string{
		short: "queues: {copy_range: 128}\npolicy: {rules: [{action: drop, tls: {}}]}\n",
		holds: "backend: gonfqueue\npolicy: {rules: [{action: drop, tls: {}, pending: hold}]}\n",
		large: "queues: {max_length: 20000}\n", names: "queues: {max_length: 20000}\npolicy: {rules: [{action: drop, tls: {}}]}\n",
		off:  "guard: {mode: off}\n",
		good: "queues: {count: 2}\n", bad: "queues: {count: 0}\ngaurd: {}\n",
		odd:                            "policy: {rules: [{name: all, action: accept}, {action: drop, protocols: [udp]}]}\n",
		list:                           "policy: {sets: [{name: s, type: names, file: list.txt}]}\n",
		filepath.Join(dir, "list.txt"): "example.org\nhttp://example.org/\n",
		gfw:                            "- {name: ads, action: block, expr: 'tls?.req?.sni == \"ads.example\"'}\n- {name: geo, action: block, expr: 'geoip(ip.dst, \"xx\")'}\n",
		suricata:                       "drop dns $HOME_NET any -> any any (msg:\"blocked\"; dns.query; content:\"blocked.example\"; nocase; bsize:15; sid:1;)\n",
	} {
		if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for _, test := range []struct {
		args   string
		status int
		words  []string
	}{
		{"check --config " + good, 0, []string{"ok"}},
		{"check --config ../configs/verdictd.yaml", 0, []string{"ok"}},
		{"check --config " + bad, 78, []string{"bad.yaml:1:", "bad.yaml:2:", "guard"}},
		{"check --config " + filepath.Join(dir, "none.yaml"), 78, []string{"none.yaml", "--config FILE"}},
		{"check --config " + odd, 0, []string{"odd.yaml:1:47: warning: policy.rules[1]: can never match: rule all", "odd.yaml: ok"}},
		{"check --strict --config " + odd, 1, []string{"warning: policy.rules[1]", "1 warnings"}},
		{"check --config " + list, 78, []string{"list.yaml:1:46: policy.sets[0].file: " + dir + "/list.txt:2: \"http://example.org/\" is a URL"}},
		{"check --config " + short, 78, []string{"short.yaml:1:22: queues.copy_range: cuts packets, in which rules of the policy look for names: set it to auto"}},
		{"run --config " + short, 78, []string{"short.yaml:1:22: queues.copy_range: cuts packets"}},
		{"check --config " + holds, 78, []string{"holds.yaml:1:10: backend: is gonfqueue, which cannot hold packets (pending: hold): set it to mmsg"}},
		{"run --config " + holds, 78, []string{"holds.yaml:1:10: backend: is gonfqueue"}},
		{"run --config " + list, 1, []string{"list.yaml:1:46: policy.sets[0].file: " + dir + "/list.txt:2: \"http://example.org/\" is a URL"}},
		{"guard --config " + off, 78, []string{"off.yaml:1:15: guard.mode: is off, so that there is nothing to do"}},
		{"check --rate 20000 --config " + large, 0, []string{"ok"}},
		{"check --rate 20000 --config " + names, 1, []string{"10064 packets of which 1500 bytes are copied need 11593728; set it to that"}},
		{"check --config", 64, []string{"--config", "--help"}},
		{"fly", 64, []string{"fly", "run, guard"}},
		{"", 64, []string{"needs a command", "audit"}},
		{"test --config " + policy + " --pcap " + capture + " --expect " + verdicts, 0, []string{"blocked names", "pending"}},
		{"test --config " + policy + " --pcap " + capture + " --json", 0, []string{`"never": [`, `"schema": 1`}},
		{"test --explain --config " + policy + " --pcap " + capture, 0, []string{"does not match: destination_ports is 53"}},
		{"test --config " + policy + " --pcap " + capture + " --record " + filepath.Join(dir, "recorded"), 0, []string{"drop"}},
		{"test --config " + policy + " --pcap " + capture + " --expect " + filepath.Join(dir, "recorded"), 0, []string{"drop"}},
		{"test --config " + good + " --pcap " + capture + " --expect " + verdicts, 1, []string{"- drop", "+ accept"}},
		{"test --config " + good + " --pcap " + capture + " --expect " + filepath.Join(dir, "none"), 1, []string{"--record FILE writes it"}},
		{"test --config " + list + " --pcap " + capture, 78, []string{"list.yaml:1:46:"}},
		{"test --config " + good + " --pcap " + capture + " --hook ingress", 1, []string{"--hook ingress: there are"}},
		{"explain --config " + policy + " --packet 4500", 0, []string{"policy.undecodable decides"}},
		{"explain --config " + policy, 1, []string{"Give --packet HEX or --flow FLOW"}},
		{"import opengfw " + gfw, 0, []string{"gfw.yaml:2: not taken over: geo: ", "1 of 2 rules taken over", "ads.example"}},
		{"import opengfw --strict " + gfw, 1, []string{"1 rules are not taken over"}},
		{"import suricata " + suricata, 0, []string{"local.rules:1: not taken over: sid 1 blocked", "HOME_NET", "0 of 1 rules"}},
		{"import suricata " + suricata + " --var HOME_NET=[192.0.2.0/24,2001:db8::/32] --strict --output " + imported, 0, []string{"1 of 1 rules"}},
		{"check --config " + imported, 0, []string{"ok"}},
		{"explain --config " + imported + " --flow udp|192.0.2.1:5000|>|198.51.100.53:53 --dns blocked.example", 0, []string{"decides: drop"}},
		{"explain --config " + imported + " --flow udp|203.0.113.1:5000|>|198.51.100.53:53 --dns blocked.example", 0, []string{"accept by default"}},
		{"import opengfw " + filepath.Join(dir, "none"), 1, []string{"no such file"}},
		{"import opengfw " + capture, 1, []string{"dns-guard.pcap"}},
		{"import snort " + gfw, 64, []string{"opengfw"}},
		{"rules install", 64, []string{"did you mean apply?", "verdictd rules --help"}},
		{"rules show --config " + good, 1, []string{"verdictd"}},
		{"rules apply --config " + good, 0, []string{"installed table inet verdictd"}},
		{"rules apply --config " + good, 0, []string{"installed table inet verdictd"}},
		{"rules show --config " + good, 0, []string{"table inet verdictd", "output"}},
		{"rules remove --config " + good, 0, []string{"removed"}},
		{"rules remove --config " + good, 1, []string{"no such table"}},
		{"run --config " + bad, 78, []string{"bad.yaml:1:"}},
	} {
		args := strings.Fields(test.args)
		for i := range args { // a | stands for a space in a word
			args[i] = strings.ReplaceAll(args[i], "|", " ")
		}
		status, output := runCommandLine(t, args...)
		if status != test.status {
			t.Errorf("%s: exit status %d, want %d; printed %s", test.args, status, test.status, output)
		}
		for _, word := range test.words {
			if !strings.Contains(output, word) {
				t.Errorf("%s: printed %q, without %q", test.args, output, word)
			}
		}
	}
}

// runCommandLine returns the exit status and what was printed to both outputs.
func runCommandLine(t *testing.T, args ...string) (status int, output string) {
	t.Helper()
	f, err := os.CreateTemp(t.TempDir(), "output")
	if err != nil {
		t.Fatal(err)
	}
	stdout, stderr := os.Stdout, os.Stderr
	os.Stdout, os.Stderr = f, f
	status = execute(signals, args)
	os.Stdout, os.Stderr = stdout, stderr
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	b, err := os.ReadFile(f.Name())
	if err != nil {
		t.Fatal(err)
	}
	return status, string(b)
}

func TestAllFlags(t *testing.T) {
	testkit.Commands(t, func(args ...string) (int, string) { return runCommandLine(t, args...) })
}

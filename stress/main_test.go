package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"verdictd/internal/cli"
	"verdictd/internal/netlab"
	"verdictd/internal/testkit"
)

// asProgram makes this test binary behave as the stress program, for tests that send it signals.
const asProgram = "STRESS_TEST_AS_PROGRAM"

func TestMain(m *testing.M) {
	if os.Getenv(asProgram) != "" {
		main()
	}
	testkit.Main(m)
}

type outcome struct {
	status         int
	stdout, stderr string
	result         map[string]any // the result file, where the test reads it
}

func stress(args ...string) outcome {
	var stdout, stderr bytes.Buffer
	status := run(context.Background(), args, &stdout, &stderr)
	return outcome{status: status, stdout: stdout.String(), stderr: stderr.String()}
}

// within are the flags for a run inside a namespace.
func within(ns *netlab.NetNS, args ...string) []string {
	return append([]string{"clash", "--sender-netns", ns.Path(), "--receiver-netns", ns.Path(), "--flow-timeout", "2s",
		"--flows", "200"}, args...)
}

func decode(t *testing.T, text string) map[string]any {
	t.Helper()
	var got map[string]any
	if err := json.Unmarshal([]byte(text), &got); err != nil {
		t.Fatalf("%v in:\n%s", err, text)
	}
	return got
}

func TestWrongUsage(t *testing.T) {
	for name, tt := range map[string]struct {
		args string
		want string
	}{
		"no scenario":         {"", "clash"},
		"unknown flag":        {"clash --flow 3", "--flow"},
		"unknown mode":        {"clash --mode fast", "sendmmsg"},
		"no number":           {"clash --flows many", "--flows"},
		"no address":          {"clash --target here", "--target"},
		"a stranger":          {"clash --target 8.8.8.8", "--allow-target 8.8.8.8"},
		"a pace of nothing":   {"clash --pace rate:0", "full"},
		"the other family":    {"clash --target 127.0.0.1 --family ipv6", "family ipv6"},
		"zero flows":          {"clash --flows 0", "flows 0"},
		"too many flows":      {"clash --flows 70000", "name 2 or more source addresses"},
		"two problems at one": {"clash --flows 0 --burst 0", "burst 0"},
	} {
		t.Run(name, func(t *testing.T) { refused(t, tt.want, strings.Fields(tt.args)...) })
	}
}

// refused runs stress with arguments that are wrong, which it is to say on stderr alone.
func refused(t *testing.T, want string, args ...string) {
	t.Helper()
	if got := stress(args...); got.status != cli.Usage || got.stdout != "" || !strings.Contains(got.stderr, want) {
		t.Errorf("%s: %+v, want status 64 and %q on stderr alone", args, got, want)
	}
}

func TestHelpAndVersion(t *testing.T) {
	for args, want := range map[string]string{"--help": "clash", "clash --help": "--sender-netns", "--version": version} {
		got := stress(strings.Fields(args)...)
		if got.status != cli.Done || got.stderr != "" || !strings.Contains(got.stdout, want) {
			t.Errorf("%s: %+v, want %q", args, got, want)
		}
	}
}

func TestResultFile(t *testing.T) {
	ns := testkit.Namespace(t)
	path := filepath.Join(t.TempDir(), "result.json")
	got := stress(within(ns, "--echo", "--pace", "rate:2000", "--threads", "2", "--json", path, "--fail-on-loss")...)
	if got.status != cli.Done || got.stderr != "" {
		t.Fatalf("%+v", got)
	}
	for _, want := range []string{"800 sent, 800 delivered", "0 lost, 0 duplicated, 0 reordered, 0 corrupted",
		"round trip", "lag", "spread"} {
		if !strings.Contains(got.stdout, want) {
			t.Errorf("no %q in the summary:\n%s", want, got.stdout)
		}
	}
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	result := decode(t, string(b))
	for _, key := range []string{
		"schema", "scenario", "version", "host", "config", "flows", "sent", "delivered", "lost", "duplicated", "reordered",
		"corrupted",
		"send_errors", "seconds", "packets_per_second", "latency_us", "round_trip_us", "echo_lost", "interrupted",
		"timed_out",
	} {
		if _, ok := result[key]; !ok {
			t.Errorf("no key %s in %s", key, b)
		}
	}
	if result["scenario"] != "clash" || result["schema"] != 1.0 || result["delivered"] != 800.0 || result["lost"] != 0.0 {
		t.Errorf("%s", b)
	}
}

func TestJSONOnStandardOutput(t *testing.T) {
	got := stress(within(testkit.Namespace(t), "--family", "ipv6", "--mode", "sendmmsg", "--json", "-")...)
	if got.status != cli.Done || got.stderr != "" {
		t.Fatalf("%+v", got)
	}
	result := decode(t, got.stdout)
	if _, ok := result["round_trip_us"]; ok || result["delivered"] != 800.0 {
		t.Errorf("%s", got.stdout)
	}
	if config := result["config"].(map[string]any); config["target"] != "::1" {
		t.Errorf("config %v", config)
	}
}

// Loss is for the caller to judge, unless it asks.
func TestFailOnLoss(t *testing.T) {
	ns := testkit.Namespace(t)
	lossy := within(ns, "--flow-timeout", "5ms", "--flows", "20", "--burst", "200", "--mode", "sendmmsg",
		"--receive-buffer", "1", "--linger", "50ms")
	if got := stress(lossy...); got.status != cli.Done || !strings.Contains(got.stdout, "dropped at its own socket") {
		t.Errorf("%+v, want success and the cause of the loss", got)
	}
	if got := stress(append(lossy, "--fail-on-loss")...); got.status != cli.Failed ||
		!strings.Contains(got.stderr, "packets lost") {
		t.Errorf("%+v, want status 1", got)
	}
}

func TestUnwritableResult(t *testing.T) {
	start := time.Now()
	got := stress("clash", "--pace", "rate:1", "--json", filepath.Join(os.DevNull, "result.json"))
	if got.status != cli.Failed || !strings.Contains(got.stderr, "result file") || time.Since(start) > 10*time.Second {
		t.Errorf("%+v after %v, want status 1 before anything is sent", got, time.Since(start))
	}
}

func TestTimeout(t *testing.T) {
	got := stress(within(testkit.Namespace(t), "--pace", "rate:100", "--timeout", "300ms", "--linger", "50ms", "--json",
		"-")...)
	if got.status != cli.Failed || !strings.Contains(got.stderr, "timeout") || decode(t, got.stdout)["timed_out"] != true {
		t.Errorf("%+v, want status 1 and a result that says so", got)
	}
}

func TestSignalEndsEarlyWithResult(t *testing.T) {
	ns := testkit.Namespace(t)
	for _, which := range []syscall.Signal{syscall.SIGINT, syscall.SIGTERM, syscall.SIGHUP} {
		result := interrupted(t, which, within(ns, "--pace", "rate:100", "--flows", "6000", "--json", "-")...)
		if result["lost"] != 0.0 || result["flows"] == 0.0 {
			t.Errorf("%v: %v", which, result)
		}
	}
}

// interrupted runs stress as a program, sends it a signal when packets arrive, and returns its result.
func interrupted(t *testing.T, which syscall.Signal, args ...string) map[string]any {
	t.Helper()
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(exe, args...)
	cmd.Env = append(os.Environ(), asProgram+"=1")
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	hangups := make(chan os.Signal, 1)
	signal.Notify(hangups, syscall.SIGHUP) // or the program ignores it, too, where the tests themselves run under nohup
	defer signal.Stop(hangups)
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	waitForTraffic(t)
	if err := cmd.Process.Signal(which); err != nil {
		t.Fatal(err)
	}
	_ = cmd.Wait() // the exit status is checked below
	if status := cmd.ProcessState.ExitCode(); status != cli.Failed || !strings.Contains(stderr.String(), "interrupted") {
		t.Errorf("%v: status %d, stderr %q; want 1 and the reason", which, status, &stderr)
	}
	result := decode(t, stdout.String())
	if result["interrupted"] != true {
		t.Errorf("%v: %s", which, &stdout)
	}
	return result
}

// waitForTraffic returns when UDP datagrams arrive in the test's namespace.
func waitForTraffic(t *testing.T) {
	t.Helper()
	waitForTrafficSince(t, receivedDatagrams(t))
}

func waitForTrafficSince(t *testing.T, before string) {
	t.Helper()
	for end := time.Now().Add(time.Minute); time.Now().Before(end); time.Sleep(10 * time.Millisecond) {
		if receivedDatagrams(t) != before {
			return
		}
	}
	t.Error("nothing arrives")
}

func receivedDatagrams(t *testing.T) string {
	t.Helper()
	f, err := os.Open("/proc/thread-self/net/snmp")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	for s := bufio.NewScanner(f); s.Scan(); {
		if fields := strings.Fields(s.Text()); fields[0] == "Udp:" && fields[1] != "InDatagrams" {
			return fields[1]
		}
	}
	t.Fatal("no UDP counters")
	return ""
}

func TestAllFlags(t *testing.T) {
	testkit.Commands(t, func(args ...string) (int, string) {
		got := stress(args...)
		return got.status, got.stdout + got.stderr
	})
}

package main

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"verdictd/daemon/internal/audit"
	"verdictd/daemon/internal/service"
	"verdictd/internal/config"
	"verdictd/internal/netlab"
	"verdictd/internal/ruleset"
	"verdictd/internal/testkit"
	"verdictd/internal/vocabulary"
)

// running starts a daemon in the thread's namespace, and returns when it answers.
func running(t *testing.T, config string) (socket string, pid int) {
	t.Helper()
	dir, err := os.MkdirTemp("", "v") //nolint:usetesting // t.TempDir holds the test's name, and a socket's path at most 107 bytes
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	socket = filepath.Join(dir, "c.sock")
	file := filepath.Join(dir, "verdictd.yaml")
	if err := os.WriteFile(file, []byte(config), 0o600); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command("/proc/self/exe", "run", "--config", file, "--socket", socket)
	cmd.Env = append(cmd.Environ(), asCommand+"=1")
	cmd.Stderr = t.Output()
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Signal(syscall.SIGTERM)
		_ = cmd.Wait()
	})
	for until := time.Now().Add(time.Minute); time.Now().Before(until); time.Sleep(20 * time.Millisecond) {
		if status, out, _ := owned(t, "status", "--socket", socket); status == 0 && strings.Contains(out, "running for") {
			return socket, cmd.Process.Pid
		}
	}
	t.Fatal("the daemon does not answer")
	return "", 0
}

// TestAuditAsksTheDaemon: a machine whose queues are guarded reads as such, and who says
// so is named.
func TestAuditAsksTheDaemon(t *testing.T) {
	testkit.Namespace(t)
	socket, pid := running(t, "rules: {placement: output}\nguard: {mode: hold}\n")
	process := fmt.Sprintf("process %d", pid)
	status, out, problems := owned(t, "audit", "--socket", socket)
	if status != 0 || !strings.HasPrefix(out, "Not exposed: ") || !strings.Contains(out, process) || !strings.Contains(out, "is at work (hold)") {
		t.Errorf("exit status %d, %s%s", status, out, problems)
	}
	status, out, _ = owned(t, "audit", "--socket", socket, "--json")
	var d struct{ Daemons []audit.Daemon }
	if err := json.Unmarshal([]byte(out), &d); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	if err := testkit.Validate(t, testkit.Schema(t, "verdictd-audit"), []byte(out)); err != nil {
		t.Error(err)
	}
	if len(d.Daemons) != 1 || d.Daemons[0].PID != pid || !slices.Equal(d.Daemons[0].Queues, []uint16{0}) ||
		d.Daemons[0].Verdict != audit.NotExposed || d.Daemons[0].Elsewhere || status != 0 {
		t.Errorf("exit status %d, %+v", status, d)
	}
	if _, out, _ := owned(t, "audit", "--socket", socket, "--no-daemon"); strings.Contains(out, "Asked") {
		t.Errorf("asked nevertheless: %s", out)
	}
	if status, out, _ := owned(t, "audit", "--socket", socket+"x"); status != 0 || strings.Contains(out, "Asked") {
		t.Errorf("nobody is there: exit status %d, %s", status, out)
	}
	// What it guards says nothing of another namespace.
	other, err := netlab.NewNetNS()
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = other.Close() }()
	if _, out, _ := owned(t, "--netns", other.Path(), "audit", "--socket", socket); !strings.Contains(out, process) ||
		!strings.Contains(out, "in another network namespace") {
		t.Errorf("from another namespace: %s", out)
	}
}

// TestTop: what is no terminal gets one page.
func TestTop(t *testing.T) {
	testkit.Namespace(t)
	socket, pid := running(t, "rules: {placement: output}\npolicy: {rules: [{name: web, action: drop, destination_ports: [80]}]}\n")
	status, out, problems := owned(t, "top", "--socket", socket, "--interval", "200ms")
	for _, want := range []string{fmt.Sprintf("process %d", pid), "there: table inet verdictd, output", "received/s", "web", "held"} {
		if status != 0 || !strings.Contains(out, want) {
			t.Errorf("exit status %d, no %q in %s%s", status, want, out, problems)
		}
	}
	if status, _, problems := owned(t, "top", "--socket", socket+"x", "--once"); status != 1 || !strings.Contains(problems, "no daemon answers") {
		t.Errorf("exit status %d, %s", status, problems)
	}
	if status, _, problems := owned(t, "top", "--interval", "1ms"); status != 64 || !strings.Contains(problems, "100ms") {
		t.Errorf("exit status %d, %s", status, problems)
	}
}

// TestAuditFollowsRules: the daemon's own audit is another one when another program's rules
// expose packets, without anybody asking for metrics.
func TestAuditFollowsRules(t *testing.T) {
	testkit.Namespace(t)
	socket, _ := running(t, "rules: {placement: output, destination_ports: [5300]}\nguard: {mode: hold}\n")
	verdict := func() (v string) {
		_, out, _ := owned(t, "status", "--socket", socket, "--json")
		var s struct{ Audit struct{ Verdict string } }
		if err := json.Unmarshal([]byte(out), &s); err != nil {
			t.Fatalf("%v: %s", err, out)
		}
		return s.Audit.Verdict
	}
	if v := verdict(); v != string(audit.NotExposed) {
		t.Errorf("guarded, it is %s", v)
	}
	cfg := config.Default()
	cfg.Rules.Placement, cfg.Rules.Table, cfg.Queues.First = vocabulary.PlacementOutput, "another", 7
	if _, err := ruleset.Install(service.Rules(cfg)); err != nil {
		t.Fatal(err)
	}
	for until := time.Now().Add(time.Minute); verdict() == string(audit.NotExposed); time.Sleep(200 * time.Millisecond) {
		if time.Now().After(until) {
			t.Fatal("a rule that exposes packets does not change the daemon's audit")
		}
	}
}

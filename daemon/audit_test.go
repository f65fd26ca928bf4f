package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"os"
	"os/exec"
	"slices"
	"strings"
	"syscall"
	"testing"

	"verdictd/daemon/internal/audit"
	"verdictd/daemon/internal/service"
	"verdictd/internal/config"
	"verdictd/internal/ruleset"
	"verdictd/internal/testkit"
	"verdictd/internal/vocabulary"
)

// asCommand makes the test's binary verdictd itself.
const asCommand = "VERDICTD_TEST_AS_COMMAND"

func init() {
	if os.Getenv(asCommand) != "" {
		os.Exit(execute(service.Listen(os.Stderr), os.Args[1:]))
	}
}

// nobody is a user without rights.
const nobody = 65534

// strangers are processes without rights in this network namespace: another
// user's, or, where there is no other user, one in a user namespace of its own.
func strangers() []*syscall.SysProcAttr {
	this := []syscall.SysProcIDMap{{Size: 1}}
	return []*syscall.SysProcAttr{
		{Credential: &syscall.Credential{Uid: nobody, Gid: nobody}},
		{Cloneflags: syscall.CLONE_NEWUSER, UidMappings: this, GidMappings: this},
	}
}

// verdictd runs the program in the thread's namespace.
func verdictd(t *testing.T, as *syscall.SysProcAttr, args ...string) (status int, stdout, stderr string, err error) {
	t.Helper()
	cmd := exec.Command("/proc/self/exe", args...)
	cmd.Env = append(cmd.Environ(), asCommand+"=1")
	var out, problems bytes.Buffer
	cmd.Stdout, cmd.Stderr, cmd.SysProcAttr, cmd.Dir = &out, &problems, as, "/"
	if err := cmd.Run(); cmd.ProcessState == nil {
		return 0, "", "", err
	}
	return cmd.ProcessState.ExitCode(), out.String(), problems.String(), nil
}

// owned runs it with this test's rights.
func owned(t *testing.T, args ...string) (status int, stdout, stderr string) {
	t.Helper()
	status, stdout, stderr, err := verdictd(t, nil, args...)
	if err != nil {
		t.Fatal(err)
	}
	return status, stdout, stderr
}

func TestAuditExitStatus(t *testing.T) {
	testkit.Namespace(t)
	status, stdout, stderr := owned(t, "audit")
	if status != 0 || !strings.HasPrefix(stdout, "Not exposed: ") || stderr != "" {
		t.Errorf("without rules: exit status %d, printed %q and %q", status, stdout, stderr)
	}
	cfg := config.Default()
	cfg.Rules.Placement = vocabulary.PlacementOutput
	if _, err := ruleset.Install(service.Rules(cfg)); err != nil {
		t.Fatal(err)
	}
	status, stdout, stderr = owned(t, "audit", "--json")
	var report struct {
		Verdict audit.Verdict
		Answer  string
	}
	if err := json.Unmarshal([]byte(stdout), &report); err != nil {
		t.Fatalf("%v: %s", err, stdout)
	}
	if err := testkit.Validate(t, testkit.Schema(t, "verdictd-audit"), []byte(stdout)); err != nil {
		t.Errorf("the report does not follow its schema: %v", err)
	}
	if status != 1 || report.Verdict == audit.NotExposed || stderr != "verdictd: audit: "+report.Answer+"\n" {
		t.Errorf("exposed: exit status %d, %+v, %q", status, report, stderr)
	}
	for _, line := range []string{"audit --may-crash-this-machine", "audit --probe-alone", "audit --what", "audit what"} {
		if status, _, stderr := owned(t, strings.Fields(line)...); status != 64 || !strings.Contains(stderr, "audit --help") {
			t.Errorf("%s: exit status %d, %q", line, status, stderr)
		}
	}
}

// probed is the part of the report that the probe's tests look at.
type probed struct {
	Verdict audit.Verdict
	Unread  []audit.Unread
	Probe   struct {
		audit.Probe
		Refused string
	}
}

// checkProbe reads the report, and skips the test where the probe could not run.
func checkProbe(t *testing.T, stdout string) probed {
	t.Helper()
	var r probed
	if err := json.Unmarshal([]byte(stdout), &r); err != nil {
		t.Fatalf("%v: %s", err, stdout)
	}
	p := &r.Probe
	// Of a kernel that may crash, and of a machine that keeps user namespaces from
	// ordinary users.
	if strings.Contains(p.Refused, audit.ErrMayCrash.Error()) || strings.Contains(p.Refused, "; in a user namespace: ") {
		t.Skip(p.Refused)
	}
	if p.Refused != "" || p.Sent == 0 || p.Outcome == audit.Damaged {
		t.Fatalf("%+v", p)
	}
	if p.ClashResolve != nil && *p.ClashResolve+*p.InsertFailed == 0 {
		t.Errorf("%+v: no clash", p)
	}
	return r
}

func TestAuditProbe(t *testing.T) {
	testkit.Namespace(t)
	status, stdout, stderr := owned(t, "audit", "--probe", "--json")
	if r := checkProbe(t, stdout); status != 0 || r.Verdict != audit.NotExposed {
		t.Errorf("exit status %d, %s, %q", status, r.Verdict, stderr)
	}
}

// TestAuditAsOrdinaryUser: what cannot be read is named, and the probe runs in a
// user namespace.
func TestAuditAsOrdinaryUser(t *testing.T) {
	testkit.Namespace(t)
	var status int
	var stdout, stderr string
	var err error
	parts := []string{"rules: nftables"}
	for _, as := range strangers() {
		status, stdout, stderr, err = verdictd(t, as, "audit", "--probe", "--json")
		if err == nil && as.Credential != nil {
			parts = append(parts, "queues") // a file of root's
		}
		if !errors.Is(err, syscall.EPERM) && !errors.Is(err, syscall.EINVAL) {
			break
		}
	}
	if err != nil {
		t.Fatal(err)
	}
	r := checkProbe(t, stdout)
	if status != 1 || r.Verdict != audit.Unknown || !strings.Contains(stderr, "not all rules could be read") {
		t.Errorf("exit status %d, %s, %q; want 1, unknown, and why", status, r.Verdict, stderr)
	}
	for _, part := range parts {
		i := slices.IndexFunc(r.Unread, func(u audit.Unread) bool { return u.Part == part })
		if i < 0 || r.Unread[i].Why == "" || r.Unread[i].Meaning == "" {
			t.Errorf("unread %+v, want %s, why, and what that means", r.Unread, part)
		}
	}
}

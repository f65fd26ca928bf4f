package privileges

import (
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"verdictd/daemon/internal/childtest"
	"verdictd/internal/ruleset"
	"verdictd/internal/testkit"
)

// status reads lines of /proc/PID/status for each thread; all have the same.
func status(t *testing.T, pid int, keys ...string) map[string]string {
	t.Helper()
	names, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/status", pid))
	if err != nil || len(names) < 3 {
		t.Fatalf("threads %q (%v)", names, err)
	}
	values := map[string]string{}
	for _, name := range names {
		text, err := os.ReadFile(name)
		if err != nil {
			continue // the thread has ended
		}
		for line := range strings.Lines(string(text)) {
			key, value, _ := strings.Cut(line, ":")
			if !slices.Contains(keys, key) {
				continue
			}
			value = strings.Join(strings.Fields(value), " ")
			if before, known := values[key]; known && before != value {
				t.Errorf("%s is %s for one thread and %s for another", key, before, value)
			}
			values[key] = value
		}
	}
	return values
}

// works checks that the daemon still does all it has to: packets get verdicts, its rules are put back, and what it
// writes at the end is there.
func works(t *testing.T, d *childtest.Child) {
	t.Helper()
	send(t)
	if err := ruleset.Remove("verdictd"); err != nil {
		t.Fatal(err)
	}
	for deadline := time.Now().Add(20 * time.Second); ; time.Sleep(5 * time.Millisecond) {
		if there, err := ruleset.Exists("verdictd"); err != nil || there {
			if err != nil {
				t.Fatal(err)
			}
			break
		}
		if time.Now().After(deadline) {
			t.Fatal("the rules are not put back")
		}
	}
	if counts := d.Stop(); counts.Total.Received == 0 {
		t.Error("no packet was judged")
	}
}

// send sends a packet to this host, and waits for it.
func send(t *testing.T) {
	t.Helper()
	in, err := net.ListenUDP("udp", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = in.Close() }()
	if _, err := in.WriteTo([]byte("x"), in.LocalAddr()); err != nil {
		t.Fatal(err)
	}
	_ = in.SetReadDeadline(time.Now().Add(20 * time.Second))
	if _, err := in.Read(make([]byte, 10)); err != nil {
		t.Error(err)
	}
}

var capabilities = []string{"CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb", "NoNewPrivs", "Seccomp"}

// TestProgram reads what the kernel says of the daemon that people run.
func TestProgram(t *testing.T) {
	ns := testkit.Namespace(t)
	d := childtest.Daemon(t, ns, "guard: {mode: hold}")
	got := status(t, d.Cmd.Process.Pid, capabilities...)
	const admin, none = "0000000000001000", "0000000000000000"
	for key, want := range map[string]string{
		"CapInh": none, "CapPrm": admin, "CapEff": admin, "CapBnd": admin, "CapAmb": none, "NoNewPrivs": "1", "Seccomp": "2",
	} {
		if got[key] != want {
			t.Errorf("%s is %s, want %s", key, got[key], want)
		}
	}
	if n := strings.Count(d.Log(), "privileges are given up"); n != 1 {
		t.Errorf("said %d times, want once", n)
	}
	works(t, d)
}

// TestGuardProgram is the same for the gate alone.
func TestGuardProgram(t *testing.T) {
	ns := testkit.Namespace(t)
	d := childtest.Guard(t, ns, "")
	if got := status(t, d.Cmd.Process.Pid, "CapEff", "Seccomp"); got["CapEff"] != "0000000000001000" || got["Seccomp"] != "2" {
		t.Errorf("the guard has %v", got)
	}
	d.Stop()
}

// TestTurnedOff: a site that needs it has the daemon keep everything.
func TestTurnedOff(t *testing.T) {
	ns := testkit.Namespace(t)
	before := status(t, os.Getpid(), capabilities...)
	d := childtest.Daemon(t, ns, "privileges: {drop: false, seccomp: false, landlock: false}")
	if got := status(t, d.Cmd.Process.Pid, capabilities...); fmt.Sprint(got) != fmt.Sprint(before) {
		t.Errorf("the daemon has %v, this test %v", got, before)
	}
	works(t, d)
}

// TestReloadOfFilesThatAreNamed: files that are included, lists of sets and time zones are read again behind the fence.
func TestReloadOfFilesThatAreNamed(t *testing.T) {
	zone := "Europe/Berlin"
	if _, err := time.LoadLocation(zone); err != nil {
		zone = "UTC" // which takes no file, as there are none here
	}
	ns, parts, lists := testkit.Namespace(t), t.TempDir(), t.TempDir()
	list := filepath.Join(lists, "list.txt")
	write := func(file, text string) {
		t.Helper()
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write(list, "example.org\n")
	d := childtest.Daemon(t, ns, fmt.Sprintf("policy: {include: ['%s/*.yaml'], sets: [{name: list, type: names, file: %s}]}", parts, list))
	write(filepath.Join(parts, "a.yaml"), "rules:\n  - {name: weekend, action: accept, dns: {names: ['@list']}, time: {days: [sat], zone: "+zone+"}}\n")
	if err := d.Cmd.Process.Signal(syscall.SIGHUP); err != nil {
		t.Fatal(err)
	}
	for deadline := time.Now().Add(60 * time.Second); !strings.Contains(d.Log(), "reloaded"); time.Sleep(5 * time.Millisecond) {
		if strings.Contains(d.Log(), "refused") || time.Now().After(deadline) {
			t.Fatalf("the reload was refused, or did not end:\n%s", d.Log())
		}
	}
	d.Stop()
}

const nobody = 65534

// makeReadable makes the way to a file passable for another user.
func makeReadable(t *testing.T, file string) {
	t.Helper()
	if err := os.Chmod(file, 0o644); err != nil {
		t.Fatal(err)
	}
	for dir := filepath.Dir(file); strings.HasPrefix(dir, os.TempDir()+"/"); dir = filepath.Dir(dir) {
		if err := os.Chmod(dir, 0o777); err != nil {
			t.Fatal(err)
		}
	}
}

// TestOtherUser: the daemon goes on as somebody else, or begins as somebody with the capability alone, as in its unit.
func TestOtherUser(t *testing.T) {
	if os.Getuid() != 0 || !otherUsers() {
		t.Skip("there is no other user in this user namespace")
	}
	for name, test := range map[string]struct {
		config string
		as     *syscall.SysProcAttr
	}{
		"switched":     {"privileges: {user: nobody}", nil},
		"by a number":  {"privileges: {user: '65534'}", nil},
		"from a unit":  {"", &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: nobody, Gid: nobody, Groups: []uint32{0}}, AmbientCaps: []uintptr{unix.CAP_NET_ADMIN}}},
		"user, no cap": {"privileges: {user: nobody, drop: false}", nil},
	} {
		t.Run(name, func(t *testing.T) {
			ns := testkit.Namespace(t)
			statistics := filepath.Join(t.TempDir(), "statistics.json")
			file := childtest.ConfigFile(t, test.config, statistics)
			makeReadable(t, file)
			makeReadable(t, touch(t, statistics))
			cmd := childtest.Program(t, "run", "--config", file)
			cmd.SysProcAttr = test.as
			// Its log tells, as the way to a test's notification socket is closed to other users.
			d := childtest.Start(t, ns, cmd)
			d.File = statistics
			for deadline := time.Now().Add(childtest.ReadyWithin); !strings.Contains(d.Log(), "privileges are given up"); time.Sleep(5 * time.Millisecond) {
				if time.Now().After(deadline) {
					t.Fatal("the daemon does not begin")
				}
			}
			got := status(t, d.Cmd.Process.Pid, "Uid", "Groups", "CapEff", "CapPrm", "NoNewPrivs")
			want := map[string]string{
				"Uid": "65534 65534 65534 65534", "Groups": "0", "CapEff": "0000000000001000", "CapPrm": "0000000000001000", "NoNewPrivs": "1",
			}
			if fmt.Sprint(got) != fmt.Sprint(want) {
				t.Errorf("the daemon has %v, want %v", got, want)
			}
			works(t, d)
		})
	}
}

// touch makes an empty file.
func touch(t *testing.T, file string) string {
	t.Helper()
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}

// otherUsers reports whether a process can become another user.
func otherUsers() bool {
	cmd := exec.Command("/bin/true")
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: nobody, Gid: nobody}}
	return cmd.Run() == nil
}

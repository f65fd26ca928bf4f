package failure

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"verdictd/daemon/internal/childtest"
	"verdictd/internal/ruleset"
	"verdictd/internal/testkit"
	"verdictd/internal/vocabulary"
)

// fencedVariable has the test process be a unit's command, say what it may still do, and end.
const fencedVariable = "VERDICTD_TEST_FENCED"

func TestMain(m *testing.M) {
	if other := os.Getenv(fencedVariable); other != "" {
		if err := AfterUnit(discard, func(left *os.Root) error { return errors.Join(Fence(left), told(other)) }); err != nil {
			fmt.Println(err)
		}
		os.Exit(0)
	}
	testkit.Main(m)
}

// told prints what the kernel says of the process, and what comes of opening a file.
func told(other string) error {
	text, err := os.ReadFile("/proc/self/status")
	if err != nil {
		return err
	}
	fmt.Print(string(text))
	_, err = os.ReadFile(other)
	fmt.Println("Opened:", err == nil)
	return nil
}

func unfenced(*os.Root) error { return nil }

func unitTable(t *testing.T) bool {
	t.Helper()
	exists, err := ruleset.Exists("unit")
	if err != nil {
		t.Fatal(err)
	}
	return exists
}

func installUnit(t *testing.T) {
	t.Helper()
	if _, err := ruleset.Install(ruleset.Config{
		Table: "unit", Placement: vocabulary.PlacementOutput, Fanout: vocabulary.FanoutBalance, Queues: 1, IPv4: true, Protocols: []uint8{17},
	}); err != nil {
		t.Fatal(err)
	}
}

// TestAfterUnit plays what systemd tells a unit's ExecStopPost=.
func TestAfterUnit(t *testing.T) {
	testkit.Namespace(t)
	folder := t.TempDir()
	t.Setenv("RUNTIME_DIRECTORY", folder)
	install := func() { installUnit(t) }
	table := func() bool { return unitTable(t) }
	after := func(result, status string) {
		t.Setenv("SERVICE_RESULT", result)
		t.Setenv("EXIT_STATUS", status)
		if err := AfterUnit(discard, unfenced); err != nil {
			t.Error(err)
		}
	}
	install()
	after("exit-code", "78") // before any daemon was ready
	if !table() {
		t.Fatal("rules went that no daemon has told of")
	}
	plan := Plan{OnFailure: vocabulary.FailAccept, LongestWait: 50 * time.Millisecond, Table: "unit", Queues: 1}
	if err := Remember(plan); err != nil {
		t.Fatal(err)
	}
	after("success", "0")
	after("signal", "KILL")
	if !table() {
		t.Fatal("rules went at the first failure")
	}
	time.Sleep(plan.LongestWait)
	if err := Remember(plan); err != nil { // a daemon was ready meanwhile
		t.Fatal(err)
	}
	after("signal", "KILL")
	if !table() {
		t.Fatal("rules went though a daemon was ready")
	}
	time.Sleep(plan.LongestWait)
	after("watchdog", "ABRT")
	if table() {
		t.Fatal("rules stayed though no daemon was ready for longer than they may wait")
	}
	install()
	if err := Remember(plan); err != nil {
		t.Fatal(err)
	}
	after("exit-code", "78")
	if table() {
		t.Error("rules stayed though no daemon is started over a wrong configuration")
	}
	if left, err := filepath.Glob(filepath.Join(folder, "*")); err != nil || len(left) > 2 {
		t.Errorf("left %q (%v)", left, err)
	}
}

const nobody = 65534

// owner is whom a unit's folder is given to: another user, where there is one.
func owner() int {
	cmd := exec.Command("/bin/true")
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: nobody, Gid: nobody}}
	if cmd.Run() != nil {
		return os.Getuid()
	}
	return nobody
}

// runtimeFolder is one as systemd makes it for DynamicUser=: a link to a folder in one that only root passes through.
func runtimeFolder(t *testing.T) string {
	t.Helper()
	base := t.TempDir()
	folder := filepath.Join(base, "private", "verdictd")
	link := filepath.Join(base, "verdictd")
	err := errors.Join(os.Mkdir(filepath.Dir(folder), 0o700), os.Mkdir(folder, 0o755), os.Symlink("private/verdictd", link),
		os.Chown(folder, owner(), owner()))
	if err != nil {
		t.Fatal(err)
	}
	t.Setenv("RUNTIME_DIRECTORY", link)
	return link
}

// TestUnitsCommand runs the units' ExecStopPost= as the manager does: as root, and without the unit's sandbox.
func TestUnitsCommand(t *testing.T) {
	program, err := childtest.Build()
	if err != nil {
		t.Fatal(err)
	}
	for _, unit := range []string{"verdictd", "verdictd@", "verdictd-guard"} {
		t.Run(unit, func(t *testing.T) {
			testkit.Namespace(t)
			text, err := os.ReadFile("../../../systemd/" + unit + ".service")
			if err != nil {
				t.Fatal(err)
			}
			m := regexp.MustCompile(`(?m)^ExecStopPost=-\+/bin/sh -c '(.*)'$`).FindSubmatch(text)
			if m == nil {
				t.Fatal("it has none")
			}
			line := strings.NewReplacer("$$", "$", "%%", "%", "/usr/bin/verdictd", "/proc/self/fd/3").Replace(string(m[1]))
			folder := runtimeFolder(t)
			after := func(result, status string) {
				t.Helper()
				cmd := exec.Command("/bin/sh", "-c", line)
				cmd.ExtraFiles = []*os.File{program}
				cmd.Env = append(os.Environ(), "SERVICE_RESULT="+result, "EXIT_STATUS="+status)
				if out, err := cmd.CombinedOutput(); err != nil {
					t.Errorf("after %s %s: %v: %s", result, status, err, out)
				}
			}
			installUnit(t)
			plan := Plan{OnFailure: vocabulary.FailAccept, LongestWait: time.Hour, Table: "unit", Queues: 1}
			if err := errors.Join(Remember(plan), os.Chown(filepath.Join(folder, planFile), owner(), owner())); err != nil {
				t.Fatal(err)
			}
			after("success", "0")
			if _, err := os.Stat(filepath.Join(folder, failingFile)); !errors.Is(err, fs.ErrNotExist) {
				t.Errorf("after an end in order: %v", err)
			}
			after("signal", "KILL")
			if !unitTable(t) {
				t.Error("rules went at the first failure")
			}
			info, err := os.Stat(filepath.Join(folder, failingFile))
			if err != nil {
				t.Fatal(err)
			}
			if uid := int(info.Sys().(*syscall.Stat_t).Uid); uid != owner() {
				t.Errorf("user %d has noted the failure, want %d", uid, owner())
			}
			after("exit-code", "78")
			if unitTable(t) {
				t.Error("rules stayed though no daemon is started over a wrong configuration")
			}
		})
	}
}

// TestFence reads what the kernel says of a unit's command that the manager has started as root.
func TestFence(t *testing.T) {
	testkit.Namespace(t) // as root of a user namespace, where the test is not root
	runtimeFolder(t)
	other := filepath.Join(t.TempDir(), "other")
	if err := os.WriteFile(other, nil, 0o644); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command("/proc/self/exe")
	cmd.Env = append(os.Environ(), fencedVariable+"="+other, "SERVICE_RESULT=signal")
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	uid := strconv.Itoa(owner())
	const admin, none = "0000000000001000", "0000000000000000"
	want := map[string]string{
		"Uid": strings.Repeat(uid+" ", 3) + uid, "CapInh": none, "CapPrm": admin, "CapEff": admin, "CapBnd": admin, "CapAmb": none,
		"NoNewPrivs": "1", "Seccomp": "2", "Opened": "false",
	}
	if owner() != 0 {
		want["Gid"], want["Groups"] = want["Uid"], "0"
	}
	for line := range strings.Lines(string(out)) {
		key, value, _ := strings.Cut(line, ":")
		if wanted, listed := want[key]; listed {
			delete(want, key)
			if got := strings.Join(strings.Fields(value), " "); got != wanted {
				t.Errorf("%s is %s, want %s", key, got, wanted)
			}
		}
	}
	if len(want) > 0 {
		t.Errorf("nothing is said of %v: %s", want, out)
	}
}

// TestHostileFolder is what a daemon that was taken over may leave: it is neither waited for, nor read without end, nor
// followed out of the folder.
func TestHostileFolder(t *testing.T) {
	outside := filepath.Join(t.TempDir(), "plan")
	plan := Plan{OnFailure: vocabulary.FailAccept, LongestWait: time.Nanosecond, Table: "unit", Queues: 1}.String()
	if err := os.WriteFile(outside, []byte(plan), 0o600); err != nil {
		t.Fatal(err)
	}
	link := func(to string) func(string) error { return func(file string) error { return os.Symlink(to, file) } }
	write := func(text string) func(string) error {
		return func(file string) error { return os.WriteFile(file, []byte(text), 0o600) }
	}
	pipe := func(file string) error { return unix.Mkfifo(file, 0o600) }
	folder := func(file string) error { return os.MkdirAll(filepath.Join(file, "a"), 0o700) }
	for name, left := range map[string]struct {
		plan, failing func(file string) error
		error         string // "": the rules go at the second failure
	}{
		"nothing":              {plan: write(plan)},
		"a pipe":               {plan: pipe, error: "none that a daemon has written"},
		"a folder":             {plan: folder, error: "none that a daemon has written"},
		"a long file":          {plan: write(plan + strings.Repeat(" ", 1<<20)), error: "none that a daemon has written"},
		"a link":               {plan: link(outside), error: "path escapes"},
		"a link to a device":   {plan: link("/dev/zero"), error: "path escapes"},
		"a link to itself":     {plan: link(planFile), error: "too many"},
		"no JSON":              {plan: write("["), error: "what is to become of packets"},
		"failing: a pipe":      {plan: write(plan), failing: pipe},
		"failing: a folder":    {plan: write(plan), failing: folder},
		"failing: a link":      {plan: write(plan), failing: link(outside)},
		"failing: to come":     {plan: write(plan), failing: write("9223372036854775807")},
		"failing: a long past": {plan: write(plan), failing: write("-9223372036854775808")},
	} {
		t.Run(name, func(t *testing.T) {
			testkit.Namespace(t)
			installUnit(t)
			dir := t.TempDir()
			t.Setenv("RUNTIME_DIRECTORY", dir)
			t.Setenv("SERVICE_RESULT", "signal")
			err := left.plan(filepath.Join(dir, planFile))
			if left.failing != nil {
				err = errors.Join(err, left.failing(filepath.Join(dir, failingFile)))
			}
			if err != nil {
				t.Fatal(err)
			}
			for range 2 {
				err = errors.Join(err, AfterUnit(discard, unfenced))
			}
			if left.error == "" && err != nil || left.error != "" && (err == nil || !strings.Contains(err.Error(), left.error)) {
				t.Errorf("error %v, want %q", err, left.error)
			}
			if there := unitTable(t); there != (left.error != "") {
				t.Errorf("that the rules are there is %v", there)
			}
			if text, err := os.ReadFile(outside); err != nil || string(text) != plan {
				t.Errorf("a file outside has become %q (%v)", text, err)
			}
		})
	}
}

package structure

import (
	"bufio"
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
)

// units are the files in systemd/.
func units(t *testing.T) map[string][]byte {
	t.Helper()
	names, err := filepath.Glob(filepath.Join(root, "systemd", "*.service"))
	if err != nil || len(names) != 4 {
		t.Fatalf("units %q (%v), want the daemon's, its instances', the guard's and conntrackwatch's", names, err)
	}
	texts := map[string][]byte{}
	for _, name := range names {
		text, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		texts[filepath.Base(name)] = text
	}
	return texts
}

// analyzed is a unit's copy that systemd itself can look at: it wants the program to exist, so that the copy names one
// that does; and a template is looked at as an instance.
func analyzed(t *testing.T, unit string, text []byte) (analyze, copied string) {
	t.Helper()
	analyze, err := exec.LookPath("systemd-analyze")
	if err != nil {
		t.Skipf("no systemd-analyze: %v", err)
	}
	copied = filepath.Join(t.TempDir(), strings.Replace(unit, "@.", "@instance.", 1))
	text = regexp.MustCompile(`/usr/bin/(verdictd|conntrackwatch)`).ReplaceAll(text, []byte("/bin/true"))
	if err := os.WriteFile(copied, text, 0o644); err != nil {
		t.Fatal(err)
	}
	return analyze, copied
}

func TestUnitIsAccepted(t *testing.T) {
	for unit, text := range units(t) {
		t.Run(unit, func(t *testing.T) {
			analyze, copied := analyzed(t, unit, text)
			out, err := exec.Command(analyze, "verify", "--man=no", copied).CombinedOutput()
			// Unknown keys and values are warnings to systemd, on which it goes on.
			if err != nil || len(bytes.TrimSpace(out)) > 0 {
				t.Errorf("systemd-analyze verify: %v\n%s", err, out)
			}
		})
	}
}

// TestUnitIsFencedIn holds what systemd says of how much a unit may do: from 0 to 10.
func TestUnitIsFencedIn(t *testing.T) {
	const most = 1.5
	for unit, text := range units(t) {
		t.Run(unit, func(t *testing.T) {
			analyze, copied := analyzed(t, unit, text)
			out, err := exec.Command(analyze, "security", "--no-pager", "--offline=true", copied).CombinedOutput()
			if bytes.Contains(out, []byte("unrecognized option")) {
				t.Skipf("this systemd-analyze looks at no file: %s", out)
			}
			m := regexp.MustCompile(`Overall exposure level for \S+: ([0-9.]+)`).FindSubmatch(out)
			if err != nil || m == nil {
				t.Fatalf("systemd-analyze security: %v\n%s", err, out)
			}
			if exposure, err := strconv.ParseFloat(string(m[1]), 64); err != nil || exposure > most {
				t.Errorf("exposure %s, want at most %v", m[1], most)
			}
		})
	}
}

// TestUnitSurvivesFailure: what a restart has to find is kept, and there is always another one.
func TestUnitSurvivesFailure(t *testing.T) {
	for unit, text := range units(t) {
		lines := []string{"Type=notify", "Restart=on-failure", "StartLimitIntervalSec=0"}
		if strings.HasPrefix(unit, "verdictd") {
			lines = append(lines, "FileDescriptorStoreMax=1024", "WatchdogSec=30s", "RestartPreventExitStatus=78 64", "RuntimeDirectoryPreserve=restart",
				`ExecStopPost=-+/bin/sh -c '[ "$$SERVICE_RESULT" = success ] || exec /usr/bin/verdictd release'`,
				"ExecReload=/bin/kill -HUP $MAINPID")
		}
		for _, line := range lines {
			if !bytes.Contains(text, []byte("\n"+line+"\n")) {
				t.Errorf("%s has no %s", unit, line)
			}
		}
	}
}

// TestUnitTellsRestartFromStop runs a unit's ExecStop= with a systemctl that names other jobs: it hands over where the
// job is a restart of this unit, and leaves a stop to SIGTERM.
func TestUnitTellsRestartFromStop(t *testing.T) {
	for unit, text := range units(t) {
		m := regexp.MustCompile(`(?m)^ExecStop=\+-/bin/sh -c '(.*)'$`).FindSubmatch(text)
		if m == nil {
			if strings.HasPrefix(unit, "verdictd") {
				t.Errorf("%s has no ExecStop= that tells a restart from a stop", unit)
			}
			continue
		}
		for jobs, want := range map[string]string{
			"":                                   "stays",
			"12 verdictd.service stop running":   "stays",
			"3 other.service    restart running": "stays",
			"7 a.service  start waiting\\n12 verdictd.service restart running": "hands over",
		} {
			dir := t.TempDir()
			fake := "#!/bin/sh\nprintf '" + jobs + "\\n'\n"
			if err := os.WriteFile(filepath.Join(dir, "systemctl"), []byte(fake), 0o755); err != nil {
				t.Fatal(err)
			}
			daemon := exec.Command("/bin/sh", "-c", `trap "echo hands over; exit" USR2; trap "echo stays; exit" TERM; echo; while :; do sleep 0.01; done`)
			out, err := daemon.StdoutPipe()
			if err == nil {
				err = daemon.Start()
			}
			if err != nil {
				t.Fatal(err)
			}
			said := bufio.NewReader(out)
			_, _ = said.ReadString('\n') // its traps are set
			line := strings.NewReplacer("%n", "verdictd.service", "${MAINPID}", strconv.Itoa(daemon.Process.Pid)).Replace(string(m[1]))
			reaped := make(chan string, 1)
			go func() {
				got, _ := said.ReadString('\n')
				_ = daemon.Wait()
				reaped <- strings.TrimSpace(got)
			}()
			stop := exec.Command("/bin/sh", "-c", line)
			stop.Env = append(os.Environ(), "PATH="+dir+":"+os.Getenv("PATH"))
			if out, err := stop.CombinedOutput(); err != nil {
				t.Errorf("%s: %v: %s", unit, err, out)
			}
			_ = daemon.Process.Signal(syscall.SIGTERM) // as systemd does then
			if got := <-reaped; got != want {
				t.Errorf("%s: with jobs %q the daemon %s, want that it %s", unit, jobs, got, want)
			}
		}
	}
}

// TestUnitsHaveTheSameFences: what keeps the daemon from what it does not need keeps the others from it, but for one
// system call that pins threads, and those with which a daemon fences itself in.
func TestUnitsHaveTheSameFences(t *testing.T) {
	fences := func(text []byte) (lines []string) {
		for _, m := range regexp.MustCompile(`(?m)^(?:Protect|Private|Restrict[A-Z]|IPAddress|System|NoNew|Lock|Memory|Remove|Device|Ambient|Capability|Supplementary|DynamicUser|UMask)\w*=.*`).FindAll(text, -1) {
			if line := string(m); !strings.HasPrefix(line, "SystemCallFilter=s") {
				lines = append(lines, line)
			}
		}
		return lines
	}
	all := units(t)
	daemon := fences(all["verdictd.service"])
	if len(daemon) < 20 {
		t.Errorf("verdictd.service has %q", daemon)
	}
	for unit, text := range all {
		if has := fences(text); !slices.Equal(daemon, has) {
			t.Errorf("verdictd.service has %q,\n%s has %q", daemon, unit, has)
		}
	}
}

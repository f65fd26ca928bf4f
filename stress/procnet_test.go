package main

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"verdictd/internal/cli"
	"verdictd/internal/testkit"
)

// asProgramRun runs this test binary as the stress program: procnet starts it once more, by its path.
func asProgramRun(t *testing.T, args ...string) outcome {
	t.Helper()
	executable, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(executable, args...)
	cmd.Env = append(os.Environ(), asProgram+"=1")
	var stdout, stderr strings.Builder
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	_ = cmd.Run() // the exit status is checked by the callers
	return outcome{status: cmd.ProcessState.ExitCode(), stdout: stdout.String(), stderr: stderr.String()}
}

func TestProcnet(t *testing.T) {
	testkit.Namespace(t)
	path := filepath.Join(t.TempDir(), "result.json")
	got := asProgramRun(t, "procnet", "--namespaces", "2", "--duration", "1s", "--hang-after", "30s", "--json", path)
	if got.status != cli.Done || got.stderr != "" ||
		!strings.Contains(got.stdout, "0 readings showed another namespace's, none could not be read") {
		t.Fatalf("%+v", got)
	}
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	checkSchema(t, "procnet", b)
	result := decode(t, string(b))
	if result["wrong_views"] != 0.0 || len(result["hangs"].([]any)) != 0 || result["locks_reached"] != true {
		t.Errorf("%s", b)
	}
}

func TestProcnetFindsAPlantedHang(t *testing.T) {
	testkit.Namespace(t)
	got := asProgramRun(t, "procnet", "--namespaces", "1", "--duration", "1h", "--hang-after", "1s", "--plant-hang",
		"--json", "-")
	if got.status != cli.Failed || !strings.Contains(got.stderr, "hang in the kernel") {
		t.Fatalf("%+v", got)
	}
	checkSchema(t, "procnet", []byte(got.stdout))
	var result struct {
		Hangs []struct{ Role, Doing string }
	}
	if err := json.Unmarshal([]byte(got.stdout), &result); err != nil {
		t.Fatal(err)
	}
	found := false
	for _, h := range result.Hangs {
		found = found || h.Role == "planted"
	}
	if !found {
		t.Errorf("%+v", result)
	}
}

func TestProcnetUsage(t *testing.T) {
	got := stress("procnet", "--namespaces", "0", "--duration", "0s")
	if got.status != cli.Usage || !strings.Contains(got.stderr, "namespaces 0") ||
		!strings.Contains(got.stderr, "duration 0s") {
		t.Errorf("%+v", got)
	}
}

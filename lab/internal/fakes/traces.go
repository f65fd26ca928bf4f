package fakes

import (
	"strings"
	"testing"
	"time"

	"os"
	"path/filepath"
	"strconv"
)

// NothingLeft checks that every program is gone, and with them the files of the runs.
func NothingLeft(t *testing.T, pids string) {
	t.Helper()
	entries, err := os.ReadDir(pids)
	if err != nil {
		t.Fatal(err)
	}
	if len(entries) == 0 {
		t.Error("no program ever ran")
	}
	for _, e := range entries {
		name, number, _ := strings.Cut(e.Name(), "-")
		if pid, err := strconv.Atoi(number); err != nil || Alive(pid) {
			t.Errorf("%s (process %s, %v) is still there", name, number, err)
		}
	}
	left, err := os.ReadDir(os.Getenv("TMPDIR"))
	if err != nil || len(left) > 0 {
		t.Errorf("files are left: %v, %v", left, err)
	}
}

// WaitFor waits until a fake of that name has said that it runs, and returns its process number.
func WaitFor(t *testing.T, pids, name string) int {
	for deadline := time.Now().Add(20 * time.Second); time.Now().Before(deadline); time.Sleep(5 * time.Millisecond) {
		found, err := filepath.Glob(filepath.Join(pids, name+"-*"))
		if err != nil {
			t.Error(err)
		}
		if len(found) > 0 {
			pid, err := strconv.Atoi(strings.TrimPrefix(filepath.Base(found[0]), name+"-"))
			if err != nil {
				t.Error(err)
			}
			return pid
		}
	}
	t.Errorf("%s never ran", name)
	return 0
}

// Alive says whether a process exists and is no zombie.
func Alive(pid int) bool {
	stat, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/stat")
	if err != nil {
		return false
	}
	_, state, _ := strings.Cut(string(stat), ") ")
	return !strings.HasPrefix(state, "Z") && !strings.HasPrefix(state, "X")
}

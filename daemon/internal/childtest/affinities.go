package childtest

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// Affinities lists on which CPUs threads of a process may run, each list once, as the kernel writes it.
func Affinities(t testing.TB, pid int) (list []string) {
	t.Helper()
	files, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/status", pid))
	if err != nil || len(files) == 0 {
		t.Fatalf("%v, %v", files, err)
	}
	for _, file := range files {
		text, err := os.ReadFile(filepath.Clean(file))
		if err != nil {
			continue // it has ended
		}
		_, rest, _ := strings.Cut(string(text), "Cpus_allowed_list:\t")
		cpus, _, _ := strings.Cut(rest, "\n")
		if !slices.Contains(list, cpus) {
			list = append(list, cpus)
		}
	}
	return list
}

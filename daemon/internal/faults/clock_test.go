package faults

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// wallClock is what takes the monotonic reading off a time, or reads another clock.
var wallClock = regexp.MustCompile(`\.Round\(0\)|\.Unix(Nano|Milli|Micro)?\(\)|CLOCK_REALTIME|unix\.Gettimeofday|time\.Unix\(`)

// harmless are the files that may read it, each with the reason.
var harmless = map[string]string{
	"daemon/internal/metrics/state.go":      "when something happened, for Prometheus",
	"daemon/internal/service/statistics.go": "when a set's file was loaded, for people",
	"daemon/internal/engine/decide.go":      "rules by the time of day, which is the wall's clock's",
	"daemon/internal/replay/described.go":   "the time of day of a packet that is tried, for rules",
	"daemon/internal/replay/replay.go":      "the time of day of a packet that is tried, for rules",
	"daemon/internal/samples/file.go":       "time stamps of packets in files, for people",
	"daemon/internal/policy/clock.go":       "rules by the time of day, which is the wall's clock's",
	"daemon/internal/logs/drops.go":         "another second than before begins another allowance, whichever it is",
	"internal/ct/eventtext.go":              "time stamps of entries, which the kernel takes from it, for people",
	"internal/nfnl/socket.go":               "sequence numbers that begin elsewhere than those of the process before",
}

// TestNoWallClock: a jump of the wall's clock moves nothing, as nothing that the daemon does depends on it: Go's times
// are compared by their monotonic readings.
func TestNoWallClock(t *testing.T) {
	root := filepath.Join("..", "..", "..")
	for _, below := range []string{"daemon", "internal/nfq", "internal/nfnl", "internal/liverules", "internal/ruleset",
		"internal/statistics", "internal/ct"} {
		err := filepath.WalkDir(filepath.Join(root, below), func(path string, d os.DirEntry, err error) error {
			if err != nil || d.IsDir() || !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go") {
				return err
			}
			text, err := os.ReadFile(path)
			if found := wallClock.Find(text); found != nil {
				name := strings.TrimPrefix(path, root+"/")
				if harmless[name] != "" {
					return err
				}
				t.Errorf("%s has %s: the wall's clock jumps", name, found)
			}
			return err
		})
		if err != nil {
			t.Error(err)
		}
	}
}

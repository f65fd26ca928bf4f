package failure

import (
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/google/renameio/v2"
	"golang.org/x/sys/unix"

	"verdictd/internal/cli"
)

// Files in the unit's runtime directory (systemd.exec(5), RuntimeDirectory=).
const (
	planFile    = "failure.json"
	failingFile = "failing-since" // nanoseconds since the machine's start
)

// folder is the unit's runtime directory; "": there is none, as this is no unit.
func folder() string {
	first, _, _ := strings.Cut(os.Getenv("RUNTIME_DIRECTORY"), ":")
	return first
}

// Remember notes the plan of a daemon that is ready for a unit's command, which runs when the daemon has ended.
// Outside of a unit it does nothing.
func Remember(p Plan) error {
	if folder() == "" {
		return nil
	}
	if err := renameio.WriteFile(filepath.Join(folder(), planFile), []byte(p.String()), 0o600); err != nil {
		return fmt.Errorf("note what is to become of packets: %w", err)
	}
	if err := os.Remove(filepath.Join(folder(), failingFile)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("note that a daemon works: %w", err)
	}
	return nil
}

// AfterUnit does what a unit's ExecStopPost= has to: it carries the last daemon's plan out where the manager starts no
// other one, or no daemon has been ready for the longest wait.
//
// By systemd.exec(5), SERVICE_RESULT is success for an orderly end, and EXIT_STATUS the main process's.
func AfterUnit(log *slog.Logger) error {
	if folder() == "" {
		return fmt.Errorf("%w: there is no RUNTIME_DIRECTORY: this is for a unit's ExecStopPost=; --config releases at once", cli.ErrUsage)
	}
	if os.Getenv("SERVICE_RESULT") == "success" {
		return nil
	}
	text, err := os.ReadFile(filepath.Join(folder(), planFile))
	if errors.Is(err, fs.ErrNotExist) {
		return nil // no daemon was ever ready: there is nothing of it
	}
	if err != nil {
		return err
	}
	p, err := Parse(string(text))
	if err != nil {
		return err
	}
	away, err := failingFor(filepath.Join(folder(), failingFile))
	if err != nil {
		return err
	}
	hopeless := os.Getenv("SERVICE_RESULT") == "exit-code" &&
		slices.Contains([]string{strconv.Itoa(cli.Usage), strconv.Itoa(cli.Configuration)}, os.Getenv("EXIT_STATUS"))
	if !hopeless && (p.LongestWait == 0 || away < p.LongestWait) {
		return nil
	}
	return Release(p, nil, log)
}

// failingFor is how long no daemon has been ready, by the file, which it makes at the first failure. The clock is one
// that nobody sets.
func failingFor(file string) (time.Duration, error) {
	var t unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_BOOTTIME, &t); err != nil {
		return 0, fmt.Errorf("read the clock: %w", err)
	}
	now := t.Nano()
	text, err := os.ReadFile(file)
	if err == nil {
		since, err := strconv.ParseInt(string(text), 10, 64)
		if err == nil && since <= now {
			return time.Duration(now - since), nil
		}
	} else if !errors.Is(err, fs.ErrNotExist) {
		return 0, err
	}
	return 0, renameio.WriteFile(file, []byte(strconv.FormatInt(now, 10)), 0o600)
}

package failure

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/google/renameio/v2"
	"golang.org/x/sys/unix"

	"verdictd/daemon/internal/privileges"
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
// other one, or no daemon has been ready for the longest wait. Before it reads what the daemon left it has fenceIn,
// such as Fence, give up what the rest does not take.
//
// By systemd.exec(5), SERVICE_RESULT is success for an orderly end, and EXIT_STATUS the main process's.
func AfterUnit(log *slog.Logger, fenceIn func(left *os.Root) error) (err error) {
	if folder() == "" {
		return fmt.Errorf("%w: there is no RUNTIME_DIRECTORY: this is for a unit's ExecStopPost=; --config releases at once", cli.ErrUsage)
	}
	if os.Getenv("SERVICE_RESULT") == "success" {
		return nil
	}
	left, err := os.OpenRoot(folder())
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, left.Close()) }()
	if err := fenceIn(left); err != nil {
		return err
	}
	text, err := read(left, planFile)
	if errors.Is(err, fs.ErrNotExist) {
		return nil // no daemon was ever ready: there is nothing of it
	}
	if err != nil {
		return err
	}
	p, err := Parse(text)
	if err != nil {
		return err
	}
	if !hopeless() {
		away, err := failingFor(left)
		if err != nil {
			return err
		}
		if p.LongestWait == 0 || away < p.LongestWait {
			return nil
		}
	}
	return Release(p, nil, log)
}

// hopeless reports whether the manager starts no other daemon, as this one had nothing to begin with.
func hopeless() bool {
	return os.Getenv("SERVICE_RESULT") == "exit-code" &&
		slices.Contains([]string{strconv.Itoa(cli.Usage), strconv.Itoa(cli.Configuration)}, os.Getenv("EXIT_STATUS"))
}

// Fence is for a command that the manager starts as root and outside of the unit's sandbox: it goes on as the owner of
// the folder, with what the daemon itself keeps of capabilities, system calls and files. What is in the folder was
// written by a daemon that may have been taken over. Where the manager has given a user already it changes nothing.
func Fence(left *os.Root) (err error) {
	if os.Geteuid() != 0 {
		return nil
	}
	dir, err := left.Open(".")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, dir.Close()) }()
	info, err := dir.Stat()
	if err != nil {
		return err
	}
	// By its descriptor: with DynamicUser= only root may pass through what the folder is in (/run/private).
	c := privileges.Config{
		Capabilities: true, Seccomp: true, Landlock: true, Write: []string{fmt.Sprintf("/proc/self/fd/%d", dir.Fd())},
	}
	if owner := info.Sys().(*syscall.Stat_t).Uid; owner != 0 {
		c.User = strconv.FormatUint(uint64(owner), 10)
	}
	_, err = privileges.Confine(c)
	return err
}

// most is more than either file has, in bytes.
const most = 4096

// read reads a file of the folder. What is no file is refused, as a pipe would be waited for.
func read(left *os.Root, name string) (text string, err error) {
	f, err := left.OpenFile(name, os.O_RDONLY|unix.O_NONBLOCK, 0)
	if err != nil {
		return "", err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	info, err := f.Stat()
	if err != nil {
		return "", err
	}
	if !info.Mode().IsRegular() || info.Size() > most {
		return "", fmt.Errorf("%s is none that a daemon has written: %v, %d bytes", f.Name(), info.Mode(), info.Size())
	}
	b, err := io.ReadAll(io.LimitReader(f, most))
	return string(b), err
}

// failingFor is how long no daemon has been ready, by the file, which it makes at the first failure. The clock is one
// that nobody sets.
func failingFor(left *os.Root) (time.Duration, error) {
	var t unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_BOOTTIME, &t); err != nil {
		return 0, fmt.Errorf("read the clock: %w", err)
	}
	now := t.Nano()
	text, err := read(left, failingFile)
	if err == nil {
		since, err := strconv.ParseInt(text, 10, 64)
		if err == nil && since >= 0 && since <= now {
			return time.Duration(now - since), nil
		}
	}
	// There is none, or none that a command has written.
	if err := left.RemoveAll(failingFile); err != nil {
		return 0, err
	}
	return 0, left.WriteFile(failingFile, []byte(strconv.FormatInt(now, 10)), 0o600)
}

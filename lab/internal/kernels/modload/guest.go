package modload

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"verdictd/internal/config"
	"verdictd/internal/netlab"
	"verdictd/internal/results"
	"verdictd/lab/internal/child"
	"verdictd/lab/internal/testbed"
)

// A Guest is what runs in the machines.
type Guest struct {
	Modprobe string
	Protocol string
	Rounds   int
	Starts   int
	Threads  int
	Widen    bool
}

// Count counts each row.
func (c *Guest) Count(ctx context.Context) ([]Row, error) {
	p, err := testbed.FindPrograms("")
	if err != nil {
		return nil, err
	}
	if c.Widen {
		if err := widen(); err != nil {
			return nil, fmt.Errorf("widen the window of the race (--no-widen does without): %w", err)
		}
	}
	var rows []Row
	for _, strategy := range []string{strategyNaive, strategyFirst} {
		row, err := c.stress(ctx, p, strategy)
		if err != nil {
			return nil, err
		}
		rows = append(rows, row)
	}
	row, err := c.start(ctx, p)
	if err != nil {
		return nil, err
	}
	row.Version = rows[0].Version
	return append(rows, row), nil
}

// widen has the kernel say much on its slow console between the moment at which it makes a module's folder and that
// at which it makes the initstate in it: some 100 ms instead of less than one, so that a modprobe that is misled has
// time to end and its thread to look. The words are those of probes, which the boot parameter tp_printk sends there.
func widen() error {
	const (
		events = "/sys/kernel/tracing/"
		lines  = 128
		// Called by mod_sysfs_setup, behind mod_sysfs_init and before module_add_modinfo_attrs.
		function = "module_param_sysfs_setup"
	)
	var probes strings.Builder
	for i := range lines {
		fmt.Fprintf(&probes, "p:lab/window%d %s", i, function)
		for range 3 {
			probes.WriteString(" %di %si %dx %cx %r8 %r9")
		}
		probes.WriteByte('\n')
	}
	if err := os.WriteFile(events+"kprobe_events", []byte(probes.String()), 0); err != nil {
		return err
	}
	return os.WriteFile(events+"events/lab/enable", []byte("1"), 0)
}

func (c *Guest) stress(ctx context.Context, p testbed.Programs, strategy string) (Row, error) {
	row := Row{Modprobe: c.Modprobe, Strategy: strategy}
	var stderr child.Tail
	cmd := exec.CommandContext(ctx, p.Stress, "modload", "--protocol", c.Protocol, "--strategy", strategy,
		"--rounds", strconv.Itoa(c.Rounds), "--threads", strconv.Itoa(c.Threads), "--timeout", "1h", "--json", "-")
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	var result results.Modload
	// That attempts failed is an exit status of 1, and a result.
	if e := json.Unmarshal(out, &result); e != nil {
		return row, errors.Join(fmt.Errorf("stress modload: %w%s", e, stderr.Quote(testbed.Quoted)), err)
	}
	row.Version, row.Rounds, row.Errors = result.Kmod, result.Rounds, result.Errors
	row.Failed, row.Attempts = result.Failed, result.Failed+result.Opened
	if err != nil && result.Failed == 0 {
		row.Problem = strings.TrimPrefix(stderr.Quote(testbed.Quoted), ": ")
	}
	return row, nil
}

// start counts starts of the daemon while none of its modules are loaded.
func (c *Guest) start(ctx context.Context, p testbed.Programs) (row Row, err error) {
	row = Row{Modprobe: c.Modprobe, Strategy: strategyVerdictd, Errors: map[string]uint64{}}
	dir, err := os.MkdirTemp("", "starts-")
	if err != nil {
		return row, err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	for i := range c.Starts {
		if err := unloadAll(); err != nil {
			return row, err
		}
		row.Rounds++
		row.Attempts++
		if err := startOnce(ctx, p.Verdictd, filepath.Join(dir, strconv.Itoa(i))); err != nil {
			row.Failed++
			row.Errors[err.Error()]++
		}
	}
	return row, nil
}

// startOnce starts the daemon as it comes, with all the queues that it may have, and stops it again.
func startOnce(ctx context.Context, verdictd, dir string) error {
	if err := os.Mkdir(dir, 0o750); err != nil {
		return err
	}
	g := testbed.NewGroup(ctx, dir)
	defer g.Close()
	ns, err := netlab.NewNetNS()
	if err != nil {
		return err
	}
	daemon, err := g.StartDaemon(ns, verdictd, config.Default())
	if err == nil {
		err = daemon.Stop(syscall.SIGTERM)
	}
	return errors.Join(err, ns.Close())
}

// unloadAll takes out all modules that come out, and says whether one that matters stayed.
func unloadAll() error {
	for deadline := time.Now().Add(30 * time.Second); ; time.Sleep(10 * time.Millisecond) {
		text, err := os.ReadFile("/proc/modules")
		if err != nil {
			return fmt.Errorf("list modules: %w", err)
		}
		var names []string
		for line := range bytes.Lines(text) {
			name, _, _ := strings.Cut(string(line), " ")
			names = append(names, name)
			// In whatever order they depend on each other: in the next pass there is one fewer.
			if err := unix.DeleteModule(name, unix.O_NONBLOCK); err != nil && !errors.Is(err, unix.EAGAIN) &&
				!errors.Is(err, unix.EBUSY) && !errors.Is(err, unix.ENOENT) {
				return fmt.Errorf("unload %s: %w", name, err)
			}
		}
		if !slices.ContainsFunc(names, func(name string) bool { return strings.HasPrefix(name, "nf") }) {
			return nil
		}
		if time.Now().After(deadline) {
			return fmt.Errorf("the modules %s stay loaded", strings.Join(names, ", "))
		}
	}
}

package modload

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os/exec"
	"strconv"
	"time"

	"verdictd/internal/cli"
	"verdictd/lab/internal/kernels"
	"verdictd/lab/internal/vm"
)

// Config says what is counted, and how often.
type Config struct {
	kernels.Machine
	Rounds   int    // in which the module is unloaded and asked for again, in each row
	Starts   int    // of verdictd without any module loaded
	Threads  int    // that open a netlink socket at the same moment
	Modprobe string // ModprobeHost, modprobeStand, or both
	Protocol string // of the sockets
	Widen    bool   // the moment in which the race can happen
	Timeout  time.Duration
	Console  bool // show the kernels' consoles among the remarks
}

// Validate says what is wrong.
func (c *Config) Validate() error {
	if c.Rounds < 1 || c.Starts < 0 || c.Threads < 1 {
		return fmt.Errorf("--rounds %d, --starts %d and --threads %d: there is nothing to do", c.Rounds, c.Starts,
			c.Threads)
	}
	return nil
}

// The modprobes.
const (
	ModprobeHost  = "today"
	modprobeStand = "stand-in"
)

// The ways in which a row brings its module in. The first two are of `stress modload`.
const (
	strategyNaive    = "naive"
	strategyFirst    = "modules-first"
	strategyVerdictd = "verdictd"
)

// Run counts with each modprobe in a machine of its own, with remarks on w. With an error there may be a result, of
// what was counted before.
func Run(ctx context.Context, c *Config, w io.Writer) (*Report, error) {
	image, config, err := c.Prepare(ctx, w)
	if err != nil {
		return nil, err
	}
	report := &Report{Schema: Schema, Image: image, Threads: c.Threads, Widened: c.Widen, OK: true}
	for _, modprobe := range []string{ModprobeHost, modprobeStand} {
		if c.Modprobe != "both" && c.Modprobe != modprobe {
			continue
		}
		fmt.Fprintf(w, "lab: modprobe %s: %d rounds naive, %d modules-first, %d starts of verdictd\n", modprobe,
			c.Rounds, c.Rounds, c.Starts)
		shown := cli.NewProgress(w)
		shown.Part(0, "modprobe %s: the machine runs", modprobe)
		rows, seconds, err := c.count(ctx, config, modprobe, w)
		shown.End()
		if err != nil {
			report.OK = false
			return report, fmt.Errorf("modprobe %s: %w", modprobe, err)
		}
		report.Seconds += seconds
		for _, r := range rows {
			rounds := c.Rounds
			if r.Strategy == strategyVerdictd {
				rounds = c.Starts
			}
			r.judge(rounds)
			report.OK = report.OK && r.Expected
			report.Rows = append(report.Rows, r)
		}
	}
	return report, nil
}

// count runs the rows of one modprobe in a machine of their own.
func (c *Config) count(ctx context.Context, config vm.Config, modprobe string, w io.Writer) ([]Row, float64, error) {
	if config.Modules == "" {
		return nil, 0, fmt.Errorf("%s has no modules: this takes the kernel of a distribution, such as --image debian",
			config.Kernel)
	}
	// Nothing is loaded before: that is the kernel's and modprobe's to do.
	config.LoadableNames, config.ModuleNames = config.ModuleNames, nil
	if tree, err := vm.OpenTree(config.Modules); err == nil && tree.Has("xfrm_user") {
		// netlink's protocol xfrm is a module wherever there are some
		config.LoadableNames = append(config.LoadableNames, "xfrm_user")
	}
	if modprobe == modprobeStand {
		config.Files = append(config.Files, vm.File{Guest: "/sbin/modprobe", Link: kernels.LabPath})
	} else {
		at, err := findModprobe()
		if err != nil {
			return nil, 0, err
		}
		config.Files = append(config.Files, vm.File{Host: at, Guest: "/sbin/modprobe"})
	}
	config.Command = []string{
		kernels.LabPath, "kernel", "modload-guest", "--modprobe", modprobe, "--protocol", c.Protocol,
		"--rounds", strconv.Itoa(c.Rounds), "--starts", strconv.Itoa(c.Starts), "--threads", strconv.Itoa(c.Threads),
	}
	if c.Widen {
		config.Command = append(config.Command, "--widen")
		config.Append = append(config.Append, "tp_printk")
	}
	config.Timeout, config.Stderr = c.Timeout, w
	if c.Console {
		config.Console = w
	}
	result, err := vm.Run(ctx, config)
	if err != nil {
		return nil, 0, err
	}
	if err := result.Failure(); err != nil {
		return nil, 0, err
	}
	var rows []Row
	if err := json.Unmarshal(result.Stdout, &rows); err != nil {
		return nil, 0, fmt.Errorf("read the guest's result: %w", err)
	}
	return rows, result.Seconds, nil
}

// findModprobe looks in root's folders as well: an ordinary user's PATH may lack them.
func findModprobe() (string, error) {
	for _, name := range []string{"modprobe", "/sbin/modprobe", "/usr/sbin/modprobe"} {
		if at, err := exec.LookPath(name); err == nil {
			return at, nil
		}
	}
	return "", errors.New("there is no modprobe to take along: install kmod")
}

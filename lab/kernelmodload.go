package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os/exec"
	"strconv"
	"text/tabwriter"
	"time"

	"verdictd/internal/cli"
	"verdictd/internal/vm"
)

// kernelModloadCmd is `lab kernel modload`.
type kernelModloadCmd struct {
	machine
	Rounds   int           `help:"How often the module is unloaded and asked for again, in each row." default:"1000"`
	Starts   int           `help:"How often verdictd is started without any module loaded." default:"5"`
	Modprobe string        `help:"Which modprobes: this machine's, the stand-in with the old race, or both." enum:"today,stand-in,both" default:"both"`
	Threads  int           `help:"Threads that open a netlink socket at the same moment." default:"8"`
	Part     string        `name:"protocol" help:"The protocol of the sockets." default:"xfrm"`
	Widen    bool          `help:"Widen the moment in which the race can happen, by having the kernel print in it." default:"true" negatable:""`
	Timeout  time.Duration `help:"How long each of the two machines may take." default:"1h"`
	Console  bool          `help:"Show the kernels' consoles on stderr."`
	JSON     string        `name:"json" help:"Write the rows as JSON to FILE; - writes them to stdout, and the table to stderr." placeholder:"FILE"`
}

// Help is called by kong.
func (c *kernelModloadCmd) Help() string {
	return "Boots the kernel of a distribution twice, with this machine's modprobe and with a stand-in that has the race of kmod up to 19" +
		" (it takes a module that is being loaded for built in). In each, threads open netlink sockets at the same moment while the module" +
		" behind them is not loaded: as they are (naive), and after the module was brought in as verdictd does (modules-first). Then verdictd" +
		" itself is started without its modules. The stand-in must make naive threads fail, and nothing else may."
}

// Validate is called by kong.
func (c *kernelModloadCmd) Validate() error {
	if c.Rounds < 1 || c.Starts < 0 || c.Threads < 1 {
		return fmt.Errorf("--rounds %d, --starts %d and --threads %d: there is nothing to do", c.Rounds, c.Starts, c.Threads)
	}
	return nil
}

// The modprobes.
const (
	modprobeHost  = "today"
	modprobeStand = "stand-in"
)

// The ways in which a row brings its module in. The first two are of `stress modload`.
const (
	strategyNaive    = "naive"
	strategyFirst    = "modules-first"
	strategyVerdictd = "verdictd"
)

// modloadRow is one count.
type modloadRow struct {
	Modprobe string            `json:"modprobe"`
	Version  string            `json:"version"` // what that says of itself
	Strategy string            `json:"strategy"`
	Rounds   int               `json:"rounds"`
	Attempts uint64            `json:"attempts"` // sockets, or starts of verdictd
	Failed   uint64            `json:"failed"`
	Errors   map[string]uint64 `json:"errors"`
	Expected bool              `json:"expected"` // it went as kmod's history has it
	Problem  string            `json:"problem,omitempty"`
}

// judge says whether a row is as expected: only naive threads fail, and only with the stand-in.
func (r *modloadRow) judge(rounds int) {
	race := r.Modprobe == modprobeStand && r.Strategy == strategyNaive
	switch {
	case r.Problem != "":
	case r.Rounds < rounds:
		r.Problem = fmt.Sprintf("only %d of %d rounds", r.Rounds, rounds)
	case race && r.Errors["EPROTONOSUPPORT"] == 0 && r.Errors["EINVAL"] == 0:
		r.Problem = "the race did not show: give it more --rounds or --threads"
	case !race && r.Failed > 0:
		r.Problem = "failures where there should be none"
	}
	r.Expected = r.Problem == ""
}

type modloadReport struct {
	Schema  int          `json:"schema"`
	Image   image        `json:"image"`
	Threads int          `json:"threads"`
	Widened bool         `json:"widened"` // the window of the race
	Seconds float64      `json:"seconds"`
	Rows    []modloadRow `json:"rows"`
	OK      bool         `json:"ok"`
}

// Run is called by kong.
func (c *kernelModloadCmd) Run(ctx context.Context, std streams) error {
	image, config, err := c.config(ctx, std.err)
	if err != nil {
		return err
	}
	if err := canWrite(c.JSON); err != nil {
		return err
	}
	report := modloadReport{Schema: 1, Image: image, Threads: c.Threads, Widened: c.Widen, OK: true}
	var failed error // of a machine; what others have counted is written all the same
	for _, modprobe := range []string{modprobeHost, modprobeStand} {
		if c.Modprobe != "both" && c.Modprobe != modprobe {
			continue
		}
		fmt.Fprintf(std.err, "lab: modprobe %s: %d rounds naive, %d modules-first, %d starts of verdictd\n", modprobe, c.Rounds, c.Rounds, c.Starts)
		rows, seconds, err := c.count(ctx, config, modprobe, std)
		if err != nil {
			failed, report.OK = fmt.Errorf("modprobe %s: %w", modprobe, err), false
			break
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
	err = errors.Join(failed, std.write(c.JSON, report.text, report))
	if err == nil && !report.OK {
		err = cli.ErrReported
	}
	return err
}

// count runs the rows of one modprobe in a machine of their own.
func (c *kernelModloadCmd) count(ctx context.Context, config vm.Config, modprobe string, std streams) ([]modloadRow, float64, error) {
	if config.Modules == "" {
		return nil, 0, fmt.Errorf("%s has no modules: this takes the kernel of a distribution, such as --image debian", config.Kernel)
	}
	// Nothing is loaded before: that is the kernel's and modprobe's to do.
	config.LoadableNames, config.ModuleNames = config.ModuleNames, nil
	if tree, err := vm.OpenTree(config.Modules); err == nil && tree.Has("xfrm_user") {
		config.LoadableNames = append(config.LoadableNames, "xfrm_user") // netlink's protocol xfrm is a module wherever there are some
	}
	if modprobe == modprobeStand {
		config.Files = append(config.Files, vm.File{Guest: "/sbin/modprobe", Link: vm.InitPath})
	} else {
		at, err := findModprobe()
		if err != nil {
			return nil, 0, err
		}
		config.Files = append(config.Files, vm.File{Host: at, Guest: "/sbin/modprobe"})
	}
	config.Command = []string{
		vm.InitPath, "kernel", "modload-guest", "--modprobe", modprobe, "--protocol", c.Part,
		"--rounds", strconv.Itoa(c.Rounds), "--starts", strconv.Itoa(c.Starts), "--threads", strconv.Itoa(c.Threads),
	}
	if c.Widen {
		config.Command = append(config.Command, "--widen")
		config.Append = append(config.Append, "tp_printk")
	}
	config.Timeout, config.Stderr = c.Timeout, std.err
	if c.Console {
		config.Console = std.err
	}
	result, err := vm.Run(ctx, config)
	if err != nil {
		return nil, 0, err
	}
	if err := result.Failure(); err != nil {
		return nil, 0, err
	}
	var rows []modloadRow
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

func (r *modloadReport) text(w io.Writer) error {
	fmt.Fprintf(w, "%s (%s): %d threads open a socket at the same moment, %.0f s\n", r.Image.Name, r.Image.Release, r.Threads, r.Seconds)
	if r.Widened {
		fmt.Fprintln(w, "The window of the race is widened: the kernel prints some lines between the two steps that it lies between.")
	}
	fmt.Fprintln(w)
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t, "modprobe\tstrategy\trounds\tattempts\tfailed\terrors\tas expected")
	for _, row := range r.Rows {
		verdict := "yes"
		if !row.Expected {
			verdict = "NO: " + row.Problem
		}
		fmt.Fprintf(t, "%s\t%s\t%d\t%d\t%d\t%s\t%s\n", row.Modprobe, row.Strategy, row.Rounds, row.Attempts, row.Failed, errorCounts(row.Errors), verdict)
	}
	return t.Flush()
}

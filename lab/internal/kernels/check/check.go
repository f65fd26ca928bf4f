package check

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"verdictd/internal/cli"
	"verdictd/internal/report"
	"verdictd/lab/internal/kernels"
	"verdictd/lab/internal/kernels/modload"
	"verdictd/lab/internal/kernels/procnet"
	"verdictd/lab/internal/kernels/trace"
	"verdictd/lab/internal/kernels/workload"
	"verdictd/lab/internal/vm"
)

// Config says what is checked.
type Config struct {
	Images      []string      // as kernels.FindImage takes them
	Only        []string      // names of checks, all without any
	Accelerator string        // as machine has it
	Bin         string        // likewise
	Timeout     time.Duration // of one machine
}

// A check is one row: what it promises, and how that is found out. The text is what there is to say of it.
type check struct {
	name, promise string
	run           func(context.Context, *Config, kernels.Machine) (text string, err error)
}

var checks = []check{
	{"rules", "the native queue statement feeds the daemon, and the guard prevents clashes", checkRules},
	{"program", "verdictd guard finds the rules that feed another program, and prevents its clashes", checkProgram},
	{"conntrack", "what the kernel tells of conntrack with each packet is matched and set, and flows are judged once", checkConntrack},
	{"trace", "conntrackwatch trace shows each clash once", checkTrace},
	{"modload", "modules come in for parallel threads, and for verdictd's start", checkModload},
	{"procnet", "the names of /proc/net show what they should, and a hang there is found", checkProcnet},
}

// Run makes the checks on each kernel, with its progress on w.
func Run(ctx context.Context, c *Config, w io.Writer) (*Report, error) {
	r := &Report{Schema: Schema, OK: true, Checks: []checked{}}
	begun := time.Now()
	wanted := slices.DeleteFunc(slices.Clone(checks), func(o check) bool {
		return len(c.Only) > 0 && !slices.Contains(c.Only, o.name)
	})
	shown := cli.NewProgress(w)
	defer shown.End()
	for _, image := range c.Images {
		for _, check := range wanted {
			shown.Step(len(r.Checks)+1, len(wanted)*len(c.Images), "%s: %s", image, check.name)
			shown.Say("%s: %s: %s", image, check.name, check.promise)
			row := checked{Image: image, Check: check.name}
			started := time.Now()
			text, err := check.run(ctx, c, kernels.Machine{Image: image, CPUs: 2, Accelerator: c.Accelerator,
				Bin: c.Bin})
			if ctx.Err() != nil {
				return nil, context.Cause(ctx)
			}
			row.Seconds, row.Text, row.OK = time.Since(started).Seconds(), text, err == nil
			if err != nil {
				row.Text, row.Error = "", err.Error()
				r.OK = false
			}
			r.Checks = append(r.Checks, row)
		}
	}
	r.Seconds = time.Since(begun).Seconds()
	return r, nil
}

// inGuest runs a command in a machine of its own, which must end well and without a complaint of the kernel.
func (c *Config) inGuest(ctx context.Context, m kernels.Machine, command ...string) (*vm.Result, error) {
	var remarks bytes.Buffer
	_, config, err := m.Prepare(ctx, &remarks)
	if err != nil {
		return nil, err
	}
	config.Command, config.Timeout = command, c.Timeout
	result, err := vm.Run(ctx, config)
	if err != nil {
		return nil, err
	}
	if err := result.Failure(); err != nil {
		return nil, fmt.Errorf("%w: %s%s", err, result.Stderr, result.Stdout)
	}
	if len(result.Reports) > 0 {
		return nil, fmt.Errorf("the kernel reported: %s", result.Reports[0].Title)
	}
	return result, nil
}

func checkRules(ctx context.Context, c *Config, m kernels.Machine) (string, error) {
	result, err := c.inGuest(ctx, m, kernels.LabPath, "matrix", "--json", "-", "--flows", "60", "--analysis", "none",
		"--only", "placement=output,family=ipv4,fanout=balance,guard=hold,nat=none,traffic=udp,program=verdictd,backend=mmsg,events=none",
		"--only", "placement=output,family=ipv6,fanout=balance,guard=hold,nat=none,traffic=udp,program=verdictd,backend=mmsg,events=none")
	if err != nil {
		return "", err
	}
	var r report.Report
	if err := json.Unmarshal(result.Stdout, &r); err != nil {
		return "", fmt.Errorf("read the matrix: %w", err)
	}
	if r.Host.QueueKind != "native" {
		return "", fmt.Errorf("the queue statement is %q, not the native one", r.Host.QueueKind)
	}
	if len(r.Runs) != 2 {
		return "", fmt.Errorf("%d rows instead of 2", len(r.Runs))
	}
	for i := range r.Runs {
		if err := guarded(&r.Runs[i]); err != nil {
			return "", err
		}
	}
	return fmt.Sprintf("Linux %s: %d and %d packets held, none lost, no clash", r.Host.Kernel, r.Runs[0].Held,
		r.Runs[1].Held), nil
}

func checkProgram(ctx context.Context, c *Config, m kernels.Machine) (string, error) {
	result, err := c.inGuest(ctx, m, kernels.LabPath, "kernel", "workload", "--placement", "output", "--fanout",
		"balance", "--guard", "hold",
		"--program", report.ProgramGo, "--events", "none", "--flows", "100", "--burst", "4")
	if err != nil {
		return "", err
	}
	var w workload.Result
	if err := json.Unmarshal(result.Outputs["row.json"], &w); err != nil {
		return "", fmt.Errorf("read the row: %w", err)
	}
	if err := guarded(&w.Run); err != nil {
		return "", err
	}
	return fmt.Sprintf("Linux %s: %d packets held, none lost, no clash", w.Release, w.Run.Held), nil
}

func checkConntrack(ctx context.Context, c *Config, m kernels.Machine) (string, error) {
	result, err := c.inGuest(ctx, m, kernels.LabPath, "kernel", "conntrack-guest")
	if err != nil {
		return "", err
	}
	return strings.TrimSpace(string(result.Stdout)), nil
}

// guarded says what a row with the guard lacks. One in which no packet had to be held proves nothing.
func guarded(run *report.Run) error {
	switch {
	case run.Error != "":
		return errors.New(run.Error)
	case run.Delivered == 0 || run.Held == 0:
		return fmt.Errorf("%s: %d packets delivered, %d held: nothing is shown", run.Name(), run.Delivered, run.Held)
	case run.Lost+run.Duplicated+run.Reordered+run.Expired+run.Unguarded != 0 || run.Clashes() != 0:
		return fmt.Errorf("%s: %d packets lost, %d duplicated, %d reordered, %d expired, %d unguarded, %d clashes",
			run.Name(), run.Lost, run.Duplicated, run.Reordered, run.Expired, run.Unguarded, run.Clashes())
	}
	return nil
}

// A textWriter is the result of another experiment.
type textWriter interface {
	WriteText(w io.Writer) error
}

// quiet runs another experiment, whose words are for where it fails.
func quiet(run func(w io.Writer) (result textWriter, ok bool, err error)) error {
	var said bytes.Buffer
	result, ok, err := run(&said)
	switch {
	case err == nil && ok:
		return nil
	case err == nil:
		if err := result.WriteText(&said); err != nil {
			return err
		}
		return errors.New(said.String())
	case errors.Is(err, cli.ErrReported):
		return errors.New(said.String())
	}
	return fmt.Errorf("%w: %s", err, said.Bytes())
}

func checkTrace(ctx context.Context, c *Config, m kernels.Machine) (string, error) {
	config := &trace.Config{Machine: m, Flows: 20, Burst: 4, Timeout: c.Timeout}
	return "each clash once, as many as the kernel counts", quiet(func(w io.Writer) (textWriter, bool, error) {
		r, err := trace.Run(ctx, config, w)
		return r, err == nil && !r.Disagrees(), err
	})
}

// The old modprobe takes its time: it is not a matter of the kernel, and lab kernel modload shows it.
func checkModload(ctx context.Context, c *Config, m kernels.Machine) (string, error) {
	config := &modload.Config{Machine: m, Rounds: 10, Starts: 1, Threads: 8, Protocol: "xfrm",
		Modprobe: modload.ModprobeHost, Timeout: c.Timeout}
	return "10 rounds of 8 threads as they are and modules-first, and a start of verdictd: no failure",
		quiet(func(w io.Writer) (textWriter, bool, error) {
			r, err := modload.Run(ctx, config, w)
			return r, err == nil && r.OK, err
		})
}

func checkProcnet(ctx context.Context, c *Config, m kernels.Machine) (string, error) {
	config := &procnet.Config{Machine: m, Duration: 3 * time.Second, Timeout: c.Timeout}
	return "nothing wrong, and the planted hang was found", quiet(func(w io.Writer) (textWriter, bool, error) {
		r, err := procnet.Run(ctx, config, w)
		return r, err == nil && r.Problem == "", err
	})
}

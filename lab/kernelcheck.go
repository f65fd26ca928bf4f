package main

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
	"verdictd/internal/vm"
)

// kernelCheckCmd is `lab kernel check`.
type kernelCheckCmd struct {
	Images      []string      `name:"image" help:"A kernel with modules, see lab kernel run. May be repeated." default:"debian" placeholder:"IMAGE"`
	Only        []string      `help:"Run only these checks: rules, program, trace, modload, procnet. May be repeated." enum:"rules,program,trace,modload,procnet" placeholder:"CHECK"`
	Accelerator string        `help:"How QEMU runs the machines' code: kvm, tcg, or the better one that works." enum:"auto,kvm,tcg" default:"auto"`
	Bin         string        `help:"Where verdictd, stress and conntrackwatch are. Default: beside this program." type:"path" placeholder:"DIR"`
	Timeout     time.Duration `help:"How long one machine may take." default:"5m"`
	JSON        string        `name:"json" help:"Write the result as JSON to FILE; - writes it to stdout, and the table to stderr." placeholder:"FILE"`
}

// A check is one row: what it promises, and how that is found out. The text is what there is to say of it.
type check struct {
	name, promise string
	run           func(context.Context, *kernelCheckCmd, machine) (text string, err error)
}

var checks = []check{
	{"rules", "the native queue statement feeds the daemon, and the guard prevents clashes", checkRules},
	{"program", "verdictd guard finds the rules that feed another program, and prevents its clashes", checkProgram},
	{"trace", "conntrackwatch trace shows each clash once", checkTrace},
	{"modload", "modules come in for parallel threads, and for verdictd's start", checkModload},
	{"procnet", "the names of /proc/net show what they should, and a hang there is found", checkProcnet},
}

// checked is a row of the result.
type checked struct {
	Image   string  `json:"image"`
	Check   string  `json:"check"`
	OK      bool    `json:"ok"`
	Seconds float64 `json:"seconds"`
	Text    string  `json:"text"`
	Error   string  `json:"error,omitempty"`
}

type checkReport struct {
	Schema  int       `json:"schema"`
	OK      bool      `json:"ok"`
	Seconds float64   `json:"seconds"`
	Checks  []checked `json:"checks"`
}

// Run is called by kong.
func (c *kernelCheckCmd) Run(ctx context.Context, std streams) error {
	if err := canWrite(c.JSON); err != nil {
		return err
	}
	r := checkReport{Schema: 1, OK: true, Checks: []checked{}}
	begun := time.Now()
	for _, image := range c.Images {
		for _, check := range checks {
			if len(c.Only) > 0 && !slices.Contains(c.Only, check.name) {
				continue
			}
			fmt.Fprintf(std.err, "lab: %s: %s: %s\n", image, check.name, check.promise)
			row := checked{Image: image, Check: check.name}
			started := time.Now()
			text, err := check.run(ctx, c, machine{Image: image, CPUs: 2, Accelerator: c.Accelerator, Bin: c.Bin})
			if ctx.Err() != nil {
				return err
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
	err := std.write(c.JSON, r.text, r)
	if err == nil && !r.OK {
		err = cli.ErrReported
	}
	return err
}

func (r *checkReport) text(w io.Writer) error {
	for _, row := range r.Checks {
		verdict := "ok    "
		if !row.OK {
			verdict = "FAILED"
		}
		fmt.Fprintf(w, "%s  %-24s %-8s %4.0f s  %s\n", verdict, row.Image, row.Check, row.Seconds, row.Text)
		if row.Error != "" {
			fmt.Fprintf(w, "        %s\n", strings.ReplaceAll(strings.TrimSpace(row.Error), "\n", "\n        "))
		}
	}
	_, err := fmt.Fprintf(w, "%.0f s\n", r.Seconds)
	return err
}

// inGuest runs a command in a machine of its own, which must end well and without a complaint of the kernel.
func (c *kernelCheckCmd) inGuest(ctx context.Context, m machine, command ...string) (*vm.Result, error) {
	var remarks bytes.Buffer
	_, config, err := m.config(ctx, &remarks)
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

func checkRules(ctx context.Context, c *kernelCheckCmd, m machine) (string, error) {
	result, err := c.inGuest(ctx, m, "/bin/lab", "matrix", "--json", "-", "--flows", "60", "--analysis", "none",
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
	return fmt.Sprintf("Linux %s: %d and %d packets held, none lost, no clash", r.Host.Kernel, r.Runs[0].Held, r.Runs[1].Held), nil
}

func checkProgram(ctx context.Context, c *kernelCheckCmd, m machine) (string, error) {
	result, err := c.inGuest(ctx, m, "/bin/lab", "kernel", "workload", "--placement", "output", "--fanout", "balance", "--guard", "hold",
		"--program", report.ProgramGo, "--events", "none", "--flows", "100", "--burst", "4")
	if err != nil {
		return "", err
	}
	var w workloadResult
	if err := json.Unmarshal(result.Outputs["row.json"], &w); err != nil {
		return "", fmt.Errorf("read the row: %w", err)
	}
	if err := guarded(&w.Run); err != nil {
		return "", err
	}
	return fmt.Sprintf("Linux %s: %d packets held, none lost, no clash", w.Release, w.Run.Held), nil
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

// quiet runs another command of the lab, whose words are for where it fails.
func quiet(ctx context.Context, run func(context.Context, streams) error) error {
	var said bytes.Buffer
	err := run(ctx, streams{out: &said, err: &said})
	switch {
	case errors.Is(err, cli.ErrReported):
		return errors.New(said.String())
	case err != nil:
		return fmt.Errorf("%w: %s", err, said.Bytes())
	}
	return nil
}

func checkTrace(ctx context.Context, c *kernelCheckCmd, m machine) (string, error) {
	t := kernelTraceCmd{machine: m, Flows: 20, Burst: 4, Timeout: c.Timeout}
	return "each clash once, as many as the kernel counts", quiet(ctx, t.Run)
}

// The old modprobe takes its time: it is not a matter of the kernel, and lab kernel modload shows it.
func checkModload(ctx context.Context, c *kernelCheckCmd, m machine) (string, error) {
	l := kernelModloadCmd{machine: m, Rounds: 10, Starts: 1, Threads: 8, Part: "xfrm", Modprobe: modprobeHost, Timeout: c.Timeout}
	return "10 rounds of 8 threads as they are and modules-first, and a start of verdictd: no failure", quiet(ctx, l.Run)
}

func checkProcnet(ctx context.Context, c *kernelCheckCmd, m machine) (string, error) {
	p := kernelProcnetCmd{machine: m, Duration: 3 * time.Second, Timeout: c.Timeout}
	return "nothing wrong, and the planted hang was found", quiet(ctx, p.Run)
}

package compare

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"verdictd/internal/cli"
	"verdictd/internal/report"
	"verdictd/lab/internal/child"
	"verdictd/lab/internal/kernels/workload"
	"verdictd/lab/internal/testbed"
)

// Config says what is compared.
type Config struct {
	workload.Machines
	Before, After string   // kernels, as kernels.FindImage takes them
	Scenarios     []string // names of scenarios; queue and guard without any
	Repeat        int      // samples of each scenario on each kernel
	Out           string   // the folder for the samples, "" for a temporary one
	// FailOn, JSON and HTML are those of `stress compare`.
	FailOn, JSON, HTML string
}

// scenarios are rows by their names.
var scenarios = map[string]report.Run{
	"queue": {Placement: report.PlacementVerdict3, Fanout: workload.Fanout, Guard: report.GuardOff,
		Events: report.EventsListener},
	"guard": {Placement: report.PlacementVerdict3, Fanout: workload.Fanout, Guard: report.GuardHold,
		Events: report.EventsListener},
	"pre-conntrack": {Placement: report.PlacementPreConntrack, Fanout: report.FanoutBalance, Guard: report.GuardOff,
		Events: report.EventsListener},
	"events-off": {Placement: report.PlacementVerdict3, Fanout: workload.Fanout, Guard: report.GuardOff,
		Events: report.EventsOff},
}

// Validate says all that is wrong.
func (c *Config) Validate() error {
	return errors.Join(c.Machines.Validate(), testbed.Within("--repeat", c.Repeat, 1, 1000))
}

// A side is one of the two kernels.
type side struct {
	name, image string
	dir         string
	runs        int
	broke       []string // titles of what it reported
}

// Run takes samples of both kernels in turns and has stress compare them. Version is the lab's.
func Run(ctx context.Context, c *Config, version string, stdout, stderr io.Writer) (err error) {
	p, err := testbed.FindPrograms(c.Bin)
	if err != nil {
		return err
	}
	dir := c.Out
	if dir == "" {
		if dir, err = os.MkdirTemp("", "lab-"); err != nil {
			return fmt.Errorf("make a directory for the samples (set TMPDIR to where that is allowed): %w", err)
		}
		defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	}
	sides := []*side{{name: "before", image: c.Before}, {name: "after", image: c.After}}
	for _, s := range sides {
		if err := s.makeRoom(dir); err != nil {
			return err
		}
	}
	sampling := sampling{Config: c, version: version, w: stderr}
	if len(c.Scenarios) == 0 {
		sampling.names = []string{"queue", "guard"}
	} else {
		sampling.names = c.Scenarios
	}
	accelerator, err := sampling.sample(ctx, sides)
	if err != nil {
		return err
	}
	err = c.compare(ctx, p.Stress, sides, stdout, stderr)
	if accelerator == "tcg" {
		fmt.Fprintln(stderr, "lab: these machines were emulated: clashes, losses and crashes mean what they say; "+
			"packets per second and latencies are those of the emulator, and a change in them is no change of the "+
			"kernel's speed")
	}
	for _, s := range sides {
		fmt.Fprintf(stderr, "lab: %s (%s): %d of %d machines reported a fault%s\n", s.name, s.image, len(s.broke),
			s.runs, quoteFirst(s.broke))
	}
	if err == nil && len(sides[1].broke) > 0 {
		return cli.ErrReported
	}
	return err
}

// makeRoom makes the folder for a side's samples.
func (s *side) makeRoom(dir string) error {
	s.dir = filepath.Join(dir, s.name)
	if err := os.MkdirAll(s.dir, 0o750); err != nil {
		return fmt.Errorf("make a directory for the samples: %w", err)
	}
	old, err := os.ReadDir(s.dir)
	if err != nil {
		return fmt.Errorf("look for samples of another run: %w", err)
	}
	if len(old) > 0 {
		return fmt.Errorf("%w: --out: %s has samples of another run", cli.ErrUsage, s.dir)
	}
	return nil
}

// compare runs `stress compare`.
func (c *Config) compare(ctx context.Context, stress string, sides []*side, stdout, stderr io.Writer) error {
	args := []string{"compare", sides[0].dir, sides[1].dir}
	for flag, value := range map[string]string{"--fail-on": c.FailOn, "--json": c.JSON, "--html": c.HTML} {
		if value != "" {
			args = append(args, flag, value)
		}
	}
	compare := exec.CommandContext(ctx, stress, args...)
	compare.Stdout, compare.Stderr = stdout, stderr
	const grace = 5 * time.Second
	err := child.Run(ctx, compare, syscall.SIGTERM, grace)
	if exit, ok := errors.AsType[*exec.ExitError](err); ok && exit.Exited() {
		err = cli.ErrReported
	}
	return err
}

// A sampling is the samples on their way.
type sampling struct {
	*Config
	names   []string // of scenarios
	version string
	w       io.Writer // hears how far it is
}

func quoteFirst(titles []string) string {
	if len(titles) == 0 {
		return ""
	}
	return ": " + titles[0]
}

// sample boots every scenario on either kernel in turns. A machine that breaks gives what it told, as a sample that
// failed.
func (c *sampling) sample(ctx context.Context, sides []*side) (accelerator string, err error) {
	total := c.Repeat * len(c.names) * len(sides)
	shown := cli.NewProgress(c.w)
	defer shown.End()
	for n := range total {
		s := sides[n%len(sides)]
		name := c.names[n/len(sides)%len(c.names)]
		row := report.CrashRow{Kernel: s.name, Run: scenarios[name]}
		shown.Step(n+1, total, "%s, %s", s.name, name)
		used, err := c.Boot(ctx, &row, s.image, c.w)
		if err != nil {
			return accelerator, fmt.Errorf("scenario %s on %s: %w", name, s.image, err)
		}
		accelerator = used
		row.Judge()
		s.runs++
		if titles := slices.Concat(row.Report[:min(1, len(row.Report))], row.Others); len(titles) > 0 {
			s.broke = append(s.broke, titles[0])
			row.Error = "" // the kernel broke, and the row's figures are still those of its workload
		}
		shown.Say("%s, %s: %s", s.name, name, strings.TrimPrefix(row.Line(), row.Name()+": "))
		if err := c.keep(s, n, &row); err != nil {
			return accelerator, err
		}
	}
	return accelerator, nil
}

// keep writes one sample as a document of the matrix, which stress compare reads.
func (c *sampling) keep(s *side, n int, row *report.CrashRow) error {
	if row.Partial && row.Error == "" {
		row.Error = "the machine ended early: " + row.Ended
	}
	rep := report.Report{
		Schema: report.Schema, Version: c.version, Host: report.Host{Kernel: row.Release, CPUs: c.CPUs},
		Settings: report.Settings{Flows: c.Flows, Burst: c.Burst, Threads: 1, Queues: workload.Queues,
			Analysis: report.AnalysisNone},
		Started: time.Now(), Planned: 1, Notes: []string{}, Runs: []report.Run{row.Run},
	}
	rep.Verdict = report.Judge(&rep)
	b, err := report.Encode(rep)
	if err == nil {
		err = os.WriteFile(filepath.Join(s.dir, strconv.Itoa(n)+".json"), b, 0o644)
	}
	if err != nil {
		return fmt.Errorf("keep a sample: %w", err)
	}
	return nil
}

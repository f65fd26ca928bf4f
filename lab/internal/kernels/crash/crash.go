package crash

import (
	"context"
	"errors"
	"io"
	"os"
	"runtime"
	"slices"
	"strings"
	"time"

	"verdictd/internal/cli"
	"verdictd/internal/kernelfacts"
	"verdictd/internal/report"
	"verdictd/lab/internal/kbuild"
	"verdictd/lab/internal/kernels/build"
	"verdictd/lab/internal/kernels/workload"
	"verdictd/lab/internal/testbed"
	"verdictd/lab/internal/vm"
)

// el7Allocator is for the command line of a kernel of that shape. SLUB keeps free entries by processor, and a page
// that was full until one of its entries was freed is used last. With debugging there is one list for all processors;
// with large pages an entry that a clash frees mostly is in the page in use. Whoever asks next then gets it.
var el7Allocator = []string{"slub_debug=F,nf_conntrack", "slub_min_order=4"}

// Config says which kernels are tried, and how often.
type Config struct {
	workload.Machines
	Builder *build.Builder
	Variant kbuild.Variant // what the vulnerable kernel is
	Image   string         // in place of built ones
	Repeat  int            // of each row, each time in a new machine
}

// Validate says all that is wrong.
func (c *Config) Validate() error {
	errs := []error{c.Machines.Validate(), testbed.Within("--repeat", c.Repeat, 1, 1000)}
	if c.Modules != "" && c.Image == "" {
		errs = append(errs, errors.New("--modules goes with --image: kernels that the lab builds have none"))
	}
	return errors.Join(errs...)
}

// Run builds what is to be built and boots one machine after the other, with its progress on w. Version is the lab's.
func Run(ctx context.Context, c *Config, version string, w io.Writer) (*report.CrashReport, error) {
	if _, err := vm.FindQEMU(); err != nil {
		return nil, err
	}
	if _, err := testbed.FindPrograms(c.Bin); err != nil {
		return nil, err
	}
	begun := time.Now()
	kernels, err := c.kernels(ctx, w)
	if err != nil {
		return nil, err
	}
	rep, err := c.newReport(begun, version, kernels)
	if err != nil {
		return nil, err
	}
	c.machines(ctx, rep, kernels, w)
	rep.Seconds, rep.Interrupted = time.Since(begun).Seconds(), ctx.Err() != nil
	report.JudgeCrash(rep)
	return rep, nil
}

// kernels are the images by the names that rows have for them.
func (c *Config) kernels(ctx context.Context, w io.Writer) (map[string]report.CrashKernel, error) {
	images := map[string]report.CrashKernel{}
	if c.Image != "" {
		images[report.KernelOwn] = report.CrashKernel{Kernel: report.KernelOwn, Image: c.Image}
		return images, nil
	}
	variants := []kbuild.Variant{c.Variant}
	if c.Variant == kbuild.Vulnerable {
		variants = append(variants, kbuild.Fixed)
	}
	for _, v := range variants {
		// A NULL dereference shows without KASAN, which would slow down the other side of the race.
		kasan := v != kbuild.EL7Shape
		image, err := c.Builder.Build(ctx, v, kasan, w)
		if err != nil {
			return nil, err
		}
		images[string(v)] = report.CrashKernel{Kernel: string(v), Image: image.Path, Release: image.Release,
			Source: image.Source, KASAN: image.KASAN}
	}
	return images, nil
}

// el7 says that the machines have the kernel of that shape.
func (c *Config) el7() bool { return c.Variant == kbuild.EL7Shape && c.Image == "" }

// crashRows is what runs on the kernels that there are, in the order of the story.
func (c *Config) crashRows() []report.CrashRow {
	row := func(kernel, guard, placement, events, expected string) report.CrashRow {
		fanout := workload.Fanout
		if placement == report.PlacementPreConntrack {
			fanout = report.FanoutBalance // see workload.Fanout
		}
		return report.CrashRow{Kernel: kernel, Expected: expected,
			Run: report.Run{Program: report.ProgramVerdictd, Placement: placement, Fanout: fanout, Guard: guard,
				Events: events}}
	}
	const queued, before = report.PlacementVerdict3, report.PlacementPreConntrack
	broken, first := string(c.Variant), report.OutcomeFires
	if c.Image != "" {
		broken, first = report.KernelOwn, ""
	}
	rows := []report.CrashRow{row(broken, report.GuardOff, queued, report.EventsListener, first)}
	if c.Image == "" && c.Variant == kbuild.Vulnerable {
		rows = append(rows, row(report.KernelFixed, report.GuardOff, queued, report.EventsListener,
			report.OutcomeClean))
	}
	other := func(guard, expected string) report.CrashRow {
		r := row(broken, guard, queued, report.EventsListener, expected)
		r.Program = report.ProgramGo
		return r
	}
	rows = append(rows, row(broken, report.GuardHold, queued, report.EventsListener, report.OutcomeClean))
	if c.el7() {
		return rows // the other rows are about the fault as it is seen by KASAN
	}
	return append(rows,
		other(report.GuardOff, first), other(report.GuardHold, report.OutcomeClean),
		row(broken, report.GuardOff, before, report.EventsListener, report.OutcomeClean),
		row(broken, report.GuardOff, queued, report.EventsOff, report.OutcomeClean))
}

func (c *Config) newReport(begun time.Time, version string, kernels map[string]report.CrashKernel) (*report.CrashReport,
	error) {
	release, err := kernelfacts.Release()
	if err != nil {
		return nil, err
	}
	rep := &report.CrashReport{
		Schema: report.CrashSchema, Version: version,
		Host: report.CrashHost{Kernel: release, Architecture: runtime.GOARCH, CPUs: runtime.NumCPU()},
		Settings: report.CrashSettings{Flows: c.Flows, Burst: c.Burst, Queues: workload.Queues, CPUs: c.CPUs,
			Repeat: c.Repeat},
		Started: begun, Command: os.Args, Planned: c.Repeat * len(c.crashRows()), Notes: []string{}, Rows: []report.CrashRow{},
	}
	for _, name := range []string{report.KernelVulnerable, report.KernelFixed, report.KernelEL7Shape,
		report.KernelOwn} {
		if k, ok := kernels[name]; ok {
			rep.Kernels = append(rep.Kernels, k)
		}
	}
	return rep, nil
}

// A noteBook is notes, each once.
type noteBook struct {
	rep *report.CrashReport
}

func (n noteBook) note(text string) {
	if !slices.Contains(n.rep.Notes, text) {
		n.rep.Notes = append(n.rep.Notes, text)
	}
}

// machines boots one after the other. The rows take turns, so that what changes on this machine meanwhile meets all
// of them.
func (c *Config) machines(ctx context.Context, rep *report.CrashReport, kernels map[string]report.CrashKernel,
	w io.Writer) {
	shown, notes := cli.NewProgress(w), noteBook{rep}
	defer shown.End()
	machines := c.Machines
	if c.el7() {
		machines.Append = append(machines.Append, el7Allocator...)
		notes.note("el7-shape has its windows WIDENED: 200 µs each before an entry is inserted, after a clash, and " +
			"in the allocation of an entry; and the allocator hands out first what was freed last (" +
			strings.Join(el7Allocator, " ") +
			"). Where it fires it shows that CentOS 7's trace comes from this fault, not how often it comes.")
	} else {
		notes.note("With pre-conntrack the addresses choose the queue (fan-out balance). Where a flow takes several " +
			"queues, their verdicts let its packets into conntrack side by side, and these clash without any wait in " +
			"between: the placement alone prevents nothing then.")
	}
	for n := range rep.Planned {
		if ctx.Err() != nil {
			break
		}
		rows := c.crashRows()
		row := rows[n%len(rows)]
		row.Repeat = n/len(rows) + 1
		shown.Step(n+1, rep.Planned, "%s", row.Name())
		accelerator, err := machines.Boot(ctx, &row, kernels[row.Kernel].Image, w)
		if err != nil {
			if ctx.Err() != nil {
				break // the interruption is what failed
			}
			row.Error = err.Error()
		}
		if accelerator != "" {
			rep.Host.Accelerator = accelerator
		}
		row.Judge()
		shown.Say("%s", row.Line())
		for _, text := range testbed.KernelNotes(row.Release) {
			notes.note(text)
		}
		rep.Rows = append(rep.Rows, row)
	}
	if rep.Host.Accelerator == "tcg" {
		notes.note("The machines' processors are emulated: their times are for comparing rows, and tell nothing " +
			"about a real machine.")
	}
	takeReleases(rep)
}

// takeReleases fills in what the machines said of their kernels.
func takeReleases(rep *report.CrashReport) {
	for i := range rep.Kernels {
		k := &rep.Kernels[i]
		for _, row := range rep.Rows {
			if row.Kernel == k.Kernel && row.Release != "" {
				k.Release, k.KASAN = row.Release, row.KASAN
			}
		}
	}
}

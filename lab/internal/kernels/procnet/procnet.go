package procnet

import (
	"context"
	"fmt"
	"io"
	"time"

	"verdictd/internal/cli"
	"verdictd/internal/results"
	"verdictd/lab/internal/kernels"
	"verdictd/lab/internal/testbed"
	"verdictd/lab/internal/vm"
)

// Config says how long the names are used.
type Config struct {
	kernels.Machine
	Duration time.Duration // each time
	Timeout  time.Duration // of each of the two machines
	Console  bool          // show the kernels' consoles among the remarks
}

// Schema is the version of the document of `lab kernel procnet --json`.
const Schema = 1

// Report is that document: what the kernel did, and whether the watchdog found what was planted.
type Report struct {
	Schema  int              `json:"schema"`
	Image   kernels.Image    `json:"image"`
	Seconds float64          `json:"seconds"`
	Kernel  results.Procnet  `json:"kernel"`
	Planted *results.Procnet `json:"planted"`
	Problem string           `json:"problem,omitempty"` // "" where all is as it should be
}

// Run uses the names in one machine, and looks for a planted hang in another, with remarks on w.
func Run(ctx context.Context, c *Config, w io.Writer) (*Report, error) {
	image, config, err := c.Prepare(ctx, w)
	if err != nil {
		return nil, err
	}
	config.Timeout, config.Stderr = c.Timeout, w
	if c.Console {
		config.Console = w
	}
	report := &Report{Schema: Schema, Image: image}
	for _, plant := range []bool{false, true} {
		config.Command = []string{"/bin/stress", "procnet", "--duration", c.Duration.String(), "--json", "-"}
		if plant {
			config.Command = append(config.Command, "--plant-hang")
			config.Stderr = nil // that it was found is what is wanted
		}
		shown := cli.NewProgress(w)
		shown.Part(0, "the machine runs")
		result, err := vm.Run(ctx, config)
		shown.End()
		if err != nil {
			return nil, err
		}
		report.Seconds += result.Seconds
		output, err := takeProcnet(result)
		if err != nil {
			return nil, err
		}
		if plant {
			report.Planted = output
		} else {
			report.Kernel = *output
		}
	}
	report.judge()
	return report, nil
}

// takeProcnet reads what stress found. That it found something is its exit status 1, and a result.
func takeProcnet(r *vm.Result) (*results.Procnet, error) {
	if r.Ended != vm.EndedExited || r.ExitStatus != cli.Done && r.ExitStatus != cli.Failed {
		return nil, r.Failure()
	}
	var o results.Procnet
	if err := testbed.Decode("stress", r.Stdout, &o, "views", "wrong_views", "hangs", "locks_reached"); err != nil {
		return nil, fmt.Errorf("%w: %s", err, r.Stderr)
	}
	return &o, nil
}

// judge says what is not as it should be.
func (r *Report) judge() {
	k := &r.Kernel
	views := uint64(0)
	for _, n := range k.Views {
		views += n
	}
	switch {
	case k.WrongViews > 0:
		r.Problem = fmt.Sprintf("%d readings showed another namespace's", k.WrongViews)
	case len(k.Hangs) > 0:
		r.Problem = fmt.Sprintf("%d threads hang, one while %s", len(k.Hangs), k.Hangs[0].Doing)
	case k.Interrupted || views == 0:
		r.Problem = "nothing was read: nothing is shown"
	case !k.LocksReached:
		r.Problem = "no rename came to the directories' locks: nothing is shown about them"
	case len(r.Planted.Hangs) != 1:
		r.Problem = fmt.Sprintf("one hang was planted, and %d were found", len(r.Planted.Hangs))
	}
}

// WriteText writes the summary for people.
func (r *Report) WriteText(w io.Writer) error {
	views := uint64(0)
	for _, n := range r.Kernel.Views {
		views += n
	}
	fmt.Fprintf(w, "%s (%s): %.0f s\n", r.Image.Name, r.Image.Release, r.Seconds)
	fmt.Fprintf(w, "  the kernel        %d readings, %d of them wrong; %d watches; %d threads hang\n", views,
		r.Kernel.WrongViews, r.Kernel.Watches, len(r.Kernel.Hangs))
	for _, h := range r.Planted.Hangs {
		fmt.Fprintf(w, "  the planted hang  was found: %s, state %s, %s\n", h.Role, h.State, h.Doing)
	}
	verdict := "as it should be"
	if r.Problem != "" {
		verdict = "NOT as it should be: " + r.Problem
	}
	_, err := fmt.Fprintln(w, verdict)
	return err
}

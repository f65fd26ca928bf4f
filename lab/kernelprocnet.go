package main

import (
	"context"
	"fmt"
	"io"
	"time"

	"verdictd/internal/cli"
	"verdictd/internal/vm"
)

// kernelProcnetCmd is `lab kernel procnet`.
type kernelProcnetCmd struct {
	machine
	Duration time.Duration `help:"How long the names are used, each time." default:"10s"`
	Timeout  time.Duration `help:"How long each of the two machines may take." default:"5m"`
	Console  bool          `help:"Show the kernels' consoles on stderr."`
	JSON     string        `name:"json" help:"Write the result as JSON to FILE; - writes it to stdout, and the summary to stderr." placeholder:"FILE"`
}

// Help is called by kong.
func (c *kernelProcnetCmd) Help() string {
	return "Runs stress procnet in a virtual machine, which must find nothing, and once more with a thread that is made to hang, which must be found."
}

// procnetOutput is as much of the result of stress procnet as is used.
type procnetOutput struct {
	Views        map[string]uint64 `json:"views"`
	WrongViews   uint64            `json:"wrong_views"`
	ReadErrors   map[string]uint64 `json:"read_errors"`
	Watches      uint64            `json:"watches"`
	LocksReached bool              `json:"locks_reached"`
	Hangs        []struct {
		Role  string `json:"role"`
		Doing string `json:"doing"`
		State string `json:"state"`
	} `json:"hangs"`
	Interrupted bool `json:"interrupted"`
}

// procnetReport is the result: what the kernel did, and whether the watchdog found what was planted.
type procnetReport struct {
	Schema  int            `json:"schema"`
	Image   image          `json:"image"`
	Seconds float64        `json:"seconds"`
	Kernel  procnetOutput  `json:"kernel"`
	Planted *procnetOutput `json:"planted"`
	Problem string         `json:"problem,omitempty"` // "" where all is as it should be
}

// Run is called by kong.
func (c *kernelProcnetCmd) Run(ctx context.Context, std streams) error {
	image, config, err := c.config(ctx, std.err)
	if err != nil {
		return err
	}
	if err := canWrite(c.JSON); err != nil {
		return err
	}
	config.Timeout, config.Stderr = c.Timeout, std.err
	if c.Console {
		config.Console = std.err
	}
	report := procnetReport{Schema: 1, Image: image}
	for _, plant := range []bool{false, true} {
		config.Command = []string{"/bin/stress", "procnet", "--duration", c.Duration.String(), "--json", "-"}
		if plant {
			config.Command = append(config.Command, "--plant-hang")
			config.Stderr = nil // that it was found is what is wanted
		}
		result, err := vm.Run(ctx, config)
		if err != nil {
			return err
		}
		report.Seconds += result.Seconds
		output, err := takeProcnet(result)
		if err != nil {
			return err
		}
		if plant {
			report.Planted = output
		} else {
			report.Kernel = *output
		}
	}
	report.judge()
	err = std.write(c.JSON, report.text, report)
	if err == nil && report.Problem != "" {
		err = cli.ErrReported
	}
	return err
}

// takeProcnet reads what stress found. That it found something is its exit status 1, and a result.
func takeProcnet(r *vm.Result) (*procnetOutput, error) {
	if r.Ended != vm.EndedExited || r.ExitStatus != cli.Done && r.ExitStatus != cli.Failed {
		return nil, r.Failure()
	}
	var o procnetOutput
	if err := decode("stress", r.Stdout, &o, "views", "wrong_views", "hangs", "locks_reached"); err != nil {
		return nil, fmt.Errorf("%w: %s", err, r.Stderr)
	}
	return &o, nil
}

// judge says what is not as it should be.
func (r *procnetReport) judge() {
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

func (r *procnetReport) text(w io.Writer) error {
	views := uint64(0)
	for _, n := range r.Kernel.Views {
		views += n
	}
	fmt.Fprintf(w, "%s (%s): %.0f s\n", r.Image.Name, r.Image.Release, r.Seconds)
	fmt.Fprintf(w, "  the kernel        %d readings, %d of them wrong; %d watches; %d threads hang\n", views, r.Kernel.WrongViews, r.Kernel.Watches, len(r.Kernel.Hangs))
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

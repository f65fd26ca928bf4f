package trace

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"strconv"
	"time"

	"verdictd/internal/cli"
	"verdictd/lab/internal/kernels"
	"verdictd/lab/internal/testbed"
	"verdictd/lab/internal/vm"
)

// Config says how much is traced.
type Config struct {
	kernels.Machine
	Flows, Burst int // of each load
	Timeout      time.Duration
	Console      bool // show the kernel's console among the remarks
}

// Validate says what is wrong.
func (c *Config) Validate() error {
	const most = 10_000 // packets that wait at a time
	if c.Flows < 1 || c.Burst < 2 || c.Burst > testbed.MaxBurst || c.Flows > most/c.Burst {
		return fmt.Errorf("--flows %d of --burst %d are not possible: at least 1 of 2 to %d packets, and %d "+
			"packets in all", c.Flows, c.Burst, testbed.MaxBurst, most)
	}
	return nil
}

// Run traces all loads in one machine, with remarks on w.
func Run(ctx context.Context, c *Config, w io.Writer) (*Report, error) {
	image, config, err := c.Prepare(ctx, w)
	if err != nil {
		return nil, err
	}
	config.Command = []string{kernels.LabPath, "kernel", "trace-guest", "--flows", strconv.Itoa(c.Flows), "--burst",
		strconv.Itoa(c.Burst)}
	config.Timeout = c.Timeout
	config.Stderr = w
	if c.Console {
		config.Console = w
	}
	shown := cli.NewProgress(w)
	shown.Part(0, "the machine runs")
	result, err := vm.Run(ctx, config)
	shown.End()
	if err != nil {
		return nil, err
	}
	if result.Ended != vm.EndedExited || result.ExitStatus != 0 {
		return nil, kernels.ReportEnd(w, result)
	}
	var report Report
	if err := json.Unmarshal(result.Stdout, &report); err != nil {
		return nil, fmt.Errorf("read the guest's result: %w", err)
	}
	report.Image, report.Seconds = image, result.Seconds
	return &report, nil
}

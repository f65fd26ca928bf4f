package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"strconv"
	"time"

	"verdictd/lab/internal/vm"
)

// kernelTraceConfig says how much is traced.
type kernelTraceConfig struct {
	machine
	Flows, Burst int // of each load
	Timeout      time.Duration
	Console      bool // show the kernel's console among the remarks
}

// Validate says what is wrong.
func (c *kernelTraceConfig) Validate() error {
	const most = 10_000 // packets that wait at a time
	if c.Flows < 1 || c.Burst < 2 || c.Burst > maxBurst || c.Flows > most/c.Burst {
		return fmt.Errorf("--flows %d of --burst %d are not possible: at least 1 of 2 to %d packets, and %d packets in all", c.Flows, c.Burst, maxBurst, most)
	}
	return nil
}

// runTrace traces all loads in one machine, with remarks on w.
func runTrace(ctx context.Context, c *kernelTraceConfig, w io.Writer) (*traceReport, error) {
	image, config, err := c.prepare(ctx, w)
	if err != nil {
		return nil, err
	}
	config.Command = []string{labPath, "kernel", "trace-guest", "--flows", strconv.Itoa(c.Flows), "--burst", strconv.Itoa(c.Burst)}
	config.Timeout = c.Timeout
	config.Stderr = w
	if c.Console {
		config.Console = w
	}
	result, err := vm.Run(ctx, config)
	if err != nil {
		return nil, err
	}
	if result.Ended != vm.EndedExited || result.ExitStatus != 0 {
		return nil, kernelEnd(w, result)
	}
	var report traceReport
	if err := json.Unmarshal(result.Stdout, &report); err != nil {
		return nil, fmt.Errorf("read the guest's result: %w", err)
	}
	report.Image, report.Seconds = image, result.Seconds
	return &report, nil
}

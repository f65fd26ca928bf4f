package main

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	"verdictd/lab/internal/kernels/attached"
	"verdictd/lab/internal/kernels/installed"
	"verdictd/lab/internal/kernels/modload"
	"verdictd/lab/internal/kernels/trace"
	"verdictd/lab/internal/kernels/workload"
	"verdictd/lab/internal/reference"
	"verdictd/lab/internal/vm"
)

// The commands that the lab itself runs, here and in its virtual machines, and that help does not show.

// referenceCmd is `lab reference`: a program on go-nfqueue that accepts everything, as the library's documentation
// shows it, and knows of nothing else. It stands in verdictd's place in rows about other programs, as
// lab/reference/nfq_reference.c does for libnetfilter_queue.
type referenceCmd struct {
	Queues    uint16 `help:"Queues to bind, from 0 on." default:"1"`
	MaxLength uint32 `help:"Packets that a queue holds." default:"1024"`
	Delay     int    `help:"Microseconds to take over each packet." default:"0"`
}

// Run is called by kong.
func (c *referenceCmd) Run(ctx context.Context) error {
	return reference.Run(ctx, reference.Config{Queues: c.Queues, MaxLength: c.MaxLength,
		Delay: time.Duration(c.Delay) * time.Microsecond})
}

// kernelGuestCmd is what the kernel starts first in a virtual machine of the lab.
type kernelGuestCmd struct{}

// Run is called by kong.
func (kernelGuestCmd) Run() error { return vm.Guest() }

// kernelWorkloadCmd is `lab kernel workload`, which runs in a machine of crash, compare or check.
type kernelWorkloadCmd struct {
	Placement string        `default:"verdict3"`
	Fanout    string        `default:"numgen"`
	Guard     string        `default:"off"`
	Program   string        `default:"verdictd" help:"verdictd, or go-nfqueue; the program on libnetfilter_queue is not in the machine."`
	Events    string        `default:"listener"`
	Flows     int           `default:"10000"`
	Burst     int           `default:"2"`
	Interval  time.Duration `default:"250ms"`
	Out       string        `default:"/out/row.json"`
}

// Run is called by kong.
func (c *kernelWorkloadCmd) Run(ctx context.Context, std streams) error {
	w := workload.Workload{
		Placement: c.Placement, Fanout: c.Fanout, Guard: c.Guard, Program: c.Program, Events: c.Events,
		Flows: c.Flows, Burst: c.Burst, Interval: c.Interval, Out: c.Out,
	}
	return w.Run(ctx, std.out, std.err)
}

// kernelTraceGuestCmd is what `lab kernel trace` runs in the machine.
type kernelTraceGuestCmd struct {
	Flows int    `default:"100"`
	Burst int    `default:"4"`
	Bin   string `type:"path"`
}

// Run is called by kong.
func (c *kernelTraceGuestCmd) Run(ctx context.Context, std streams) error {
	result, err := trace.Inside(ctx, &trace.Guest{Flows: c.Flows, Burst: c.Burst, Bin: c.Bin}, std.err)
	if err != nil {
		return err
	}
	return json.NewEncoder(std.out).Encode(result)
}

// kernelModloadGuestCmd is what `lab kernel modload` runs in its machines.
type kernelModloadGuestCmd struct {
	Modprobe string
	Protocol string
	Rounds   int
	Starts   int
	Threads  int
	Widen    bool
}

// Run is called by kong.
func (c *kernelModloadGuestCmd) Run(ctx context.Context, std streams) error {
	guest := modload.Guest{Modprobe: c.Modprobe, Protocol: c.Protocol, Rounds: c.Rounds, Starts: c.Starts,
		Threads: c.Threads, Widen: c.Widen}
	rows, err := guest.Count(ctx)
	if err != nil {
		return err
	}
	return json.NewEncoder(std.out).Encode(rows)
}

// kernelConntrackGuestCmd is what the check conntrack of `lab kernel check` runs in its machine.
type kernelConntrackGuestCmd struct{}

// Run is called by kong.
func (*kernelConntrackGuestCmd) Run(ctx context.Context, std streams) error {
	text, err := attached.Inside(ctx)
	if err != nil {
		return err
	}
	_, err = fmt.Fprintln(std.out, text)
	return err
}

// kernelPackageGuestCmd is what `lab kernel package` runs in its machine.
type kernelPackageGuestCmd struct {
	packageLoad
}

// Run is called by kong.
func (c *kernelPackageGuestCmd) Run(ctx context.Context, std streams) error {
	return installed.Guest(ctx, c.load(), std.out)
}

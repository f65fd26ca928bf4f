package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"os"
	"strconv"
	"strings"
	"syscall"

	"verdictd/internal/config"
	"verdictd/internal/kernelfacts"
	"verdictd/internal/netlab"
	"verdictd/internal/vocabulary"
)

// A traceGuest is what runs in the machine: the loads, each with a trace, and the judgement.
type traceGuest struct {
	Flows, Burst int    // of each load
	Bin          string // where the programs are
}

// tracedLoad is one row: a load, and how it is traced.
type tracedLoad struct {
	name     string
	address  netip.Addr
	queues   int
	programs bool // verdictd and stress in place of held flows
	args     []string
}

var (
	tracedIPv4 = netip.MustParseAddr("127.0.0.1")
	tracedIPv6 = netip.IPv6Loopback()
)

// tracedLoads are each way to trace, and each kind of load.
var tracedLoads = []tracedLoad{
	{name: "held in one queue", address: tracedIPv4, queues: 1},
	{name: "held in one queue, IPv6", address: tracedIPv6, queues: 1},
	{name: "racing in two queues", address: tracedIPv4, queues: 2},
	{name: "racing in two queues", address: tracedIPv4, queues: 2, args: []string{"--method", "kprobe"}},
	{name: "racing in two queues", address: tracedIPv4, queues: 2, args: []string{"--function", "__nf_conntrack_confirm"}},
	{name: "racing in two queues", address: tracedIPv4, queues: 2, args: []string{"--function", "__nf_conntrack_confirm", "--method", "kprobe"}},
	{name: "verdictd and stress", address: tracedIPv4, queues: 2, programs: true},
}

// traceInside runs all loads, with remarks on w.
func traceInside(ctx context.Context, c *traceGuest, w io.Writer) (*traceReport, error) {
	p, err := findPrograms(c.Bin)
	if err != nil {
		return nil, err
	}
	release, err := kernelfacts.Release()
	if err != nil {
		return nil, err
	}
	report := &traceReport{Schema: traceSchema, Kernel: release, Rows: []traceRow{}}
	for _, load := range tracedLoads {
		fmt.Fprintf(w, "lab: %s\n", load)
		row, err := c.do(ctx, p, load)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", load, err)
		}
		report.Rows = append(report.Rows, row)
	}
	return report, nil
}

func (l tracedLoad) String() string {
	return strings.Join(append([]string{l.name}, l.args...), " ")
}

// do runs a load in a namespace of its own, with the trace and the kernel's counters around it.
func (c *traceGuest) do(ctx context.Context, p programs, load tracedLoad) (row traceRow, err error) {
	t, err := netlab.NewTopology(netlab.Loopback, "ipv4", "ipv6")
	if err != nil {
		return row, err
	}
	defer func() { err = errors.Join(err, t.Close()) }()
	dir, err := os.MkdirTemp("", "trace")
	if err != nil {
		return row, err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	g := newGroup(ctx, dir)
	defer g.Close()

	stats, err := g.startService(t.Queue, p.conntrackwatch, "stats", "--json")
	if err != nil {
		return row, err
	}
	tracer, err := g.startService(t.Queue, p.conntrackwatch, append([]string{"trace", "--json"}, load.args...)...)
	if err != nil {
		return row, err
	}
	var made heldResult
	exact := !load.programs
	if exact {
		made, err = heldFlows{address: load.address, flows: c.Flows, packets: c.Burst, queues: load.queues}.run(t.Queue)
	} else {
		made, err = c.runPrograms(g, p, t, load)
	}
	if err != nil {
		return row, err
	}
	for _, watcher := range []*process{tracer, stats} {
		if err := watcher.stop(syscall.SIGINT); err != nil {
			return row, err
		}
	}
	clashes, summary, err := decodeTrace(tracer.stdout.Bytes())
	if err != nil {
		return row, err
	}
	var counted statsOutput
	if err := decode("conntrackwatch stats", stats.stdout.Bytes(), &counted, "total.clash_resolve", "total.insert_failed"); err != nil {
		return row, err
	}
	if counted.Total.ClashResolve == nil {
		return row, errors.New("this kernel does not count clashes that it resolves (Linux 5.10 and later do): there is nothing to compare with")
	}
	row = traceRow{
		Load: load.name, Probes: summary.Probes, Flows: c.Flows, Packets: c.Flows * c.Burst, Delivered: made.delivered,
		ClashResolve: *counted.Total.ClashResolve, InsertFailed: counted.Total.InsertFailed,
	}
	row.judge(made, exact, clashes, summary)
	return row, nil
}

// runPrograms is what people run: verdictd without its guard, and stress. Which packets clash is not known beforehand.
func (c *traceGuest) runPrograms(g *group, p programs, t *netlab.Topology, load tracedLoad) (heldResult, error) {
	cfg := config.Default()
	cfg.Queues.Count = load.queues
	cfg.Guard.Mode = vocabulary.GuardOff
	cfg.Rules.Placement = vocabulary.Placement(vocabulary.PlacementOutput)
	cfg.Rules.Fanout = vocabulary.Fanout(vocabulary.FanoutNumgen)
	cfg.Rules.DestinationPorts = []uint16{port}
	daemon, err := g.startDaemon(t.Queue, p.verdictd, cfg)
	if err != nil {
		return heldResult{}, err
	}
	sender, err := g.start(t.Sender, true, nil, p.stress, "clash", "--json", "-", "--target", load.address.String(), "--port", strconv.Itoa(port),
		"--flows", strconv.Itoa(c.Flows), "--burst", strconv.Itoa(c.Burst), "--outstanding", strconv.Itoa(outstanding),
		"--timeout", heldWithin.String(), "--linger", "5s")
	if err != nil {
		return heldResult{}, err
	}
	if err := sender.wait(2 * heldWithin); err != nil {
		return heldResult{}, err
	}
	var sent stressOutput
	if err := decode("stress", sender.stdout.Bytes(), &sent, "delivered", "flows"); err != nil {
		return heldResult{}, err
	}
	if err := daemon.stop(syscall.SIGTERM); err != nil {
		return heldResult{}, err
	}
	return heldResult{target: netip.AddrPortFrom(load.address, port), delivered: int(sent.Delivered)}, nil
}

// decodeTrace reads what `conntrackwatch trace --json` printed: a line a clash, and the summary.
func decodeTrace(b []byte) (clashes []tracedClash, summary traceSummary, err error) {
	lines := json.NewDecoder(bytes.NewReader(b))
	for {
		var line struct {
			Kind string `json:"kind"`
			tracedClash
			traceSummary
		}
		switch err := lines.Decode(&line); {
		case errors.Is(err, io.EOF) && summary.Schema == 1:
			return clashes, summary, nil
		case errors.Is(err, io.EOF):
			return nil, summary, errors.New("the trace has no summary of schema 1: use programs of one build")
		case err != nil:
			return nil, summary, fmt.Errorf("read the trace: %w", err)
		}
		switch line.Kind {
		case "clash":
			clashes = append(clashes, line.tracedClash)
		case "summary":
			summary = line.traceSummary
		}
	}
}

package trace

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
	"verdictd/internal/ct"
	"verdictd/internal/kernelfacts"
	"verdictd/internal/netlab"
	"verdictd/internal/results"
	"verdictd/internal/vocabulary"
	"verdictd/lab/internal/testbed"
)

// A Guest is what runs in the machine: the loads, each with a trace, and the judgement.
type Guest struct {
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
	{name: "racing in two queues", address: tracedIPv4, queues: 2,
		args: []string{"--function", "__nf_conntrack_confirm"}},
	{name: "racing in two queues", address: tracedIPv4, queues: 2,
		args: []string{"--function", "__nf_conntrack_confirm", "--method", "kprobe"}},
	{name: "verdictd and stress", address: tracedIPv4, queues: 2, programs: true},
}

// Inside runs all loads, with remarks on w.
func Inside(ctx context.Context, c *Guest, w io.Writer) (*Report, error) {
	p, err := testbed.FindPrograms(c.Bin)
	if err != nil {
		return nil, err
	}
	release, err := kernelfacts.Release()
	if err != nil {
		return nil, err
	}
	report := &Report{Schema: Schema, Kernel: release, Rows: []Row{}}
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
func (c *Guest) do(ctx context.Context, p testbed.Programs, load tracedLoad) (row Row, err error) {
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
	g := testbed.NewGroup(ctx, dir)
	defer g.Close()

	stats, err := g.StartService(t.Queue, p.Conntrackwatch, "stats", "--json")
	if err != nil {
		return row, err
	}
	tracer, err := g.StartService(t.Queue, p.Conntrackwatch, append([]string{"trace", "--json"}, load.args...)...)
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
	for _, watcher := range []*testbed.Process{tracer, stats} {
		if err := watcher.Stop(syscall.SIGINT); err != nil {
			return row, err
		}
	}
	clashes, summary, err := decodeTrace(tracer.Stdout.Bytes())
	if err != nil {
		return row, err
	}
	var counted testbed.StatsOutput
	if err := testbed.Decode("conntrackwatch stats", stats.Stdout.Bytes(), &counted, "total.clash_resolve",
		"total.insert_failed"); err != nil {
		return row, err
	}
	if !counted.Total[ct.ClashResolve].Sent {
		return row, errors.New("this kernel does not count clashes that it resolves (Linux 5.10 and later do): there " +
			"is nothing to compare with")
	}
	row = Row{
		Load: load.name, Probes: summary.Probes, Flows: c.Flows, Packets: c.Flows * c.Burst, Delivered: made.delivered,
		ClashResolve: counted.Total[ct.ClashResolve].N, InsertFailed: counted.Total[ct.InsertFailed].N,
	}
	row.judge(made, exact, clashes, summary)
	return row, nil
}

// runPrograms is what people run: verdictd without its guard, and stress. Which packets clash is not known beforehand.
func (c *Guest) runPrograms(g *testbed.Group, p testbed.Programs, t *netlab.Topology, load tracedLoad) (heldResult,
	error) {
	cfg := config.Default()
	cfg.Queues.Count = load.queues
	cfg.Guard.Mode = vocabulary.GuardOff
	cfg.Rules.Placement = vocabulary.PlacementOutput
	cfg.Rules.Fanout = vocabulary.FanoutNumgen
	cfg.Rules.DestinationPorts = []uint16{testbed.Port}
	daemon, err := g.StartDaemon(t.Queue, p.Verdictd, cfg)
	if err != nil {
		return heldResult{}, err
	}
	sender, err := g.Start(t.Sender, true, nil, p.Stress, "clash", "--json", "-", "--target", load.address.String(),
		"--port", strconv.Itoa(testbed.Port),
		"--flows", strconv.Itoa(c.Flows), "--burst", strconv.Itoa(c.Burst), "--outstanding",
		strconv.Itoa(testbed.Outstanding),
		"--timeout", heldWithin.String(), "--linger", "5s")
	if err != nil {
		return heldResult{}, err
	}
	if err := sender.Wait(2 * heldWithin); err != nil {
		return heldResult{}, err
	}
	var sent results.Clash
	if err := testbed.Decode("stress", sender.Stdout.Bytes(), &sent, "delivered", "flows"); err != nil {
		return heldResult{}, err
	}
	if err := daemon.Stop(syscall.SIGTERM); err != nil {
		return heldResult{}, err
	}
	return heldResult{target: netip.AddrPortFrom(load.address, testbed.Port), delivered: int(sent.Delivered)}, nil
}

// decodeTrace reads what `conntrackwatch trace --json` printed: a line a clash, and the summary.
func decodeTrace(b []byte) (clashes []tracedClash, summary tracedSummary, err error) {
	lines := json.NewDecoder(bytes.NewReader(b))
	for {
		var line struct {
			Kind string `json:"kind"`
			tracedClash
			tracedSummary
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
			summary = line.tracedSummary
		}
	}
}

package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"verdictd/lab/internal/bench"
	"verdictd/lab/internal/bench/events"
	"verdictd/lab/internal/bench/queue"
	"verdictd/lab/internal/bench/send"
)

// benchCmd is `lab bench`: comparisons with what others use for the same.
type benchCmd struct {
	Queue      benchQueueCmd   `cmd:"" default:"withargs" help:"What a packet costs verdictd, other programs and the guard, in CPU time. The default: lab bench alone does the same."`
	Latency    benchLatencyCmd `cmd:"" help:"How long packets take through a queue, at rates and beyond what the program can do, and what is lost there."`
	Scale      benchScaleCmd   `cmd:"" help:"What a packet costs as rules, sets, flows, queues and rates grow, the memory of each, and what larger machines need."`
	Gate       benchGateCmd    `cmd:"" help:"What the guard's gate costs, and what a flood of new flows does to others' latency."`
	Events     benchEventsCmd  `cmd:"" help:"What an event of conntrack costs those who listen for it, in CPU time."`
	ListenTimo benchListenCmd  `cmd:"" hidden:""`
	Send       benchSendCmd    `cmd:"" help:"How fast stress sends, and how surely it provokes clashes, against a C loop, trafgen and the kernel's selftest."`
}

// concludePage is conclude, with a page where one is wanted.
func (std streams) concludePage(ctx context.Context, json, html, title string, d bench.Document,
	v *bench.Verdict) error {
	err := writePage(html, func(w io.Writer) error { return bench.WritePage(w, title, d, v) })
	return errors.Join(err, std.conclude(ctx, json, d, v.OK, html))
}

// benchQueueCmd is `lab bench queue`, and `lab bench` alone.
type benchQueueCmd struct {
	Rounds    int      `help:"Rounds; in each one, every program has its turn. Fewer than 9 tell little on a machine that has other things to do." default:"9"`
	Packets   int      `help:"Packets that are counted in a turn of settled flows." default:"200000"`
	Fresh     int      `help:"The same in a turn of new flows." default:"40000"`
	Window    int      `help:"Packets under way at most." default:"256"`
	Payload   int      `help:"Bytes of each packet's payload, 1 to 8192." default:"64"`
	Copy      int      `help:"Bytes of each packet that are copied to every program; 65531 is all. Default: each as it does by itself: verdictd what its policy looks at, others all." placeholder:"N"`
	Case      []string `help:"Groups of programs to measure: usual; two queues; IPv6; 1,400 and 8,000 bytes, of which each program has as much copied as it does by itself (sizes), all of them everything (whole), or the headers; windows of 64, 2,048 and 32,000 packets; the queue on the way in (input). May be repeated." enum:"usual,queues,ipv6,sizes,whole,headers,windows,input" default:"usual"`
	Only      []string `sep:"none" help:"Programs to measure, by the names in the table. May be repeated. Default: all." placeholder:"NAME"`
	Reference string   `help:"The C program on libnetfilter_queue to compare with; lab/reference has its source." type:"path" placeholder:"PATH"`
	Require   string   `help:"Fail unless these ratios of medians hold, such as 'mmsg/c<=0.6,mmsg+hold@path/mmsg@path<=1.12'; @path is the CPU time of the whole path, sender and rules included." placeholder:"A/B<=X,..."`
	Bin       string   `help:"Where verdictd, stress and conntrackwatch are. Default: beside this program." type:"path" placeholder:"DIR"`
	JSON      string   `name:"json" help:"Write the result as JSON to FILE; - writes it to stdout, and the table to stderr." placeholder:"FILE"`
	HTML      string   `name:"html" type:"page" help:"Write the result as a page with plots to FILE." placeholder:"FILE"`
}

func (c *benchQueueCmd) config() *queue.Config {
	return &queue.Config{
		Rounds: c.Rounds, Packets: c.Packets, Fresh: c.Fresh, Window: c.Window, Payload: c.Payload, Copy: c.Copy,
		Cases: c.Case, Only: c.Only, Reference: c.Reference, Require: c.Require,
	}
}

// Validate is called by kong.
func (c *benchQueueCmd) Validate() error { return c.config().Validate() }

// Run is called by kong.
func (c *benchQueueCmd) Run(ctx context.Context, std streams) error {
	t, outside, err := std.prepare(ctx, c.Bin, c.JSON, c.HTML)
	if outside || err != nil {
		return err
	}
	result, err := queue.Run(ctx, t, c.config(), std.err)
	if err != nil {
		return err
	}
	return std.concludePage(ctx, c.JSON, c.HTML, "What a packet costs", result, &result.Verdict)
}

// benchLatencyCmd is `lab bench latency`.
type benchLatencyCmd struct {
	Rounds    int           `help:"Rounds; in each one, every program has its turn." default:"9"`
	Rate      []float64     `help:"Packets a second, which are sent when they are due, whatever became of those before." default:"1000,10000,50000"`
	Load      []float64     `help:"The same, as a part of what the program can do at most: 2 is twice its capacity." default:"0.8,2"`
	Duration  time.Duration `help:"How long at each rate." default:"2s"`
	Payload   int           `help:"Bytes of each packet's payload, 16 to 1472." default:"64"`
	Queues    int           `help:"Queues of each program." default:"1"`
	Only      []string      `sep:"none" help:"Programs to measure, by the names in the table. May be repeated. Default: all." placeholder:"NAME"`
	Reference string        `help:"The C program on libnetfilter_queue to compare with; lab/reference has its source." type:"path" placeholder:"PATH"`
	Require   string        `help:"Fail unless these ratios of medians hold, such as 'mmsg@10000:p99/c@10000:p99<=1'; figures are p50, p99, p99.9, max and goodput." placeholder:"A/B<=X,..."`
	Bin       string        `help:"Where verdictd, stress and conntrackwatch are. Default: beside this program." type:"path" placeholder:"DIR"`
	JSON      string        `name:"json" help:"Write the result as JSON to FILE; - writes it to stdout, and the table to stderr." placeholder:"FILE"`
	HTML      string        `name:"html" type:"page" help:"Write the result as a page with plots to FILE." placeholder:"FILE"`
}

func (c *benchLatencyCmd) config() *queue.LatencyConfig {
	return &queue.LatencyConfig{
		Rounds: c.Rounds, Rates: c.Rate, Loads: c.Load, Duration: c.Duration, Payload: c.Payload, Queues: c.Queues, Only: c.Only,
		Reference: c.Reference, Require: c.Require,
	}
}

// Validate is called by kong.
func (c *benchLatencyCmd) Validate() error { return c.config().Validate() }

// Run is called by kong.
func (c *benchLatencyCmd) Run(ctx context.Context, std streams) error {
	t, outside, err := std.prepare(ctx, c.Bin, c.JSON, c.HTML)
	if outside || err != nil {
		return err
	}
	result, err := queue.RunLatency(ctx, t, c.config(), std.err)
	if err != nil {
		return err
	}
	return std.concludePage(ctx, c.JSON, c.HTML, "How long packets take", result, &result.Verdict)
}

// benchScaleCmd is `lab bench scale`.
type benchScaleCmd struct {
	Rounds    int      `help:"Rounds; in each one, every point of every curve has its turn." default:"3"`
	Packets   int      `help:"Packets that are counted at each point; a fifth of them where each is a new flow." default:"200000"`
	Curve     []string `help:"Curves to measure: by rules; entries of a set; flows, tracked or exempt from conntrack; queues; packets a second. May be repeated. Default: all." enum:"rules,entries,flows,untracked,queues,rate" placeholder:"NAME"`
	Most      int      `help:"Leave points beyond this number out. Default: none." placeholder:"N"`
	Reference string   `help:"The C program on libnetfilter_queue; nfq_floor beside it tells rounds that others disturbed." type:"path" placeholder:"PATH"`
	Require   string   `help:"Fail unless these ratios of medians hold, such as 'rules=1000/rules=0<=1.2'." placeholder:"A/B<=X,..."`
	Bin       string   `help:"Where verdictd, stress and conntrackwatch are. Default: beside this program." type:"path" placeholder:"DIR"`
	JSON      string   `name:"json" help:"Write the result as JSON to FILE; - writes it to stdout, and the table to stderr." placeholder:"FILE"`
	HTML      string   `name:"html" type:"page" help:"Write the result as a page with plots to FILE." placeholder:"FILE"`
}

func (c *benchScaleCmd) config() *queue.ScaleConfig {
	return &queue.ScaleConfig{
		Rounds: c.Rounds, Packets: c.Packets, Curves: c.Curve, Most: c.Most, Reference: c.Reference, Require: c.Require,
	}
}

// Validate is called by kong.
func (c *benchScaleCmd) Validate() error { return c.config().Validate() }

// Run is called by kong.
func (c *benchScaleCmd) Run(ctx context.Context, std streams) error {
	t, outside, err := std.prepare(ctx, c.Bin, c.JSON, c.HTML)
	if outside || err != nil {
		return err
	}
	result, err := queue.RunScale(ctx, t, c.config(), std.err)
	if err != nil {
		return err
	}
	return std.concludePage(ctx, c.JSON, c.HTML, "What growth costs", result, &result.Verdict)
}

// benchGateCmd is `lab bench gate`.
type benchGateCmd struct {
	Rounds    int           `help:"Rounds; in each one, every case has its turn." default:"5"`
	Packets   int           `help:"Packets that are counted in a turn of settled flows." default:"200000"`
	Fresh     int           `help:"The same in a turn of new flows." default:"40000"`
	Flood     int           `help:"New flows of the flood at most." default:"200000"`
	Rate      float64       `help:"Packets a second of the settled flows whose latency is measured." default:"1000"`
	Duration  time.Duration `help:"How long they send, quiet and in the flood, each; the flood may end before." default:"1s"`
	Only      []string      `sep:"none" help:"Cases, and programs in the flood, by the names in the tables. May be repeated. Default: all." placeholder:"NAME"`
	Reference string        `help:"The C program on libnetfilter_queue to compare with; lab/reference has its source." type:"path" placeholder:"PATH"`
	Require   string        `help:"Fail unless these ratios of medians hold, such as 'new:mmsg+hold/new:mmsg<=2.2,mmsg+hold@flood:p99/mmsg@flood:p99<=2'." placeholder:"A/B<=X,..."`
	Bin       string        `help:"Where verdictd, stress and conntrackwatch are. Default: beside this program." type:"path" placeholder:"DIR"`
	JSON      string        `name:"json" help:"Write the result as JSON to FILE; - writes it to stdout, and the table to stderr." placeholder:"FILE"`
	HTML      string        `name:"html" type:"page" help:"Write the result as a page with plots to FILE." placeholder:"FILE"`
}

func (c *benchGateCmd) config() *queue.GateConfig {
	return &queue.GateConfig{
		Rounds: c.Rounds, Packets: c.Packets, Fresh: c.Fresh, Flood: c.Flood, Rate: c.Rate, Duration: c.Duration,
		Only: c.Only, Reference: c.Reference, Require: c.Require,
	}
}

// Validate is called by kong.
func (c *benchGateCmd) Validate() error { return c.config().Validate() }

// Run is called by kong.
func (c *benchGateCmd) Run(ctx context.Context, std streams) error {
	t, outside, err := std.prepare(ctx, c.Bin, c.JSON, c.HTML)
	if outside || err != nil {
		return err
	}
	result, err := queue.RunGate(ctx, t, c.config(), std.err)
	if err != nil {
		return err
	}
	return std.concludePage(ctx, c.JSON, c.HTML, "What the guard's gate costs", result, &result.Verdict)
}

// benchEventsCmd is `lab bench events`.
type benchEventsCmd struct {
	Rounds  int     `help:"Rounds; in each one, every listener has its turn." default:"5"`
	Flows   int     `help:"New flows that are counted in a turn." default:"40000"`
	Rate    float64 `help:"Flows a second, at even distances." default:"20000"`
	Require string  `help:"Fail unless these ratios of medians hold, such as 'events/conntrack<=0.25,events/timo<=0.12'." placeholder:"A/B<=X,..."`
	Bin     string  `help:"Where verdictd, stress and conntrackwatch are. Default: beside this program." type:"path" placeholder:"DIR"`
	JSON    string  `name:"json" help:"Write the result as JSON to FILE; - writes it to stdout, and the table to stderr." placeholder:"FILE"`
}

func (c *benchEventsCmd) config() *events.Config {
	return &events.Config{Rounds: c.Rounds, Flows: c.Flows, Rate: c.Rate, Require: c.Require}
}

// Validate is called by kong.
func (c *benchEventsCmd) Validate() error { return c.config().Validate() }

// Run is called by kong.
func (c *benchEventsCmd) Run(ctx context.Context, std streams) error {
	t, outside, err := std.prepare(ctx, c.Bin, c.JSON)
	if outside || err != nil {
		return err
	}
	result, err := events.Run(ctx, t, c.config(), std.err)
	if err != nil {
		return err
	}
	return std.conclude(ctx, c.JSON, result, result.Verdict.OK)
}

// benchListenCmd is `lab bench listen-timo`: the loop over the library's Listen that `lab bench events` compares
// with, in a process of its own.
type benchListenCmd struct {
	ReceiveBuffer int `help:"Room for events that wait, in bytes." required:""`
}

// Run is called by kong.
func (c *benchListenCmd) Run(ctx context.Context, std streams) error {
	events, err := events.ListenTimo(ctx, c.ReceiveBuffer)
	if err == nil {
		fmt.Fprintln(std.out, events)
	}
	return err
}

// benchSendCmd is `lab bench send`.
type benchSendCmd struct {
	Rounds    int      `help:"Rounds; in each one, every sender has its turn." default:"5"`
	Packets   int      `help:"Packets that are counted in a turn of a fast sender." default:"500000"`
	Clashing  int      `help:"Packets in a turn of one that provokes clashes." default:"6400"`
	Only      []string `help:"Senders to measure, by the names in the table. Default: all." placeholder:"NAME"`
	Reference string   `help:"The C program to compare with; lab/reference/send_reference.c is its source." type:"path" placeholder:"PATH"`
	Trafgen   string   `help:"trafgen (netsniff-ng)." default:"trafgen" placeholder:"PATH"`
	Require   string   `help:"Fail unless these ratios hold, such as 'flood/c>=0.9,flood+gso/trafgen>=0.9,clash/udpclash>=1'. One whose sender is not installed fails." placeholder:"A/B>=X,..."`
	Bin       string   `help:"Where verdictd, stress and conntrackwatch are. Default: beside this program." type:"path" placeholder:"DIR"`
	JSON      string   `name:"json" help:"Write the result as JSON to FILE; - writes it to stdout, and the table to stderr." placeholder:"FILE"`
}

func (c *benchSendCmd) config() *send.Config {
	return &send.Config{
		Rounds: c.Rounds, Packets: c.Packets, Clashing: c.Clashing, Only: c.Only, Reference: c.Reference,
		Trafgen: c.Trafgen, Require: c.Require,
	}
}

// Validate is called by kong.
func (c *benchSendCmd) Validate() error { return c.config().Validate() }

// Run is called by kong.
func (c *benchSendCmd) Run(ctx context.Context, std streams) error {
	p, outside, err := std.begin(ctx, c.Bin, c.JSON)
	if outside || err != nil {
		return err
	}
	result, err := send.Run(ctx, p, version, c.config(), std.err)
	if err != nil {
		return err
	}
	return std.conclude(ctx, c.JSON, result, result.Verdict.OK)
}

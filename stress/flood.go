package main

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/alecthomas/kong"

	"verdictd/internal/cli"
	"verdictd/internal/traffic"
	"verdictd/stress/internal/flood"
)

// floodCmd holds the flags of `stress flood`; traffic.FloodConfig has their meaning in full.
type floodCmd struct {
	trafficFlags

	Packets  *int         `help:"Packets to send. Default: ${flood_packets}, or with --duration as many as that gives." placeholder:"N"`
	Flows    int          `help:"Flows, each a socket." default:"${flood_flows}"`
	Threads  int          `help:"Sending threads, each on a CPU." default:"${flood_threads}"`
	Batch    int          `help:"Messages in one sendmmsg at most." default:"${flood_batch}"`
	Segments int          `help:"Packets in one message, which the kernel separates (UDP GSO); 1: no GSO." default:"${flood_segments}"`
	Pace     traffic.Pace `help:"full, or rate:N with N in packets per second. A packet is sent when it is due, whatever became of those before, and its latency counts from then." default:"full"`
	Blind    bool         `help:"Have no receiver: only the sending is measured, no loss." not:"fail-on-loss"`

	Seed        uint64        `help:"Source ports and filling of payloads; 0: draw one." default:"0"`
	SendTimeout time.Duration `help:"Of a send that waits for buffer." default:"${flood_send_timeout}"`
	FailOnLoss  bool          `help:"Exit with 1 when a packet is lost."`
}

// floodDefaults shows the defaults of traffic.DefaultFlood in the flags above.
func floodDefaults() kong.Vars {
	d := traffic.DefaultFlood()
	return kong.Vars{
		"flood_packets":      strconv.Itoa(d.Packets),
		"flood_flows":        strconv.Itoa(d.Flows),
		"flood_threads":      strconv.Itoa(d.Threads),
		"flood_batch":        strconv.Itoa(d.Batch),
		"flood_segments":     strconv.Itoa(d.Segments),
		"flood_send_timeout": d.SendTimeout.String(),
	}
}

// config is what the flags say, not yet validated but for what only they know.
func (c *floodCmd) config() (flood.Config, error) {
	target, family := c.target()
	cfg := flood.Config{
		Traffic: traffic.FloodConfig{
			Target: target, Port: c.Port, AllowTarget: c.AllowTarget, Sources: c.Source,
			Flows: c.Flows, Duration: c.Duration, Size: c.Size,
			Threads: c.Threads, Batch: c.Batch, Segments: c.Segments, Pace: c.Pace, Blind: c.Blind,
			SenderNetns: c.SenderNetns, ReceiverNetns: c.ReceiverNetns,
			Seed: c.Seed, SendTimeout: c.SendTimeout, Timeout: c.Timeout, Linger: c.Linger, ReceiveBuffer: c.ReceiveBuffer,
		},
		Way:     c.way(c.Family),
		Packets: c.Packets, FailOnLoss: c.FailOnLoss,
	}
	return cfg, errors.Join(family, c.check(), cfg.Prepare())
}

// Run is called by kong.
func (c *floodCmd) Run(ctx context.Context, p *program) error {
	cfg, err := c.config()
	if err != nil {
		return fmt.Errorf("%w of flood: %w", cli.ErrUsage, err)
	}
	if outside, err := p.outside(ctx, cfg.Way.Made()); outside || err != nil {
		return err
	}
	return flood.Run(ctx, cfg, p.record(c.JSON))
}

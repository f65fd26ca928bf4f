package main

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"strconv"
	"time"

	"github.com/alecthomas/kong"

	"verdictd/internal/cli"
	"verdictd/internal/traffic"
	"verdictd/stress/internal/clash"
)

// clashCmd holds the flags of `stress clash`; traffic.ClashConfig has their meaning in full.
type clashCmd struct {
	trafficFlags

	Ports traffic.PortOrder `help:"Order of source ports: shuffled or sequential." enum:"shuffled,sequential" default:"${ports}"`

	Flows   *int   `help:"New flows; each source address gives about 64,500. Default: ${flows}, or with --clashes or --duration as many as the addresses give." placeholder:"N"`
	Clashes uint64 `help:"End when conntrack has counted so many clashes; fail if that does not come. Without it: after all flows." placeholder:"N"`

	Burst    int           `help:"Packets of each flow, sent at once." default:"${burst}"`
	Mode     traffic.Mode  `help:"threads: one socket, several threads; reuseport: twin sockets of the same 5-tuple; sendmmsg: one thread, one system call; cross: both ends send at the same instant; reply: the far end sends when the send of the first packet has returned." enum:"threads,reuseport,sendmmsg,cross,reply" default:"${mode}"`
	Threads  int           `help:"Threads that share each burst; 0: up to one a CPU." default:"0"`
	Sockets  int           `help:"Twins of mode reuseport; 0: one for each thread." default:"0"`
	Aim      bool          `help:"Let the threads of a burst wait for one instant: the nearer their packets, the more clashes." negatable:"" default:"true"`
	Spacing  time.Duration `help:"Between two packets that a thread sends of one burst." default:"0s"`
	UDPClash bool          `name:"udpclash" help:"Send what the kernel's selftest sends instead: each flow is one datagram of 3 bytes from each of 128 threads through one socket; all replies must come."`

	Pace        traffic.Pace     `help:"full, or rate:N with N in flows per second." default:"full"`
	Outstanding int              `help:"Flows in flight at most; 0: no bound." default:"${outstanding}"`
	FlowTimeout time.Duration    `help:"A flow is no longer in flight after this time, even if packets are missing." default:"${flow_timeout}"`
	Protocol    traffic.Protocol `help:"udp; icmp: echo requests, heard by a raw socket; needs CAP_NET_RAW, and a ping_group_range of the sender's namespace where --topology does not make it." enum:"udp,icmp" default:"udp"`
	Backend     []netip.Addr     `help:"Address of the receiver over which something on the way spreads the flows; repeatable. The receiver hears on all addresses, and flows whose packets arrive at several are counted. Without it: --target alone." placeholder:"ADDR"`
	Echo        bool             `help:"Have every payload sent back and measure round trips."`

	Seed       uint64 `help:"Order of ports and filling of payloads; 0: draw one." default:"0"`
	FailOnLoss bool   `help:"Exit with 1 when a packet or an echo is lost."`
}

// clashDefaults shows the defaults of traffic.DefaultClash in the flags above.
func clashDefaults() kong.Vars {
	d := traffic.DefaultClash()
	return kong.Vars{
		"ports":        string(d.Ports),
		"flows":        strconv.Itoa(d.Flows),
		"burst":        strconv.Itoa(d.Burst),
		"mode":         string(d.Mode),
		"outstanding":  strconv.Itoa(d.Outstanding),
		"flow_timeout": d.FlowTimeout.String(),
	}
}

// config is what the flags say, not yet validated but for what only they know.
func (c *clashCmd) config() (clash.Config, error) {
	target, family := c.target()
	cfg := clash.Config{
		Traffic: traffic.ClashConfig{
			Target: target, Port: c.Port, AllowTarget: c.AllowTarget,
			Sources: c.Source, Ports: c.Ports,
			Burst: c.Burst, Size: c.Size, Spacing: c.Spacing,
			Mode: c.Mode, Threads: c.Threads, Sockets: c.Sockets, Aim: c.Aim,
			Pace: c.Pace, Outstanding: c.Outstanding, FlowTimeout: c.FlowTimeout,
			Echo:     c.Echo,
			Protocol: c.Protocol, Backends: c.Backend,
			SenderNetns: c.SenderNetns, ReceiverNetns: c.ReceiverNetns,
			Seed: c.Seed, Duration: c.Duration, Timeout: c.Timeout, Linger: c.Linger, ReceiveBuffer: c.ReceiveBuffer,
		},
		Way:   c.way(c.Family),
		Flows: c.Flows, Clashes: c.Clashes, UDPClash: c.UDPClash, FailOnLoss: c.FailOnLoss,
	}
	return cfg, errors.Join(family, c.check(), cfg.Prepare())
}

// Run is called by kong.
func (c *clashCmd) Run(ctx context.Context, p *program) error {
	cfg, err := c.config()
	if err != nil {
		return fmt.Errorf("%w of clash: %w", cli.ErrUsage, err)
	}
	if outside, err := p.outside(ctx, cfg.Way.Made()); outside || err != nil {
		return err
	}
	return clash.Run(ctx, cfg, p.record(c.JSON))
}

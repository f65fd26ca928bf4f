package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"strconv"
	"time"

	"github.com/alecthomas/kong"

	"verdictd/internal/cli"
	"verdictd/internal/traffic"
)

// clashCmd holds the flags of `stress clash`; traffic.ClashConfig has their meaning in full.
type clashCmd struct {
	loadFlags

	Ports traffic.PortOrder `help:"Order of source ports: shuffled or sequential." enum:"shuffled,sequential" default:"${ports}"`

	Flows   *int   `help:"New flows; each source address gives about 64,500. Default: ${flows}, or with --clashes or --duration as many as the addresses give." placeholder:"N"`
	Clashes uint64 `help:"End when conntrack has counted so many clashes; fail if that does not come." placeholder:"N"`

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
	Backend     []netip.Addr     `help:"Address of the receiver over which something on the way spreads the flows; repeatable. The receiver hears on all addresses, and flows whose packets arrive at several are counted." placeholder:"ADDR"`
	Echo        bool             `help:"Have every payload sent back and measure round trips."`

	Seed       uint64 `help:"Order of ports and filling of payloads; 0: draw one." default:"0"`
	FailOnLoss bool   `help:"Exit with 1 when a packet or an echo is lost."`
}

// clashResult is the result file behind its header.
type clashResult struct {
	traffic.ClashResult
	Topology    string `json:"topology"` // empty: namespaces that were there before
	NAT         string `json:"nat"`
	ClashTarget uint64 `json:"clash_target"` // what --clashes asked for
	conntrackCounts
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
func (c *clashCmd) config() (traffic.ClashConfig, error) {
	cfg := traffic.ClashConfig{
		Target: c.Target, Port: c.Port, AllowTarget: c.AllowTarget,
		Sources: c.Source, Ports: c.Ports,
		Burst: c.Burst, Size: c.Size, Spacing: c.Spacing,
		Mode: c.Mode, Threads: c.Threads, Sockets: c.Sockets, Aim: c.Aim,
		Pace: c.Pace, Outstanding: c.Outstanding, FlowTimeout: c.FlowTimeout,
		Echo:     c.Echo,
		Protocol: c.Protocol, Backends: c.Backend,
		SenderNetns: c.SenderNetns, ReceiverNetns: c.ReceiverNetns,
		Seed: c.Seed, Duration: c.Duration, Timeout: c.Timeout, Linger: c.Linger, ReceiveBuffer: c.ReceiveBuffer,
	}
	target, family := c.target()
	cfg.Target = target
	cfg.Flows = c.flows(&cfg)
	return cfg, errors.Join(family, c.check(c.addressed()...), cfg.Validate())
}

// flows is how many there are at most.
func (c *clashCmd) flows(cfg *traffic.ClashConfig) int {
	switch {
	case c.Flows != nil:
		return *c.Flows
	case c.Clashes > 0 || c.Duration > 0:
		return cfg.Capacity()
	}
	return traffic.DefaultClash().Flows
}

// Run is called by kong.
func (c *clashCmd) Run(ctx context.Context, s *streams) (err error) {
	cfg, err := c.config()
	if err != nil {
		return fmt.Errorf("%w of clash: %w", cli.ErrUsage, err)
	}
	at, outside, err := c.open(ctx, s)
	if outside {
		return err
	}
	if err != nil {
		return fmt.Errorf("clash: %w", err)
	}
	defer func() { err = errors.Join(err, at.Close()) }()
	if at.made != nil && c.Protocol == traffic.ProtocolICMP {
		if err := at.made.AllowPing(); err != nil {
			return err
		}
	}
	if c.own() {
		cfg.Target, cfg.ReceiveAt, cfg.Sources, cfg.SenderNetns, cfg.ReceiverNetns = at.target, at.receiveAt, at.sources, at.sender, at.receiver
		cfg.Backends = at.backends
		cfg.Flows = c.flows(&cfg) // more addresses, more flows
	}
	if c.UDPClash && (cfg.Protocol != traffic.ProtocolUDP || len(cfg.Backends) > 0) {
		return fmt.Errorf("%w of clash: --udpclash sends UDP to one address: leave --protocol, --backend and --nat backends out", cli.ErrUsage)
	}
	out, err := s.openResult(c.JSON, at.roles()...)
	if err != nil {
		return err
	}
	counter := openTally(at.namespaces())
	if c.Clashes > 0 {
		if counter.err != nil {
			return errors.Join(fmt.Errorf("clash: --clashes %d: they cannot be counted: %w", c.Clashes, counter.err), counter.close(), out.close())
		}
		cfg.Enough = func() bool { return counter.reached(c.Clashes) }
	}
	if c.UDPClash {
		return c.runUDPClash(ctx, s, out, counter, &cfg)
	}
	show, shown := s.progress(flowsOf(cfg.Flows))
	run, err := traffic.RunClash(ctx, cfg, out.keep(cfg, show))
	shown()
	if err != nil {
		err = fmt.Errorf("clash: %w", err)
	}
	if run == nil {
		return errors.Join(err, counter.close(), out.close())
	}
	res := &clashResult{ClashResult: *run, Topology: c.Topology, NAT: c.NAT, ClashTarget: c.Clashes}
	var e error
	res.conntrackCounts, e = counter.counts(res.Sent)
	err = errors.Join(err, e, res.short(c.Clashes))
	if c.FailOnLoss && res.Lost > 0 {
		err = errors.Join(err, fmt.Errorf("clash: %d of %d packets lost", res.Lost, res.Sent))
	}
	if c.FailOnLoss && res.EchoResult != nil && res.EchoLost > 0 {
		err = errors.Join(err, fmt.Errorf("clash: %d of %d echoes lost", res.EchoLost, res.EchoSent))
	}
	return errors.Join(err, out.write("clash", res, func(w io.Writer) error { return summarizeClash(w, res) }))
}

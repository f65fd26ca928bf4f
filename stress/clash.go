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
	"verdictd/internal/load"
	"verdictd/internal/provenance"
)

// clashCmd holds the flags of `stress clash`; load.ClashConfig has their meaning in full.
type clashCmd struct {
	Target      netip.Addr `help:"Address that all flows go to; the receiver binds there. Default: loopback of the family." placeholder:"ADDR"`
	Port        uint16     `help:"Port that all flows go to." default:"${port}"`
	Family      string     `help:"ipv4 or ipv6; with --target it must agree." enum:",ipv4,ipv6" default:"" placeholder:"ipv4|ipv6"`
	AllowTarget netip.Addr `help:"Name a target outside loopback and the documentation ranges once more, to say that it is yours." placeholder:"ADDR"`

	Source []netip.Addr   `help:"Source address; repeatable, flows cycle over them. Each gives about 64,500 flows. Default: the kernel's choice." placeholder:"ADDR"`
	Ports  load.PortOrder `help:"Order of source ports: shuffled or sequential." enum:"shuffled,sequential" default:"${ports}"`

	Flows   int       `help:"New flows." default:"${flows}"`
	Burst   int       `help:"Packets of each flow, sent at once." default:"${burst}"`
	Size    int       `help:"Bytes of UDP payload." default:"${size}"`
	Mode    load.Mode `help:"threads: one socket, several threads; reuseport: a socket for each thread, same 5-tuple; sendmmsg: one thread, one system call." enum:"threads,reuseport,sendmmsg" default:"${mode}"`
	Threads int       `help:"Threads that share each burst; 0: up to one a CPU." default:"0"`

	Pace        load.Pace     `help:"full, or rate:N with N in flows per second." default:"full"`
	Outstanding int           `help:"Flows in flight at most; 0: no bound." default:"${outstanding}"`
	FlowTimeout time.Duration `help:"A flow is no longer in flight after this time, even if packets are missing." default:"${flow_timeout}"`
	Echo        bool          `help:"Have every payload sent back and measure round trips."`

	SenderNetns   string `help:"Network namespace to send from." placeholder:"PATH"`
	ReceiverNetns string `help:"Network namespace to receive in." placeholder:"PATH"`

	Seed          uint64        `help:"Order of ports and filling of payloads; 0: draw one." default:"0"`
	Timeout       time.Duration `help:"Bound of the whole run." default:"${timeout}"`
	Linger        time.Duration `help:"Wait for stragglers, within the timeout." default:"${linger}"`
	ReceiveBuffer int           `help:"Socket buffer of the receiver, in bytes." default:"${receive_buffer}"`

	JSON       string `name:"json" help:"Write the result to a file; - is standard output, instead of the summary." placeholder:"FILE"`
	FailOnLoss bool   `help:"Exit with 1 when a packet or an echo is lost."`
}

// clashDefaults shows the defaults of load.DefaultClash in the flags above.
func clashDefaults() kong.Vars {
	d := load.DefaultClash()
	return kong.Vars{
		"port":           strconv.Itoa(int(d.Port)),
		"ports":          string(d.Ports),
		"flows":          strconv.Itoa(d.Flows),
		"burst":          strconv.Itoa(d.Burst),
		"size":           strconv.Itoa(d.Size),
		"mode":           string(d.Mode),
		"outstanding":    strconv.Itoa(d.Outstanding),
		"flow_timeout":   d.FlowTimeout.String(),
		"timeout":        d.Timeout.String(),
		"linger":         d.Linger.String(),
		"receive_buffer": strconv.Itoa(d.ReceiveBuffer),
	}
}

// config is what the flags say, not yet validated but for what only they know.
func (c *clashCmd) config() (load.ClashConfig, error) {
	cfg := load.ClashConfig{
		Target: c.Target, Port: c.Port, AllowTarget: c.AllowTarget,
		Sources: c.Source, Ports: c.Ports,
		Flows: c.Flows, Burst: c.Burst, Size: c.Size,
		Mode: c.Mode, Threads: c.Threads,
		Pace: c.Pace, Outstanding: c.Outstanding, FlowTimeout: c.FlowTimeout,
		Echo:        c.Echo,
		SenderNetns: c.SenderNetns, ReceiverNetns: c.ReceiverNetns,
		Seed: c.Seed, Timeout: c.Timeout, Linger: c.Linger, ReceiveBuffer: c.ReceiveBuffer,
	}
	var family error
	switch {
	case !cfg.Target.IsValid() && c.Family == "ipv6":
		cfg.Target = netip.IPv6Loopback()
	case !cfg.Target.IsValid():
		cfg.Target = load.DefaultClash().Target
	case c.Family == "ipv4" && !cfg.Target.Is4(), c.Family == "ipv6" && !cfg.Target.Is6():
		family = fmt.Errorf("family %s: target %s is of the other", c.Family, cfg.Target)
	}
	return cfg, errors.Join(family, cfg.Validate())
}

// Run is called by kong.
func (c *clashCmd) Run(ctx context.Context, s *streams) error {
	cfg, err := c.config()
	if err != nil {
		return fmt.Errorf("%w of clash: %w", cli.ErrUsage, err)
	}
	out, err := s.openResult(c.JSON, provenance.Place{Role: "sender", Path: c.SenderNetns}, provenance.Place{Role: "receiver", Path: c.ReceiverNetns})
	if err != nil {
		return err
	}
	show, shown := s.progress(cfg.Flows)
	res, err := load.RunClash(ctx, cfg, show)
	shown()
	if err != nil {
		err = fmt.Errorf("clash: %w", err)
	}
	if res == nil {
		return errors.Join(err, out.close())
	}
	if c.FailOnLoss && res.Lost > 0 {
		err = errors.Join(err, fmt.Errorf("clash: %d of %d packets lost", res.Lost, res.Sent))
	}
	if c.FailOnLoss && res.EchoResult != nil && res.EchoLost > 0 {
		err = errors.Join(err, fmt.Errorf("clash: %d of %d echoes lost", res.EchoLost, res.EchoSent))
	}
	return errors.Join(err, out.write("clash", res, func(w io.Writer) error { return summarizeClash(w, res) }))
}

package main

import (
	"context"
	"fmt"
	"net/netip"
	"strconv"
	"strings"
	"time"

	"github.com/alecthomas/kong"

	"verdictd/internal/cli"
	"verdictd/internal/traffic"
	"verdictd/stress/internal/soak"
)

// soakCmd holds the flags of `stress soak`; traffic.SoakConfig has their meaning in full.
type soakCmd struct {
	Duration time.Duration `help:"How long flows are sent." default:"${soak_duration}"`
	Rate     float64       `help:"New flows a second, on average. A flow has about 8 packets." default:"${soak_rate}"`
	Seed     uint64        `help:"What the flows are drawn from; 0: draw one." default:"0"`

	Target []soakTarget `help:"Where flows go; repeatable. /echo: payloads are returned; /lossy: packets are meant to be dropped on the way. Default: port 7/echo and 9 of the namespaces that are made." placeholder:"ADDR:PORT[/echo][/lossy]"`
	Source []netip.Addr `help:"Where flows come from; repeatable. Default: the addresses of the namespaces that are made, or the kernel's choice." placeholder:"ADDR"`
	placesFlags

	WatchPID         []int `name:"watch-pid" help:"Watch the memory and the descriptors of this process, too; repeatable. Without it: of this program alone." placeholder:"PID"`
	MemoryGrowth     int   `help:"MiB that a watched process may grow by after a quarter of the time." default:"${soak_memory}"`
	DescriptorGrowth int   `help:"Descriptors that a watched process may have more at the end than at the start." default:"${soak_descriptors}"`

	AnswerWithin  time.Duration `help:"How long a flow's socket waits for answers, and as long again for one that is missing: longer than packets may wait on the way." default:"${soak_answer}"`
	Linger        time.Duration `help:"Wait for stragglers after each round at most." default:"${soak_linger}"`
	ReceiveBuffer int           `help:"Socket buffer of each receiver, in bytes." default:"${soak_buffer}"`

	JSON string `name:"json" help:"Write the result to a file; - is standard output, instead of the summary." placeholder:"FILE"`
}

// soakTarget is a target as it is written on the command line.
type soakTarget struct{ traffic.MixTarget }

// UnmarshalText is called by kong.
func (t *soakTarget) UnmarshalText(text []byte) (err error) {
	address, options, _ := strings.Cut(string(text), "/")
	if t.Address, err = netip.ParseAddrPort(address); err != nil {
		return fmt.Errorf("want ADDR:PORT[/echo][/lossy], such as 192.0.2.1:7/echo or [2001:db8::1]:9: %w", err)
	}
	for option := range strings.SplitSeq(options, "/") {
		switch option {
		case "":
		case "echo":
			t.Echo = true
		case "lossy":
			t.Lossy = true
		default:
			return fmt.Errorf("%q after %s: want echo or lossy", option, address)
		}
	}
	return nil
}

// soakDefaults shows the defaults of traffic.DefaultSoak in the flags above.
func soakDefaults() kong.Vars {
	d := traffic.DefaultSoak()
	return kong.Vars{
		"soak_duration":    d.Mix.Duration.String(),
		"soak_rate":        strconv.FormatFloat(d.Mix.Rate, 'g', -1, 64),
		"soak_memory":      strconv.Itoa(d.MemoryGrowth),
		"soak_descriptors": strconv.Itoa(d.DescriptorGrowth),
		"soak_answer":      traffic.DefaultAnswerWithin.String(),
		"soak_linger":      d.Mix.Linger.String(),
		"soak_buffer":      strconv.Itoa(d.Mix.ReceiveBuffer),
	}
}

// config is what the flags say.
func (c *soakCmd) config() (soak.Config, error) {
	cfg := soak.Config{
		Traffic: traffic.SoakConfig{
			Mix: traffic.MixConfig{
				Rate: c.Rate, Duration: c.Duration, Seed: traffic.ChooseSeed(c.Seed),
				SenderNetns: c.SenderNetns, ReceiverNetns: c.ReceiverNetns,
				ReceiveBuffer: c.ReceiveBuffer, Linger: c.Linger, AnswerWithin: c.AnswerWithin,
			},
			WatchPIDs: c.WatchPID, MemoryGrowth: c.MemoryGrowth, DescriptorGrowth: c.DescriptorGrowth,
		},
		Way:   c.way(""),
		Makes: !c.named() && len(c.Target) == 0 && len(c.Source) == 0,
	}
	m := &cfg.Traffic.Mix
	for _, t := range c.Target {
		m.Targets = append(m.Targets, t.MixTarget)
	}
	for _, a := range c.Source {
		if a.Is4() {
			m.Sources4 = append(m.Sources4, a)
		} else {
			m.Sources6 = append(m.Sources6, a)
		}
	}
	return cfg, cfg.Prepare()
}

// Run is called by kong.
func (c *soakCmd) Run(ctx context.Context, p *program) error {
	cfg, err := c.config()
	if err != nil {
		return fmt.Errorf("%w of soak: %w", cli.ErrUsage, err)
	}
	if outside, err := p.outside(ctx, cfg.Makes); outside || err != nil {
		return err
	}
	return soak.Run(ctx, cfg, p.record(c.JSON))
}

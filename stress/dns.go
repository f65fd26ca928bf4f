package main

import (
	"context"
	"fmt"
	"net/netip"
	"strconv"
	"time"

	"github.com/alecthomas/kong"

	"verdictd/internal/cli"
	"verdictd/internal/traffic/dns"
	"verdictd/stress/internal/resolve"
)

// dnsCmd holds the flags of `stress dns`; dns.Config has their meaning in full.
type dnsCmd struct {
	Target      netip.Addr `help:"Address that the DNS server listens at. Default: one in the namespaces that are made." placeholder:"ADDR"`
	Port        uint16     `help:"Port that it listens at." default:"${dns_port}"`
	Family      string     `help:"Family to ask over, in the namespaces that are made." enum:"ipv4,ipv6" default:"ipv4"`
	AllowTarget netip.Addr `help:"Name a target outside loopback and the documentation ranges once more, to say that it is yours. Without it: no other target." placeholder:"ADDR"`
	placesFlags

	Resolutions int         `help:"Names to resolve, each once." default:"${dns_resolutions}"`
	Parallel    int         `help:"Resolutions at a time." default:"${dns_parallel}"`
	Client      dns.Client  `help:"builtin; or getaddrinfo: the system's C library, by way of getent, whose resolv.conf is mounted over for it alone." enum:"builtin,getaddrinfo" default:"${dns_client}"`
	Queries     dns.Queries `help:"parallel: A and AAAA at once from one socket, as resolvers do; single-request and single-request-reopen: resolv.conf's options against trouble; separate: both at once, each from a socket of its own, as Go's resolver and systemd-resolved do." enum:"parallel,single-request,single-request-reopen,separate" default:"${dns_queries}"`

	AttemptTimeout time.Duration `help:"How long the client waits before it asks again: resolv.conf's timeout." default:"${dns_attempt_timeout}"`
	Attempts       int           `help:"How often it asks at most: resolv.conf's attempts." default:"${dns_attempts}"`
	Timeout        time.Duration `help:"Bound of the whole run." default:"${dns_timeout}"`

	JSON        string `name:"json" help:"Write the result to a file; - is standard output, instead of the summary." placeholder:"FILE"`
	FailOnRetry bool   `help:"Exit with 1 when a resolution had to ask again, or failed."`
}

// dnsDefaults shows the defaults of dns.Default in the flags above.
func dnsDefaults() kong.Vars {
	d := dns.Default()
	return kong.Vars{
		"dns_port":            strconv.Itoa(int(d.Port)),
		"dns_resolutions":     strconv.Itoa(d.Resolutions),
		"dns_parallel":        strconv.Itoa(d.Parallel),
		"dns_client":          string(d.Client),
		"dns_queries":         string(d.Queries),
		"dns_attempt_timeout": d.AttemptTimeout.String(),
		"dns_attempts":        strconv.Itoa(d.Attempts),
		"dns_timeout":         d.Timeout.String(),
	}
}

// config is what the flags say.
func (c *dnsCmd) config() (resolve.Config, error) {
	cfg := resolve.Config{
		DNS: dns.Config{
			Target: c.Target, Port: c.Port, AllowTarget: c.AllowTarget,
			Resolutions: c.Resolutions, Parallel: c.Parallel, Client: c.Client, Queries: c.Queries,
			AttemptTimeout: c.AttemptTimeout, Attempts: c.Attempts,
			SenderNetns: c.SenderNetns, ReceiverNetns: c.ReceiverNetns, Timeout: c.Timeout,
		},
		Way:         c.way(c.Family),
		Makes:       !c.named() && !c.Target.IsValid(),
		FailOnRetry: c.FailOnRetry,
	}
	return cfg, cfg.Prepare()
}

// Run is called by kong.
func (c *dnsCmd) Run(ctx context.Context, p *program) error {
	cfg, err := c.config()
	if err != nil {
		return fmt.Errorf("%w of dns: %w", cli.ErrUsage, err)
	}
	if outside, err := p.outside(ctx, cfg.Makes); outside || err != nil {
		return err
	}
	return resolve.Run(ctx, cfg, p.record(c.JSON))
}

package main

import (
	"context"
	"time"

	resolver "verdictd/internal/traffic/dns"
	"verdictd/lab/internal/dns"
	"verdictd/lab/internal/testbed"
)

// dnsCmd is `lab dns`.
type dnsCmd struct {
	Placement      string           `help:"Where the queue is." enum:"output,postrouting,input,forward,verdict3" default:"output"`
	Family         string           `help:"Family that the resolver asks over." enum:"ipv4,ipv6" default:"ipv4"`
	Client         resolver.Client  `help:"Who resolves: stress itself, or the system's getaddrinfo." enum:"builtin,getaddrinfo" default:"builtin"`
	Queries        resolver.Queries `help:"How the two questions of a resolution are sent; single-request and single-request-reopen are resolv.conf's options against trouble; separate has a socket for each. With the built-in client and parallel, the ways of musl, Go and systemd-resolved are shown as well." enum:"parallel,single-request,single-request-reopen,separate" default:"parallel"`
	Resolutions    int              `help:"Names to resolve in each row." default:"100"`
	Parallel       int              `help:"Resolutions at a time." default:"50"`
	AttemptTimeout time.Duration    `help:"How long the resolver waits before it asks again; that of resolv.conf is 5s, too." default:"5s"`
	Analysis       testbed.Analysis `help:"How long the daemon takes over each packet: [DISTRIBUTION:]DURATION, or none. Distributions: fixed, uniform, lognormal." default:"1ms"`
	Bin            string           `help:"Where verdictd, stress and conntrackwatch are. Default: beside this program." type:"path" placeholder:"DIR"`
	JSON           string           `name:"json" help:"Write the result as JSON to FILE; - writes it to stdout, and the table to stderr." placeholder:"FILE"`
}

func (c *dnsCmd) config() *dns.Config {
	return &dns.Config{
		Placement: c.Placement, Family: c.Family, Client: c.Client, Queries: c.Queries, Resolutions: c.Resolutions,
		Parallel:       c.Parallel,
		AttemptTimeout: c.AttemptTimeout, Analysis: c.Analysis,
	}
}

// Validate is called by kong.
func (c *dnsCmd) Validate() error { return c.config().Validate() }

// Run is called by kong.
func (c *dnsCmd) Run(ctx context.Context, std streams) error {
	t, outside, err := std.prepare(ctx, c.Bin, c.JSON)
	if outside || err != nil {
		return err
	}
	result, err := dns.Run(ctx, t, c.config(), std.err)
	if err != nil {
		return err
	}
	return std.conclude(ctx, c.JSON, result, result.Verdict.OK)
}

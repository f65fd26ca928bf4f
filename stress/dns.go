package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"strconv"
	"text/tabwriter"
	"time"

	"github.com/alecthomas/kong"

	"verdictd/internal/cli"
	"verdictd/internal/dnsload"
	"verdictd/internal/netlab"
)

// dnsCmd holds the flags of `stress dns`; dnsload.Config has their meaning in full.
type dnsCmd struct {
	Target      netip.Addr `help:"Address that the DNS server listens at. Default: one in the namespaces that are made." placeholder:"ADDR"`
	Port        uint16     `help:"Port that it listens at." default:"${dns_port}"`
	Family      string     `help:"Family to ask over, in the namespaces that are made." enum:"ipv4,ipv6" default:"ipv4"`
	AllowTarget netip.Addr `help:"Name a target outside loopback and the documentation ranges once more, to say that it is yours." placeholder:"ADDR"`
	placesFlags

	Resolutions int             `help:"Names to resolve, each once." default:"${dns_resolutions}"`
	Parallel    int             `help:"Resolutions at a time." default:"${dns_parallel}"`
	Client      dnsload.Client  `help:"builtin; or getaddrinfo: the system's C library, by way of getent, whose resolv.conf is mounted over for it alone." enum:"builtin,getaddrinfo" default:"${dns_client}"`
	Queries     dnsload.Queries `help:"parallel: A and AAAA at once from one socket, as resolvers do; single-request and single-request-reopen: resolv.conf's options against trouble." enum:"parallel,single-request,single-request-reopen" default:"${dns_queries}"`

	AttemptTimeout time.Duration `help:"How long the client waits before it asks again: resolv.conf's timeout." default:"${dns_attempt_timeout}"`
	Attempts       int           `help:"How often it asks at most: resolv.conf's attempts." default:"${dns_attempts}"`
	Timeout        time.Duration `help:"Bound of the whole run." default:"${dns_timeout}"`

	JSON        string `name:"json" help:"Write the result to a file; - is standard output, instead of the summary." placeholder:"FILE"`
	FailOnRetry bool   `help:"Exit with 1 when a resolution had to ask again, or failed."`
}

// dnsDefaults shows the defaults of dnsload.Default in the flags above.
func dnsDefaults() kong.Vars {
	d := dnsload.Default()
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

// makes says that the namespaces are the program's own: nothing was named in which something else could be.
func (c *dnsCmd) makes() bool { return c.named() == "" && !c.Target.IsValid() }

// config is what the flags say.
func (c *dnsCmd) config() (dnsload.Config, error) {
	cfg := dnsload.Config{
		Target: c.Target, Port: c.Port, AllowTarget: c.AllowTarget,
		Resolutions: c.Resolutions, Parallel: c.Parallel, Client: c.Client, Queries: c.Queries,
		AttemptTimeout: c.AttemptTimeout, Attempts: c.Attempts,
		SenderNetns: c.SenderNetns, ReceiverNetns: c.ReceiverNetns, Timeout: c.Timeout,
	}
	if c.makes() {
		cfg.Target = netlab.Networks[c.Family].Target
	}
	return cfg, errors.Join(c.validate(c.makes()), cfg.Validate())
}

// Run is called by kong.
func (c *dnsCmd) Run(ctx context.Context, s *streams) (err error) {
	cfg, err := c.config()
	if err != nil {
		return fmt.Errorf("%w of dns: %w", cli.ErrUsage, err)
	}
	at, named, outside, err := c.open(ctx, s, c.makes())
	if outside || err != nil {
		return err
	}
	defer func() { err = errors.Join(err, at.Close()) }()
	cfg.SenderNetns, cfg.ReceiverNetns = at.sender, at.receiver
	out, err := s.openResult(c.JSON, named...)
	if err != nil {
		return err
	}
	show, shown := s.resolutions(cfg.Resolutions)
	res, err := dnsload.Run(ctx, cfg, show)
	shown()
	if err != nil {
		err = fmt.Errorf("dns: %w", err)
	}
	if res == nil {
		return errors.Join(err, out.close())
	}
	if warning := res.Warning(); warning != "" {
		err = errors.Join(err, fmt.Errorf("dns: %s", warning))
	}
	if c.FailOnRetry && res.Retried+res.Failed > 0 {
		err = errors.Join(err, fmt.Errorf("dns: of %d resolutions %d had to ask again, and %d failed", res.Resolutions, res.Retried, res.Failed))
	}
	return errors.Join(err, out.write("dns", res, func(w io.Writer) error { return summarizeDNS(w, res) }))
}

// resolutions returns what shows on a terminal how many are over, and what takes that line away.
func (s *streams) resolutions(of int) (show func(int), done func()) {
	if !cli.IsTerminal(s.stderr) {
		return nil, func() {}
	}
	return func(n int) { fmt.Fprintf(s.stderr, "\r\x1b[K%d of %d resolutions", n, of) }, func() { fmt.Fprint(s.stderr, "\r\x1b[K") }
}

// summarizeDNS writes what a person wants to know first.
func summarizeDNS(w io.Writer, res *dnsload.Result) error {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	row := func(name, format string, args ...any) { fmt.Fprintf(t, name+"\t"+format+"\n", args...) }
	c := &res.Config
	ended := ""
	switch {
	case res.Interrupted:
		ended = ", interrupted"
	case res.TimedOut:
		ended = ", timed out"
	}
	row("dns", "%s, %s client, %s, %d attempts of %s", netip.AddrPortFrom(c.Target, c.Port), c.Client, c.Queries, c.Attempts, c.AttemptTimeout)
	row("resolutions", "%d in %.3f s, %d at a time%s", res.Resolutions, res.Seconds, c.Parallel, ended)
	row("outcome", "%d resolved, %d needed a retry, %d failed, %d wrong", res.Resolved, res.Retried, res.Failed, res.WrongAnswers)
	row("time", "p50 %.3f ms, p90 %.3f ms, p99 %.3f ms, max %.3f ms", res.Time.P50, res.Time.P90, res.Time.P99, res.Time.Max)
	if q := res.Sent; q != nil {
		row("asked", "%d A, %d AAAA, %d of them again; %d late answers", q.A, q.AAAA, q.Repeated, q.Late)
	}
	row("served", "%d A, %d AAAA, %d of them again, %d foreign", res.Served.A, res.Served.AAAA, res.Served.Repeated, res.Served.Foreign)
	if len(res.SocketErrors) > 0 {
		row("socket errors", "%s", errnos(res.SocketErrors))
	}
	if err := t.Flush(); err != nil {
		return fmt.Errorf("write summary: %w", err)
	}
	return nil
}

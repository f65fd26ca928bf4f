package resolve

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/netip"

	"verdictd/internal/netlab"
	"verdictd/internal/traffic/dns"
	"verdictd/stress/internal/record"
	"verdictd/stress/internal/summary"
	"verdictd/stress/internal/way"
)

// Config says what a run does.
type Config struct {
	DNS dns.Config
	Way way.Config
	// Makes says that the namespaces are made for the run: nothing was named in which something else could be.
	Makes bool
	// FailOnRetry makes an error of a resolution that had to ask again, or failed.
	FailOnRetry bool
}

// Prepare fills in what the namespaces bring that are made, and lists every problem.
func (c *Config) Prepare() error {
	if c.Makes {
		c.DNS.Target = netlab.Networks[c.Way.Family].Target
	}
	return c.DNS.Validate()
}

// Run resolves what a configuration says that is valid, and records what came of it.
func Run(ctx context.Context, cfg Config, to record.Config) (err error) {
	at, err := way.OpenBoth(cfg.Way, cfg.Makes)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, at.Close()) }()
	cfg.DNS.SenderNetns, cfg.DNS.ReceiverNetns = at.Sender, at.Receiver
	r, err := to.Open(at.Roles()...)
	if err != nil {
		return err
	}
	shown := to.Progress(0)
	of := cfg.DNS.Resolutions
	res, err := dns.Run(ctx, cfg.DNS, func(n int) { shown.Part(float64(n)/float64(of), "%d of %d resolutions", n, of) })
	shown.End()
	if err != nil {
		err = fmt.Errorf("dns: %w", err)
	}
	if res == nil {
		return errors.Join(err, r.Close())
	}
	if warning := res.Warning(); warning != "" {
		err = errors.Join(err, fmt.Errorf("dns: %s", warning))
	}
	if cfg.FailOnRetry && res.Retried+res.Failed > 0 {
		err = errors.Join(err, fmt.Errorf("dns: of %d resolutions %d had to ask again, and %d failed", res.Resolutions,
			res.Retried, res.Failed))
	}
	return errors.Join(err, r.Write("dns", res, func(w io.Writer) error { return summarize(w, res) }))
}

// summarize writes what a person wants to know first.
func summarize(w io.Writer, res *dns.Result) error {
	t := summary.New(w)
	c := &res.Config
	ended := ""
	switch {
	case res.Interrupted:
		ended = ", interrupted"
	case res.TimedOut:
		ended = ", timed out"
	}
	t.Row("dns", "%s, %s client, %s, %d attempts of %s", netip.AddrPortFrom(c.Target, c.Port), c.Client, c.Queries,
		c.Attempts, c.AttemptTimeout)
	t.Row("resolutions", "%d in %.3f s, %d at a time%s", res.Resolutions, res.Seconds, c.Parallel, ended)
	t.Row("outcome", "%d resolved, %d needed a retry, %d failed, %d wrong", res.Resolved, res.Retried, res.Failed,
		res.WrongAnswers)
	t.Row("time", "p50 %.3f ms, p90 %.3f ms, p99 %.3f ms, max %.3f ms", res.Time.P50, res.Time.P90, res.Time.P99,
		res.Time.Max)
	if q := res.Sent; q != nil {
		t.Row("asked", "%d A, %d AAAA, %d of them again; %d late answers", q.A, q.AAAA, q.Repeated, q.Late)
	}
	t.Row("served", "%d A, %d AAAA, %d of them again, %d foreign; %d names by questions of one flow", res.Served.A,
		res.Served.AAAA, res.Served.Repeated, res.Served.Foreign, res.Served.OneFlow)
	if len(res.SocketErrors) > 0 {
		t.Row("socket errors", "%s", summary.Counts(res.SocketErrors))
	}
	return t.Flush()
}

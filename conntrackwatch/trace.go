package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"time"

	"golang.org/x/sys/unix"

	"verdictd/conntrackwatch/internal/trace"
	"verdictd/internal/kernelfacts"
	"verdictd/internal/netlab"
)

type traceCmd struct {
	window
	Count    uint64       `help:"End after so many clashes. Without it: see --duration." placeholder:"N"`
	NetNS    string       `name:"netns" help:"Network namespace to trace, by its name (ip netns) or path. Default: the one that this program runs in." placeholder:"NAME|PATH"`
	AllNetNS bool         `name:"all-netns" help:"Trace all network namespaces of the machine." not:"netns"`
	Buffer   int          `help:"Room for clashes that wait to be shown, in bytes: a power of two." default:"${trace_buffer}"`
	Method   trace.Method `help:"How to attach to the kernel's functions: fentry, kprobe or the first that works." enum:"auto,fentry,kprobe" default:"auto"`
	Function string       `help:"The function that tells of clashes at confirm. The second costs more and cannot tell clashes from other drops." enum:"auto,nf_ct_resolve_clash,__nf_conntrack_confirm" default:"auto"`
}

// Help is called by kong.
func (c *traceCmd) Help() string {
	return "Shows each clash as the kernel meets it, one a line, by BPF programs at the kernel's functions; --json prints an object for each and" +
		" at last a summary. It needs CAP_BPF and CAP_PERFMON of the machine, Linux 5.10 or later with type information (/sys/kernel/btf/vmlinux)," +
		" and no lockdown for confidentiality. On 4.18 to 6.11 it shows the clashes that no counter sees. It does not subscribe to events."
}

// Validate is called by kong.
func (c *traceCmd) Validate() error {
	return c.config().Validate()
}

// config is the trace, still of all network namespaces.
func (c *traceCmd) config() trace.Config {
	cfg := trace.Config{Buffer: c.Buffer}
	if c.Method != "auto" {
		cfg.Method = c.Method
	}
	if c.Function != "auto" {
		cfg.Function = c.Function
	}
	return cfg
}

// Run is called by kong.
func (c *traceCmd) Run(ctx context.Context, out output) (err error) {
	ctx, cancel := c.context(ctx)
	defer cancel()
	cfg := c.config()
	if cfg.Netns, err = c.netns(); err != nil {
		return err
	}
	release, err := kernelfacts.Release()
	if err != nil {
		return err
	}
	tracer, err := trace.Open(cfg)
	if refused := (*trace.Refused)(nil); errors.As(err, &refused) {
		refused.WriteText(out.remarks, hidden(kernelfacts.ReadBuild(os.DirFS("/")).Value))
	}
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, tracer.Close()) }()
	start := time.Now()
	fmt.Fprintln(out.remarks, "conntrackwatch: "+trace.ProbesText(tracer.Probes(), tracer.WithoutReinjection()))
	if err := ready(); err != nil {
		return err
	}

	summary := trace.NewSummary(version, release, cfg.Netns, tracer.Probes())
	for err == nil {
		var clash trace.Clash
		if clash, err = tracer.Read(ctx); err != nil {
			break
		}
		if c.Count > 0 && summary.Shown == c.Count {
			continue // those that were under way when the last one came
		}
		summary.Take(&clash)
		err = c.show(out, clash)
		if summary.Shown == c.Count {
			cancel()
		}
	}
	if ctx.Err() != nil && errors.Is(err, ctx.Err()) {
		err = nil
	}
	// What was counted up to an error is worth printing too.
	summary.Seconds = time.Since(start).Seconds()
	counts, countsErr := tracer.Counts()
	summary.Counts = counts
	return errors.Join(err, countsErr, c.end(out, summary))
}

// end prints the summary, with --json as one more line.
func (c *traceCmd) end(out output, s trace.Summary) error {
	if !c.JSON {
		return writeText(out, s)
	}
	if err := json.NewEncoder(out.results).Encode(s); err != nil {
		return fmt.Errorf("write the summary: %w", err)
	}
	return nil
}

// show prints one clash.
func (c *traceCmd) show(out output, clash trace.Clash) error {
	var err error
	if c.JSON {
		err = json.NewEncoder(out.results).Encode(trace.Line{Kind: trace.KindClash, Clash: clash})
	} else {
		_, err = fmt.Fprintln(out.results, clash.Text(c.AllNetNS))
	}
	if err != nil {
		return fmt.Errorf("write a clash: %w", err)
	}
	return nil
}

// netns is the inode of the namespace to trace; 0: all.
func (c *traceCmd) netns() (uint32, error) {
	if c.AllNetNS {
		return 0, nil
	}
	path := "/proc/thread-self/ns/net"
	if c.NetNS != "" {
		name, err := netlab.FindNetNS(c.NetNS)
		if err != nil {
			return 0, err
		}
		path = name.Path
	}
	var info unix.Stat_t
	if err := unix.Stat(path, &info); err != nil {
		return 0, fmt.Errorf("find out which network namespace %s is: %w", path, err)
	}
	return uint32(info.Ino), nil
}

// hidden says which clashes the counters of the running kernel do not see.
func hidden(b kernelfacts.Build) string { return kernelfacts.CountersOf(b).Hidden() }

package dns

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"time"

	"verdictd/internal/cli"
	"verdictd/internal/config"
	"verdictd/internal/crash"
	"verdictd/internal/netlab"
	"verdictd/internal/report"
	resolver "verdictd/internal/traffic/dns"
	"verdictd/internal/vocabulary"
	"verdictd/lab/internal/testbed"
)

// Config says what is asked, by whom, and where the queue is.
type Config struct {
	Placement      string
	Family         string // that the resolver asks over
	Client         resolver.Client
	Queries        resolver.Queries
	Resolutions    int // in each row
	Parallel       int // of them at a time
	AttemptTimeout time.Duration
	Analysis       testbed.Analysis // what the daemon takes over a packet
}

// noQueue is the row without a daemon, in the place of a guard.
const noQueue = "no queue"

// Guards are the rows. What guard drop does to the second question is what kernels before 4.7 do to the loser of the
// clash.
var Guards = []string{noQueue, report.GuardOff, report.GuardDrop, report.GuardHold}

// way is how another resolver than glibc's asks.
type way struct {
	name    string
	queries resolver.Queries
	// often says that it waits for the timeout divided by the attempts.
	often bool
}

// ways are the resolvers that are shown beside the configured one: where what they send clashes, and what that costs
// them.
var ways = []way{
	{name: "musl", queries: resolver.Parallel, often: true},
	{name: "Go, systemd-resolved", queries: resolver.Separate},
}

// plan is the rows: each guard, and of other ways to ask those that show what clashes cost.
func (c *Config) plan() (rows []resolving) {
	for _, guard := range Guards {
		rows = append(rows, resolving{Config: c, run: Row{Guard: guard}})
	}
	if c.Client != resolver.Builtin || c.Queries != resolver.Parallel {
		return rows
	}
	for _, w := range ways {
		as := *c
		as.Queries = w.queries
		if w.often {
			as.AttemptTimeout /= time.Duration(resolver.Default().Attempts)
		}
		for _, guard := range []string{report.GuardOff, report.GuardDrop} {
			rows = append(rows, resolving{Config: &as, run: Row{Guard: guard, As: w.name}})
		}
	}
	return rows
}

// resolver is what stress is to do, but for the addresses.
func (c *Config) resolver() resolver.Config {
	r := resolver.Default()
	r.Target = netlab.Networks[c.Family].Target
	r.Client, r.Queries, r.Resolutions, r.Parallel, r.AttemptTimeout = c.Client, c.Queries, c.Resolutions, c.Parallel,
		c.AttemptTimeout
	// Every resolution may use up its attempts, with what glibc does beyond them, and the daemon takes its time
	// besides.
	attempts := 4 * r.Attempts * (c.Resolutions/max(1, c.Parallel) + 1)
	r.Timeout = min(resolver.MaxTimeout, time.Minute+time.Duration(attempts)*c.AttemptTimeout+time.Duration(8*c.Resolutions)*c.Analysis.Delay)
	return r
}

// Validate says all that is wrong.
func (c *Config) Validate() error {
	r := c.resolver()
	return r.Validate()
}

// Run goes from guard to guard, with its progress on w.
func Run(ctx context.Context, t *testbed.Testbed, c *Config, w io.Writer) (*Result, error) {
	result := &Result{
		Schema: Schema, Version: t.Version, Host: t.Host,
		Placement: c.Placement, Family: c.Family, Analysis: c.Analysis.String(),
		Notes: testbed.KernelNotes(t.Host.Kernel), Runs: []Row{},
	}
	if err := c.rows(ctx, t, result, w); err != nil {
		return nil, err
	}
	result.Interrupted = ctx.Err() != nil
	result.judge()
	return result, nil
}

func (c *Config) rows(ctx context.Context, t *testbed.Testbed, result *Result, w io.Writer) error {
	return testbed.WithFiles(func(dir string) {
		shown := cli.NewProgress(w)
		defer shown.End()
		plan := c.plan()
		result.planned = len(plan)
		for i := range plan {
			r := &plan[i]
			shown.Step(i+1, len(plan), "%s", r.run.name())
			r.Programs, r.cpus, r.dir = t.Programs, t.CPUs, filepath.Join(dir, strconv.Itoa(i))
			err := r.do(ctx)
			if ctx.Err() != nil {
				break // the interruption, and not a program, is what failed
			}
			if err != nil {
				r.run.Error = err.Error()
			}
			result.Runs = append(result.Runs, r.run)
			shown.Say("%s", r.run.line())
		}
	})
}

// resolving is one row: fresh namespaces, the programs in them, and what they saw.
type resolving struct {
	*Config
	testbed.Programs
	cpus []int
	dir  string // for the programs' files, not made yet
	run  Row
}

// do fills in the run. Whatever it started is gone when it returns.
func (r *resolving) do(ctx context.Context) (err error) {
	// of both, or getaddrinfo asks for one kind of record only
	t, err := testbed.NewTopology(r.Placement, netlab.Families()...)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, t.Close()) }()
	if err := os.Mkdir(r.dir, 0o700); err != nil {
		return fmt.Errorf("make a directory for the programs' files: %w", err)
	}
	g := testbed.NewGroup(ctx, r.dir)
	defer g.Close()

	statistics := filepath.Join(r.dir, "statistics.json")
	var daemon *testbed.Process
	if r.run.Guard != noQueue {
		if daemon, err = g.StartDaemon(t.Queue, r.Verdictd, r.daemonConfig(statistics)); err != nil {
			return err
		}
	}
	stats, err := g.StartService(t.Queue, r.Conntrackwatch, "stats", "--json")
	if err != nil {
		return err
	}
	stress, err := g.Start(t.Sender, true, nil, r.Stress, r.stressArgs(t)...)
	if err != nil {
		return err
	}
	config := r.resolver()
	if err := stress.Wait(config.Timeout + testbed.StopWithin); err != nil {
		return err
	}
	if err := r.run.takeStress(stress.Stdout.Bytes()); err != nil {
		return err
	}
	var counted report.Run
	if err := testbed.TakeCounters(&counted, stats, daemon, statistics, testbed.TakeDaemon); err != nil {
		return err
	}
	r.run.take(&counted)
	r.run.Tainted, err = crash.Taint()
	return err
}

func (r *resolving) stressArgs(t *netlab.Topology) []string {
	c := r.resolver()
	return []string{
		"dns", "--json", "-", "--target", c.Target.String(), "--client", string(c.Client), "--queries",
		string(c.Queries),
		"--resolutions", strconv.Itoa(c.Resolutions), "--parallel", strconv.Itoa(c.Parallel),
		"--attempt-timeout", c.AttemptTimeout.String(), "--attempts", strconv.Itoa(c.Attempts), "--timeout",
		c.Timeout.String(),
		"--sender-netns", t.Sender.Path(), "--receiver-netns", t.Receiver.Path(),
	}
}

// daemonConfig is the daemon's default but for what the row and the command line say.
func (r *resolving) daemonConfig(statistics string) *config.Config {
	const dns = 53
	c := config.Default()
	c.Queues.Pin = r.cpus[:min(c.Queues.Count, len(r.cpus))]
	c.Guard.Mode = vocabulary.GuardMode(r.run.Guard)
	c.Rules.Placement = vocabulary.Placement(r.Placement)
	c.Rules.DestinationPorts = []uint16{dns}
	if r.Placement == report.PlacementVerdict3 {
		c.Rules.SourcePorts = []uint16{dns}
	}
	c.Analysis.Distribution, c.Analysis.Delay = vocabulary.Distribution(r.Analysis.Distribution), r.Analysis.Delay
	if r.Analysis.Distribution != "none" {
		c.Queues.Batch = 1 // as in a row of the matrix
	}
	c.Statistics.File = statistics
	return c
}

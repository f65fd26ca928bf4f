package main

import (
	"fmt"
	"os"
	"path/filepath"

	"github.com/goccy/go-yaml"

	"verdictd/internal/config"
	"verdictd/internal/netlab"
	"verdictd/internal/report"
	"verdictd/internal/vocabulary"
)

// defaultQueueLength is the kernel's (NFQNL_QMAX_DEFAULT).
const defaultQueueLength = 1024

// startDaemon starts verdictd with a configuration, in the namespace that has the queue.
func (g *group) startDaemon(ns *netlab.NetNS, verdictd string, c *config.Config) (*process, error) {
	path, err := g.writeConfig("verdictd.yaml", c)
	if err != nil {
		return nil, err
	}
	return g.startService(ns, verdictd, "run", "--config", path)
}

// writeConfig writes a configuration into the group's directory.
func (g *group) writeConfig(name string, c *config.Config) (path string, err error) {
	text, err := yaml.Marshal(c)
	if err != nil {
		return "", fmt.Errorf("write verdictd's configuration: %w", err)
	}
	path = filepath.Join(g.dir, name)
	if err := os.WriteFile(path, text, 0o644); err != nil {
		return "", fmt.Errorf("write verdictd's configuration: %w", err)
	}
	return path, nil
}

// daemonConfig is the daemon's default but for what the row and the command line say.
func (e *experiment) daemonConfig(statistics string) *config.Config {
	c := config.Default()
	if !e.row.foreign() {
		c.Backend = vocabulary.Backend(e.row[backend])
	}
	c.Queues.Count = e.Queues
	c.Queues.Pin = e.cpus[:min(e.Queues, len(e.cpus))]
	// All that may be under way has to fit into one queue, replies included: a full queue is another experiment.
	if waiting := 2 * outstanding * e.Burst; waiting > defaultQueueLength {
		c.Queues.MaxLength = uint32(waiting)
	}
	c.Guard.Mode = vocabulary.GuardMode(e.row[guard])
	c.Rules.Placement = vocabulary.Placement(e.row[placement])
	c.Rules.Fanout = vocabulary.Fanout(e.row[fanout])
	c.Rules.Families = []vocabulary.Family{vocabulary.Family(e.row[family])}
	if e.row[kind] == report.TrafficICMP {
		c.Rules.Protocols = []vocabulary.Protocol{icmpProtocol(e.row[family])}
	} else {
		c.Rules.DestinationPorts = []uint16{port}
	}
	if e.row.echoes() || e.row[kind] == report.TrafficBothEnds {
		c.Rules.SourcePorts = []uint16{port}
	}
	c.Analysis.Distribution = vocabulary.Distribution(e.Analysis.Distribution)
	c.Analysis.Delay = e.Analysis.Delay
	if e.Analysis.Distribution != "none" {
		// Who thinks before each verdict takes one packet at a time, as Verdict3 did: a verdict's latency is then its own, and
		// not that of those before it in the batch.
		c.Queues.Batch = 1
	}
	c.Statistics.File = statistics
	return c
}

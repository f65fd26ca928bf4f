package matrix

import (
	"golang.org/x/sys/unix"

	"verdictd/internal/config"
	"verdictd/internal/report"
	"verdictd/internal/vocabulary"
	"verdictd/lab/internal/testbed"
)

// daemonConfig is the daemon's default but for what the row and the command line say.
func (e *experiment) daemonConfig(statistics string) *config.Config {
	c := config.Default()
	if !e.row.foreign() {
		c.Backend = vocabulary.Backend(e.row[backend])
	}
	c.Queues.Count = e.config.Queues
	c.Queues.Pin = e.cpus[:min(e.config.Queues, len(e.cpus))]
	// All that may be under way has to fit into one queue, replies included: a full queue is another experiment.
	if waiting := 2 * testbed.Outstanding * e.config.Burst; waiting > vocabulary.DefaultQueueLength {
		c.Queues.MaxLength = uint32(waiting)
	}
	c.Guard.Mode = vocabulary.GuardMode(e.row[guard])
	c.Rules.Placement = vocabulary.Placement(e.row[placement])
	c.Rules.Fanout = vocabulary.Fanout(e.row[fanout])
	c.Rules.Families = []vocabulary.Family{vocabulary.Family(e.row[family])}
	if e.row[kind] == report.TrafficICMP {
		c.Rules.Protocols = []vocabulary.Protocol{icmpProtocol(e.row[family])}
	} else {
		c.Rules.DestinationPorts = []uint16{testbed.Port}
	}
	if e.row.echoes() || e.row[kind] == report.TrafficBothEnds {
		c.Rules.SourcePorts = []uint16{testbed.Port}
	}
	c.Analysis.Distribution = vocabulary.Distribution(e.config.Analysis.Distribution)
	c.Analysis.Delay = e.config.Analysis.Delay
	if e.config.Analysis.Distribution != "none" {
		// Who thinks before each verdict takes one packet at a time, as Verdict3 did: a verdict's latency is then its
		// own, and not that of those before it in the batch.
		c.Queues.Batch = 1
	}
	c.Statistics.File = statistics
	return c
}

// icmpProtocol is echo requests' of a family.
func icmpProtocol(family string) vocabulary.Protocol {
	if family == "ipv6" {
		return unix.IPPROTO_ICMPV6
	}
	return unix.IPPROTO_ICMP
}

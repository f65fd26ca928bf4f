package config

import (
	"fmt"
	"net/netip"
	"path/filepath"
	"slices"
	"time"

	"verdictd/internal/vocabulary"
)

const (
	// The kernel cuts SO_RCVBUF to half an int without a word.
	maxReceiveBuffer = 1<<30 - 1
	// A CPU set of sched_setaffinity has 1,024 bits here.
	maxCPU = 1023
	// More than conntrack itself holds on most machines.
	maxFlows = 1 << 24
	// As many as anybody has processors for.
	// MaxGateQueues is the most threads that a gate has.
	MaxGateQueues = 64
	// A daemon takes some 100 ms to start.
	minLongestWait = time.Second
	// Nobody waits for a packet for longer.
	maxLongestWait = 10 * time.Minute
	// A program that asks a person takes minutes.
	maxHold = time.Hour
	// One packet of the greatest length.
	minHeldBytes = 65535
	// Beyond this the kernel's memory for held packets is another name for a crash.
	maxHeldBytes = 1 << 30
	// A log with more lines about packets a second is a disk that is full.
	maxLoggedDrops = 1000
	// Conntrack's longest timeouts for what has no connections are minutes.
	maxSettledTimeout = time.Hour
)

// check reports what is wrong with the values, one by one and together.
func (f *file) check(c *Config) {
	if c.Failure.LongestWait != 0 {
		f.within("failure.longest_wait", c.Failure.LongestWait, minLongestWait, maxLongestWait)
	}
	for i, path := range c.Privileges.Paths {
		if !filepath.IsAbs(path) {
			f.wrong(fmt.Sprintf("privileges.paths[%d]", i), "%q is no absolute path: begin it with a slash", path)
		}
	}
	f.checkQueues(&c.Queues)
	f.checkGuard(c)
	f.checkRules(&c.Rules)
	if most := c.Rules.Fanout.MaxQueues(); c.Queues.Count > most {
		f.wrong("queues.count", "fan-out %s serves at most %d queues, not %d: lower count, or set rules.fanout to balance or cpu", c.Rules.Fanout, most, c.Queues.Count)
	}
	f.checkPolicy(c)
	f.checkMarks(c)
	f.checkAnalysis(&c.Analysis)
	f.checkControl(&c.Control)
	f.between("log.drops", c.Log.Drops, 0, maxLoggedDrops)
	if c.Metrics.WebConfig != "" && c.Metrics.Listen == "" {
		f.wrong("metrics.web_config", "has no effect without metrics.listen: set that, or take it out")
	}
	if listen := c.Metrics.Listen; listen != "" {
		if _, err := netip.ParseAddrPort(listen); err != nil {
			f.wrong("metrics.listen", "%q is no address and port: write one like 127.0.0.1:9470 or [::1]:9470", listen)
		}
	}
}

// maxSocket is the longest path of a socket (sockaddr_un's sun_path, less the end).
const maxSocket = 107

func (f *file) checkControl(c *Control) {
	switch {
	case c.Socket == "":
	case !filepath.IsAbs(c.Socket):
		f.wrong("control.socket", "%q is no absolute path: write one like %s, or \"\" for none", c.Socket, DefaultSocket)
	case len(c.Socket) > maxSocket:
		f.wrong("control.socket", "has %d bytes, and a socket's path has at most %d: choose a shorter one", len(c.Socket), maxSocket)
	}
}

// between reports a number that is out of its range.
func (f *file) between(key string, n, least, most int) {
	if n < least || n > most {
		f.wrong(key, "must be from %d to %d, not %d", least, most, n)
	}
}

func (f *file) checkQueues(q *Queues) {
	f.between("queues.count", q.Count, 1, vocabulary.MaxQueue)
	if last := int(q.First) + q.Count - 1; last > vocabulary.MaxQueue && q.Count <= vocabulary.MaxQueue {
		f.wrong("queues.count", "%d queues from %d on end at %d, and the last that exists is %d: lower first or count", q.Count, q.First, last, vocabulary.MaxQueue)
	}
	if q.CopyRange != CopyAuto {
		f.between("queues.copy_range", int(q.CopyRange), 0, vocabulary.MaxCopyRange)
	}
	f.between("queues.receive_buffer", q.ReceiveBuffer, 0, maxReceiveBuffer)
	f.between("queues.receive_buffer_max", q.ReceiveBufferMax, 0, maxReceiveBuffer)
	f.between("queues.batch", q.Batch, 1, vocabulary.MaxBatch)
	for i, cpu := range q.Pin {
		f.between(fmt.Sprintf("queues.pin[%d]", i), cpu, 0, maxCPU)
	}
}

func (f *file) checkGuard(c *Config) {
	g := &c.Guard
	f.between("guard.queues", g.Queues, 0, MaxGateQueues)
	f.checkGateQueues(c)
	f.within("guard.hold", g.Hold, time.Millisecond, maxHold)
	f.within("guard.hold_limit", g.HoldLimit, time.Millisecond, maxHold)
	if g.HoldLimit > 0 && g.Hold > g.HoldLimit {
		f.wrong("guard.hold_limit", "%v is less than hold (%v), which would never be reached: raise hold_limit or lower hold", g.HoldLimit, g.Hold)
	}
	f.between("guard.flows", g.Flows, 1, maxFlows)
	f.between("guard.flow_packets", g.FlowPackets, 1, vocabulary.MaxQueue)
	f.between("guard.bytes", g.Bytes, minHeldBytes, maxHeldBytes)
	if g.SettledTimeout != 0 {
		f.within("guard.settled_timeout", g.SettledTimeout, time.Second, maxSettledTimeout)
	}
	f.between("guard.settled_size", int(min(g.SettledSize, maxFlows+1)), 2, maxFlows)
	f.checkPorts("guard.exempt_ports", g.ExemptPorts, "take it out")
	repeated(f, "guard.exempt_ports", g.ExemptPorts)
}

// checkGateQueues holds the gate's queues against the last number and the queues of
// the verdicts. How many conntrack zones there are is not known yet, each of which
// takes as many again.
func (f *file) checkGateQueues(c *Config) {
	threads, why := c.gateThreads()
	first, last := int(c.Guard.FirstQueue), int(c.Guard.FirstQueue)+2*threads-1
	from, to := int(c.Queues.First), int(c.Queues.First)+c.Queues.Count-1
	switch {
	case f.bad["guard.queues"], f.bad["queues.count"]:
	case last > vocabulary.MaxQueue:
		f.wrong("guard.first_queue", "the gate's %d queues from %d on end at %d, and the last that exists is %d%s: lower first_queue, or have fewer threads (guard.queues)", 2*threads, first, last, vocabulary.MaxQueue, why)
	case c.Guard.Mode != vocabulary.GuardOff && first <= to && from <= last:
		f.wrong("guard.first_queue", "the gate's queues %d to %d overlap those of queues.first and queues.count, %d to %d%s: move one of them", first, last, from, to, why)
	}
}

// gateThreads is how many threads the gate may have, on a machine with as many CPUs as it takes, and why, where
// that is not written.
func (c *Config) gateThreads() (threads int, why string) {
	if c.Guard.Queues == 0 && c.Rules.Install && c.Rules.Fanout == vocabulary.FanoutCPU {
		return max(min(c.Queues.Count, MaxGateQueues), 1), " (guard.queues 0 with rules.fanout cpu: a thread for each queue)"
	}
	return max(c.Guard.Queues, 1), ""
}

// checkPorts reports port 0.
func (f *file) checkPorts(key string, ports []uint16, instead string) {
	if i := slices.Index(ports, 0); i >= 0 {
		f.wrong(fmt.Sprintf("%s[%d]", key, i), "must be from 1 to 65535: %s", instead)
	}
}

// within reports a duration that is out of its range.
func (f *file) within(key string, d, least, most time.Duration) {
	if d < least || d > most {
		f.wrong(key, "must be from %v to %v, not %v", least, most, d)
	}
}

func (f *file) positive(key string, d time.Duration) {
	if d <= 0 {
		f.wrong(key, "must be above 0, not %v", d)
	}
}

func (f *file) checkRules(r *Rules) {
	if err := vocabulary.CheckTableName(r.Table); err != nil {
		f.wrong("rules.table", "%v", err)
	}
	if len(r.Families) == 0 {
		f.wrong("rules.families", "is empty: write ipv4, ipv6 or both")
	}
	if len(r.Protocols) == 0 {
		f.wrong("rules.protocols", "is empty: name the protocols to queue")
	}
	for _, list := range []struct {
		key   string
		ports []uint16
	}{{"rules.destination_ports", r.DestinationPorts}, {"rules.source_ports", r.SourcePorts}} {
		f.checkPorts(list.key, list.ports, "an empty list is all ports")
	}
	for i, protocol := range r.Protocols {
		if len(r.DestinationPorts)+len(r.SourcePorts) > 0 && !vocabulary.HasPorts(uint8(protocol)) {
			f.wrong(fmt.Sprintf("rules.protocols[%d]", i), "%v has no ports, so that it would never be queued: take it out, or the lists of ports", protocol)
		}
	}
	repeated(f, "rules.families", r.Families)
	repeated(f, "rules.protocols", r.Protocols)
	repeated(f, "rules.destination_ports", r.DestinationPorts)
	repeated(f, "rules.source_ports", r.SourcePorts)
}

// repeated reports what a list has twice.
func repeated[T comparable](f *file, key string, list []T) {
	for i, v := range list {
		if slices.Index(list, v) < i {
			f.wrong(fmt.Sprintf("%s[%d]", key, i), "%v is in the list already", v)
		}
	}
}

func (f *file) checkAnalysis(a *Analysis) {
	if a.Distribution != vocabulary.DistributionNone {
		f.positive("analysis.delay", a.Delay)
	} else if a.Delay != 0 {
		f.wrong("analysis.delay", "%v has no effect with distribution none: choose fixed, uniform or lognormal, or set delay to 0s", a.Delay)
	}
	// Not ">= 0": that is false for NaN, too.
	if !(a.Sigma > 0 && a.Sigma <= 10) {
		f.wrong("analysis.sigma", "must be above 0 and at most 10, not %v", a.Sigma)
	}
	if a.Max < 0 {
		f.wrong("analysis.max", "must be 0s (no limit) or above, not %v", a.Max)
	}
	if a.Max > 0 && a.Max < a.Delay {
		f.wrong("analysis.max", "%v is less than delay (%v), which would never be reached: raise max or lower delay", a.Max, a.Delay)
	}
}

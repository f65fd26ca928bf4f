package matrix

import (
	"net/netip"
	"strconv"
	"time"

	"verdictd/internal/netlab"
	"verdictd/internal/report"
	"verdictd/lab/internal/testbed"
)

// mode is how stress sends a burst.
func (e *experiment) mode() string {
	switch {
	case e.row[kind] == report.TrafficBothEnds:
		return "cross"
	case e.machine:
		return "sendmmsg"
	}
	return "threads"
}

// threads is how many threads send a burst. Under numgen the packets of one thread take different queues, which have no
// common order: there every packet has a thread of its own, so that none is promised.
func (e *experiment) threads() int {
	switch {
	case e.row[kind] == report.TrafficBothEnds:
		return max(2, e.config.Threads) // one for each end
	case e.row[fanout] == report.FanoutNumgen && !e.machine:
		return e.config.Burst
	}
	return e.config.Threads
}

// stressArgs has the addresses spread over the flows and every wait bounded.
func (e *experiment) stressArgs(t *netlab.Topology) []string {
	n := netlab.Networks[e.row[family]]
	args := []string{
		"clash", "--json", "-",
		"--target", e.target(n).String(), "--port", strconv.Itoa(testbed.Port),
		"--flows", strconv.Itoa(e.config.Flows), "--burst", strconv.Itoa(e.config.Burst),
		// Not aimed: that clashes without a queue as well, and what a placement adds is to be seen.
		"--threads", strconv.Itoa(e.threads()), "--mode", e.mode(), "--no-aim",
		"--pace", "full", "--outstanding", strconv.Itoa(testbed.Outstanding), "--flow-timeout",
		e.flowTimeout().String(),
		"--linger", e.linger().String(), "--timeout", e.timeout().String(),
		"--sender-netns", t.Sender.Path(), "--receiver-netns", t.Receiver.Path(),
	}
	for _, a := range n.SourceList() {
		args = append(args, "--source", a.String())
	}
	if e.row.echoes() {
		args = append(args, "--echo")
	}
	if e.row[kind] == report.TrafficICMP {
		args = append(args, "--protocol", "icmp")
	}
	if e.row[nat] == report.NATBackends {
		for _, a := range n.Backends() {
			args = append(args, "--backend", a.String())
		}
	}
	return args
}

// target is where packets are sent to.
func (e *experiment) target(n netlab.Network) netip.Addr {
	if e.row[nat] == report.NATBackends {
		return n.Virtual
	}
	return n.Target
}

// backlog is how long the daemon needs at most for the packets that wait at one time, all of them in one queue.
func (e *experiment) backlog() time.Duration {
	return e.judging(testbed.Outstanding * e.config.Burst)
}

// judging is how long one thread takes over so many packets, with room for distributions whose mean is above their
// delay.
func (e *experiment) judging(packets int) time.Duration {
	if e.row.echoes() {
		packets *= 2
	}
	return 2 * time.Duration(packets) * e.config.Analysis.Delay
}

// flowTimeout is when stress gives a flow up to begin another one. Where packets are to be lost that is the rule.
// Elsewhere a packet is lost, or this machine is too busy: giving up early would then fill the queue.
func (e *experiment) flowTimeout() time.Duration {
	if e.row.loses() {
		return 50*time.Millisecond + e.backlog()
	}
	if e.machine {
		return 30 * time.Second
	}
	return 2*time.Second + e.backlog()
}

// linger is how long stress waits for stragglers when all was sent: by then the last flows' packets are still in the
// queue. It ends when all have arrived, so there can be time for a machine that is busy, but not where some never do.
func (e *experiment) linger() time.Duration {
	if e.row.loses() {
		return 500*time.Millisecond + e.backlog()
	}
	if e.machine {
		return time.Minute
	}
	return 5*time.Second + e.backlog()
}

// timeout bounds the sending: a minute, a millisecond a flow, and the time that the daemon is made to take.
func (e *experiment) timeout() time.Duration {
	bound := time.Minute + e.judging(e.config.Flows*e.config.Burst) + time.Duration(e.config.Flows)*time.Millisecond +
		e.linger()
	if e.machine {
		bound += time.Duration(e.config.Flows) * 250 * time.Millisecond
	}
	if e.row.loses() {
		bound += time.Duration(e.config.Flows/testbed.Outstanding+1) * e.flowTimeout()
	}
	return bound
}

package main

import (
	"encoding/json"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"verdictd/daemon/internal/engine"
	"verdictd/daemon/internal/gate/runner"
	"verdictd/internal/config"
	"verdictd/internal/nfq"
)

// statistics is the file that is written when the daemon stops.
type statistics struct {
	Schema  int    `json:"schema"`
	Version string `json:"version"`
	Backend string `json:"backend"`
	Guard   string `json:"guard"`
	// Seconds from the start of the service to its stop.
	Seconds float64           `json:"seconds"`
	Queues  []queueStatistics `json:"queues,omitempty"`
	Total   *queueTotals      `json:"total,omitempty"`
	// Gate is absent where there was none.
	Gate *gateStatistics `json:"gate,omitempty"`
	// CPUPerPacket is the process's user and system time in that span, in
	// microseconds, by packets received; 0 if there were none.
	CPUPerPacket float64 `json:"cpu_us_per_packet"`
	// RSS is resident memory in KiB: at the start, at the end, and its peak.
	RSS residentSet `json:"rss_kib"`
}

type residentSet struct {
	Start int64 `json:"start"`
	End   int64 `json:"end"`
	Max   int64 `json:"max"`
}

// kernelDrops are packets that never reached the daemon.
type kernelDrops struct {
	// QueueDropped found the queue full, UserDropped the receive buffer.
	QueueDropped uint64 `json:"queue_dropped"`
	UserDropped  uint64 `json:"user_dropped"`
}

// gateStatistics are the gate's, of each of its threads and in sum.
type gateStatistics struct {
	Queues []runner.Counters `json:"queues"`
	Total  gateTotals        `json:"total"`
}

type gateTotals struct {
	runner.Counters
	kernelDrops
}

type queueTotals struct {
	engine.Result
	kernelDrops
}

type queueStatistics struct {
	Queue uint16 `json:"queue"`
	// CPU that the queue's thread is pinned to; -1: none.
	CPU int `json:"cpu"`
	queueTotals
}

// usage is what the process had used when the service began.
type usage struct {
	at  time.Time
	cpu time.Duration
	rss int64
}

func startUsage() usage {
	return usage{at: time.Now(), cpu: processTime(), rss: memory("VmRSS")}
}

// processTime is the user and system time of all threads so far.
func processTime() time.Duration {
	var r unix.Rusage
	if err := unix.Getrusage(unix.RUSAGE_SELF, &r); err != nil {
		return 0 // fails for wrong arguments only
	}
	return time.Duration(r.Utime.Nano() + r.Stime.Nano())
}

// memory is a line of /proc/self/status in KiB; 0 where procfs does not tell.
// Its VmHWM is the process's own peak, while ru_maxrss survives an exec and so
// may be the parent's.
func memory(line string) int64 {
	b, err := os.ReadFile("/proc/self/status")
	if err != nil {
		return 0
	}
	for l := range strings.Lines(string(b)) {
		if rest, ok := strings.CutPrefix(l, line+":"); ok {
			kib, _ := strconv.ParseInt(strings.TrimSuffix(strings.TrimSpace(rest), " kB"), 10, 64)
			return kib
		}
	}
	return 0
}

// newStatistics are those of a process without queues.
func newStatistics(cfg *config.Config, began usage) *statistics {
	return &statistics{
		Schema: 2, Version: version, Backend: string(cfg.Backend),
		Seconds: time.Since(began.at).Seconds(),
		RSS:     residentSet{Start: began.rss, End: memory("VmRSS"), Max: memory("VmHWM")},
	}
}

// share divides the CPU time since the start by packets.
func (st *statistics) share(began usage, cpu time.Duration, packets uint64) {
	if packets > 0 {
		st.CPUPerPacket = float64((cpu - began.cpu).Nanoseconds()) / 1e3 / float64(packets)
	}
}

// collect gathers the statistics when the workers have ended.
func (s *service) collect(kernel []nfq.KernelQueue) *statistics {
	cpu := processTime()
	queues, total := s.engine.Results()
	st := newStatistics(s.cfg, s.usage)
	st.Guard, st.Gate = string(s.keeper.mode(&s.keeper.now)), s.keeper.statistics(kernel)
	st.Total = &queueTotals{Result: total}
	st.share(s.usage, cpu, total.Received)
	for i, r := range queues {
		q := queueStatistics{Queue: s.cfg.Queues.First + uint16(i), CPU: -1, queueTotals: queueTotals{Result: r}}
		if pin := s.cfg.Queues.Pin; len(pin) > 0 {
			q.CPU = pin[i%len(pin)]
		}
		for _, k := range kernel {
			if k.Queue == q.Queue {
				q.QueueDropped, q.UserDropped = uint64(k.QueueDropped), uint64(k.UserDropped)
			}
		}
		st.Total.QueueDropped += q.QueueDropped
		st.Total.UserDropped += q.UserDropped
		st.Queues = append(st.Queues, q)
	}
	return st
}

// statistics of the gate, and of those before it; nil where there was none.
func (k *keeper) statistics(kernel []nfq.KernelQueue) *gateStatistics {
	if k.gate == nil {
		return nil
	}
	queues, total := k.gate.Results()
	g := &gateStatistics{Queues: queues, Total: gateTotals{Counters: total}}
	g.Total.Add(&k.closed.Counters)
	var passed uint64
	g.Total.QueueDropped, g.Total.UserDropped, passed = k.gate.Drops(kernel)
	g.Total.Unguarded += passed
	g.Total.UnguardedSocket += passed
	return g
}

// write puts the statistics into a file; "-" is standard output, "" nothing.
func (st *statistics) write(name string) error {
	if name == "" {
		return nil
	}
	var w io.Writer = os.Stdout
	if name != "-" {
		f, err := os.Create(name)
		if err != nil {
			return fmt.Errorf("write statistics: %w", err)
		}
		defer func() { _ = f.Close() }()
		w = f
	}
	e := json.NewEncoder(w)
	e.SetIndent("", "  ")
	if err := e.Encode(st); err != nil {
		return fmt.Errorf("write statistics to %s: %w", name, err)
	}
	return nil
}

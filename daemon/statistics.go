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

	"verdictd/internal/engine"
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
	Queues  []queueStatistics `json:"queues"`
	Total   queueTotals       `json:"total"`
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

// collect gathers the statistics when the workers have ended.
func (s *service) collect(kernel []nfq.KernelQueue) *statistics {
	cpu := processTime()
	queues, total := s.engine.Results()
	st := &statistics{
		Schema: 1, Version: version, Backend: string(s.cfg.Backend), Guard: string(s.guard.mode),
		Seconds: time.Since(s.usage.at).Seconds(),
		Total:   queueTotals{Result: total},
		RSS:     residentSet{Start: s.usage.rss, End: memory("VmRSS"), Max: memory("VmHWM")},
	}
	if total.Received > 0 {
		st.CPUPerPacket = float64((cpu - s.usage.cpu).Nanoseconds()) / 1e3 / float64(total.Received)
	}
	for i, r := range queues {
		q := queueStatistics{Queue: s.cfg.Queues.First + uint16(i), CPU: -1, queueTotals: queueTotals{Result: r}}
		if pin := s.cfg.Queues.Pin; len(pin) > 0 {
			q.CPU = pin[i%len(pin)]
		}
		for _, k := range kernel {
			for _, offset := range queueOffsets(s.guard.entries) {
				if k.Queue == q.Queue+offset {
					q.QueueDropped += uint64(k.QueueDropped)
					q.UserDropped += uint64(k.UserDropped)
				}
			}
		}
		st.Total.QueueDropped += q.QueueDropped
		st.Total.UserDropped += q.UserDropped
		st.Queues = append(st.Queues, q)
	}
	return st
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

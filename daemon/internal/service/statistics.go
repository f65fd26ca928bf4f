package service

import (
	"encoding/json"
	"fmt"
	"os"
	"time"

	"github.com/prometheus/procfs"
	"golang.org/x/sys/unix"

	"verdictd/internal/cli"
	"verdictd/internal/config"
	"verdictd/internal/nfq"
	"verdictd/internal/statistics"
)

// usage is what the process had used when the service began.
type usage struct {
	at  time.Time
	cpu time.Duration
	rss uint64
}

func startUsage() usage {
	rss, _ := memory()
	return usage{at: time.Now(), cpu: processTime(), rss: rss}
}

// processTime is the user and system time of all threads so far.
func processTime() time.Duration {
	var r unix.Rusage
	if err := unix.Getrusage(unix.RUSAGE_SELF, &r); err != nil {
		return 0 // fails for wrong arguments only
	}
	return time.Duration(r.Utime.Nano() + r.Stime.Nano())
}

// memory is what is resident now and was at its peak, in KiB; 0 where procfs does not
// tell. Its peak is the process's own, while ru_maxrss survives an exec and so may be
// the parent's.
func memory() (now, peak uint64) {
	p, err := procfs.Self()
	if err != nil {
		return 0, 0
	}
	status, err := p.NewStatus()
	if err != nil {
		return 0, 0
	}
	return status.VmRSS / 1024, status.VmHWM / 1024
}

// newStatistics are those of a process without queues.
func newStatistics(cfg *config.Config, began usage, version string) *statistics.Document {
	now, peak := memory()
	return &statistics.Document{
		Schema: statistics.Schema, Version: version, Backend: string(cfg.Backend),
		Seconds: time.Since(began.at).Seconds(),
		RSS:     statistics.Memory{Start: began.rss, End: now, Max: peak},
	}
}

// perPacket divides the CPU time since the start by packets, in microseconds.
func (u *usage) perPacket(cpu time.Duration, packets uint64) float64 {
	if packets == 0 {
		return 0
	}
	return float64((cpu - u.cpu).Nanoseconds()) / 1e3 / float64(packets)
}

// collect gathers the statistics when the workers have ended.
func (s *service) collect(kernel []nfq.KernelQueue) *statistics.Document {
	cpu := processTime()
	r := s.engine.Results()
	d := newStatistics(s.cfg, s.usage, s.version)
	d.Guard, d.Gate = string(s.keeper.Mode()), s.keeper.Statistics(kernel)
	d.Total = &statistics.Totals{Verdicts: r.Total}
	d.CPUPerPacket = s.usage.perPacket(cpu, r.Total.Received)
	d.Rules = r.Rules
	for i, v := range r.Queues {
		q := statistics.QueueVerdicts{Queue: s.cfg.Queues.First + uint16(i), CPU: -1, Totals: statistics.Totals{Verdicts: v}}
		if pin := s.cfg.Queues.Pin; len(pin) > 0 {
			q.CPU = pin[i%len(pin)]
		}
		for _, k := range kernel {
			if k.Queue == q.Queue {
				q.QueueDropped, q.UserDropped = uint64(k.QueueDropped), uint64(k.UserDropped)
			}
		}
		statistics.Add(&d.Total.KernelDrops, &q.KernelDrops)
		d.Queues = append(d.Queues, q)
	}
	return d
}

// writeStatistics puts them into a file; "-" is standard output, "" nothing.
func writeStatistics(d *statistics.Document, name string) error {
	if name == "" {
		return nil
	}
	text, err := json.MarshalIndent(d, "", "  ")
	if err != nil {
		return fmt.Errorf("write statistics: %w", err)
	}
	text = append(text, '\n')
	if name == "-" {
		_, err = os.Stdout.Write(text)
	} else {
		err = cli.WriteFile(name, text)
	}
	if err != nil {
		return fmt.Errorf("write statistics: %w", err)
	}
	return nil
}

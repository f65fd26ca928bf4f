package service

import (
	"encoding/json"
	"fmt"
	"os"
	"time"

	"github.com/prometheus/procfs"
	"golang.org/x/sys/unix"

	"verdictd/daemon/internal/sets/live"
	"verdictd/internal/cli"
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

// perPacket divides the CPU time since the start by packets, in microseconds.
func (u *usage) perPacket(cpu time.Duration, packets uint64) float64 {
	if packets == 0 {
		return 0
	}
	return float64((cpu - u.cpu).Nanoseconds()) / 1e3 / float64(packets)
}

// collect gathers the statistics so far; cpu is what the process has used for them.
func (s *service) collect(kernel []nfq.KernelQueue, cpu time.Duration) *statistics.Document {
	now, peak := memory()
	d := &statistics.Document{
		Schema: statistics.Schema, Version: s.Version, Backend: string(s.cfg.Backend),
		Seconds: time.Since(s.usage.at).Seconds(),
		RSS:     statistics.Memory{Start: s.usage.rss, End: now, Max: peak},
		Guard:   string(s.keeper.Mode()), Gate: s.keeper.Statistics(kernel),
	}
	if m := s.seen.monitor; m != nil && d.Gate != nil {
		for _, k := range kernel {
			if b := m.Backlog(k.Queue); s.keeper.Owns(k.Queue) {
				d.Gate.Total.Waiting += b.Waiting
				d.Gate.Total.OldestSeconds = max(d.Gate.Total.OldestSeconds, b.OldestSeconds)
			}
		}
	}
	switch {
	case s.engine != nil:
		s.collectVerdicts(d, kernel)
		d.CPUPerPacket = s.usage.perPacket(cpu, d.Total.Received)
	case d.Gate != nil:
		d.CPUPerPacket = s.usage.perPacket(cpu, d.Gate.Total.Received)
	}
	return d
}

func (s *service) collectVerdicts(d *statistics.Document, kernel []nfq.KernelQueue) {
	r := s.engine.Results()
	d.Total, d.Rules = &statistics.Totals{Verdicts: r.Total}, r.Rules
	for i := range min(s.judging.Policy.Rules(), len(d.Rules)) { // those in force, in their order
		d.Rules[i].LimitShared = s.judging.Policy.Shared(i)
	}
	if s.samples != nil {
		c := s.samples.Counts()
		d.Samples = &statistics.Samples{Written: c.Written, Lost: c.Lost}
	}
	for _, set := range s.judging.sets {
		d.Sets = append(d.Sets, statisticsOf(set, r.SetHits[set.Name]))
	}
	buffers := s.engine.ReceiveBuffers()
	for i, v := range r.Queues {
		q := statistics.QueueVerdicts{Queue: s.engine.Queue(i), CPU: -1, Totals: statistics.Totals{Verdicts: v}}
		if pin := s.cfg.Queues.Pin; len(pin) > 0 {
			q.CPU = pin[i%len(pin)]
		}
		for _, k := range kernel {
			if k.Queue == q.Queue {
				q.QueueDropped, q.UserDropped = uint64(k.QueueDropped), uint64(k.UserDropped)
			}
		}
		if m := s.seen.monitor; m != nil {
			q.Backlog = m.Backlog(q.Queue)
		}
		if i < len(buffers) {
			q.ReceiveBuffer = uint64(buffers[i])
		}
		statistics.Add(&d.Total.KernelDrops, &q.KernelDrops)
		d.Queues = append(d.Queues, q)
	}
}

// statisticsOf is how a set fares.
func statisticsOf(set *live.Set, hits uint64) statistics.Set {
	h := set.Health()
	d := statistics.Set{
		Name: set.Name, Type: string(set.Type), Hits: hits, Entries: uint64(h.Entries),
		LoadedSeconds: float64(h.Loaded.UnixMilli()) / 1e3, Loads: h.Loads, Errors: h.Errors,
	}
	if h.Error != nil {
		d.Failed, d.Error = 1, h.Error.Error()
	}
	return d
}

// kernelQueues are those that the kernel tells of.
func (s *service) kernelQueues() []nfq.KernelQueue {
	kernel, err := nfq.ReadKernelQueues()
	if err != nil {
		s.Log.Warn("the kernel's drop counters are unknown", "error", err)
	}
	return kernel
}

// writeNow is what SIGUSR1 asks for: the statistics so far, in the log where no file is
// configured.
func (s *service) writeNow() {
	d := s.collect(s.kernelQueues(), processTime())
	if s.cfg.Statistics.File != "" {
		if err := writeStatistics(d, s.cfg.Statistics.File); err != nil {
			s.Log.Error("statistics", "error", err)
			return
		}
		s.Log.Info("statistics written", "file", s.cfg.Statistics.File)
		return
	}
	text, err := json.Marshal(d)
	if err != nil {
		s.Log.Error("statistics", "error", err)
		return
	}
	s.Log.Info("statistics", "document", string(text))
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

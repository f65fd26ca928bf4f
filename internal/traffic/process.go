package traffic

import (
	"errors"
	"fmt"
	"io/fs"
	"syscall"
	"time"

	"github.com/prometheus/procfs"
)

// Process is what was seen of another process.
type Process struct {
	PID         int    `json:"pid"`
	Name        string `json:"name"`
	Memory      Span   `json:"rss_bytes"`
	Descriptors Span   `json:"descriptors"`
	Samples     int    `json:"samples"`
	Ended       bool   `json:"ended"` // while it was watched
}

// Span is a figure over time. Warm is what it was when the program had warmed up.
type Span struct {
	Start uint64 `json:"start"`
	Warm  uint64 `json:"warm"`
	End   uint64 `json:"end"`
	Max   uint64 `json:"max"`
}

func (s *Span) take(v uint64, first, warm bool) {
	if first {
		s.Start = v
	}
	if first || warm {
		s.Warm = v
	}
	s.End = v
	s.Max = max(s.Max, v)
}

// A ProcessWatch samples processes.
type ProcessWatch struct {
	processes []Process
	procs     []procfs.Proc
	started   []uint64 // when each was started, as a number may be given again
	warm      bool
}

// WatchProcesses takes the first sample. It fails where a process is not there, or may not be looked at.
func WatchProcesses(pids []int) (*ProcessWatch, error) {
	w := &ProcessWatch{}
	var errs []error
	for _, pid := range pids {
		p, err := procfs.NewProc(pid)
		if errors.Is(err, fs.ErrNotExist) {
			errs = append(errs, fmt.Errorf("watch process %d: there is none", pid))
			continue
		}
		if err != nil {
			errs = append(errs, fmt.Errorf("watch process %d: %w", pid, err))
			continue
		}
		stat, err := p.Stat()
		if err != nil {
			errs = append(errs, fmt.Errorf("watch process %d: %w", pid, err))
			continue
		}
		w.processes = append(w.processes, Process{PID: pid, Name: stat.Comm})
		w.procs = append(w.procs, p)
		w.started = append(w.started, stat.Starttime)
	}
	return w, errors.Join(append(errs, w.Sample())...)
}

// Warm says that the programs have warmed up by the next sample.
func (w *ProcessWatch) Warm() { w.warm = true }

// Sample reads all processes that are still there.
func (w *ProcessWatch) Sample() error {
	var errs []error
	for i := range w.processes {
		p := &w.processes[i]
		if p.Ended {
			continue
		}
		err := w.sample(i)
		switch {
		case errors.Is(err, fs.ErrPermission):
			errs = append(errs, fmt.Errorf("watch process %d (%s): %w: run as root, or as its user", p.PID, p.Name, err))
		case errors.Is(err, fs.ErrNotExist), errors.Is(err, syscall.ESRCH):
			p.Ended = true
		case err != nil:
			errs = append(errs, fmt.Errorf("watch process %d (%s): %w", p.PID, p.Name, err))
		}
	}
	w.warm = false
	return errors.Join(errs...)
}

func (w *ProcessWatch) sample(i int) error {
	p := &w.processes[i]
	stat, err := w.procs[i].Stat()
	if err != nil {
		return err
	}
	// A process that has ended stays for its parent to see, without memory.
	if stat.Starttime != w.started[i] || stat.State == "Z" || stat.State == "X" {
		p.Ended = true
		return nil
	}
	descriptors, err := w.procs[i].FileDescriptorsLen()
	if err != nil {
		return err
	}
	first := p.Samples == 0
	p.Memory.take(uint64(stat.ResidentMemory()), first, w.warm)
	p.Descriptors.take(uint64(descriptors), first, w.warm)
	p.Samples++
	return nil
}

// Run samples every so often until stop is closed, and once more then. After warmUp the programs count as warm.
func (w *ProcessWatch) Run(stop <-chan struct{}, every, warmUp time.Duration) error {
	ticks := time.NewTicker(every)
	defer ticks.Stop()
	warm := time.NewTimer(warmUp)
	defer warm.Stop()
	for {
		select {
		case <-stop:
			return w.Sample()
		case <-warm.C:
			w.Warm()
		case <-ticks.C:
		}
		if err := w.Sample(); err != nil {
			return err
		}
	}
}

// Processes is what was seen, in the order that was asked for.
func (w *ProcessWatch) Processes() []Process { return w.processes }

// Violations say what a process held on to: memory beyond a growth since it was warm, more descriptors than some since
// the start; or that it ended.
func (p *Process) Violations(growth, descriptors uint64) []string {
	var all []string
	violated := func(format string, args ...any) {
		all = append(all, fmt.Sprintf("%s (process %d) "+format, append([]any{p.Name, p.PID}, args...)...))
	}
	if p.Ended {
		violated("ended")
		return all
	}
	if m := p.Memory; m.End > m.Warm+growth {
		violated("grew from %d to %d KiB since it was warm (allowed growth %d KiB)", m.Warm>>10, m.End>>10, growth>>10)
	}
	if d := p.Descriptors; d.End > d.Start+descriptors {
		violated("has %d descriptors open, %d at the start (allowed growth %d)", d.End, d.Start, descriptors)
	}
	return all
}

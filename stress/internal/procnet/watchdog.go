package procnet

import (
	"fmt"
	"os"
	"strings"
	"sync/atomic"
	"time"

	"github.com/prometheus/procfs"
)

// worker is a thread whose steps are counted.
type worker struct {
	role  string
	tid   atomic.Int64
	steps atomic.Uint64
	doing atomic.Pointer[string]
	over  atomic.Bool
}

// step notes what the worker is about to do.
func (w *worker) step(doing string) {
	w.doing.Store(&doing)
	w.steps.Add(1)
}

// watchdog finds workers that take no step.
type watchdog struct {
	workers []*worker
	seen    []uint64
	since   []time.Time
}

func newWatchdog(workers []*worker, now time.Time) *watchdog {
	d := &watchdog{workers: workers, seen: make([]uint64, len(workers)), since: make([]time.Time, len(workers))}
	for i, w := range workers {
		d.seen[i], d.since[i] = w.steps.Load(), now
	}
	return d
}

// look returns those that have taken no step for so long.
func (d *watchdog) look(now time.Time, limit time.Duration) (hanging []*worker, since []time.Time) {
	for i, w := range d.workers {
		if n := w.steps.Load(); n != d.seen[i] || w.over.Load() {
			d.seen[i], d.since[i] = n, now
			continue
		}
		if now.Sub(d.since[i]) >= limit {
			hanging, since = append(hanging, w), append(since, d.since[i])
		}
	}
	return hanging, since
}

// describe says where a worker hangs, as far as that may be read.
func describe(w *worker, since, now time.Time) Hang {
	h := Hang{Thread: int(w.tid.Load()), Role: w.role, For: now.Sub(since).Seconds(), State: "?", Stack: []string{}}
	if doing := w.doing.Load(); doing != nil {
		h.Doing = *doing
	}
	proc, err := procfs.NewDefaultFS()
	if err != nil {
		return h
	}
	thread, err := proc.Thread(os.Getpid(), h.Thread)
	if err != nil {
		return h
	}
	if stat, err := thread.Stat(); err == nil {
		h.State = stat.State
	}
	h.Wchan, _ = thread.Wchan() // empty where it may not be read
	stack := fmt.Sprintf("/proc/self/task/%d/stack", h.Thread)
	if b, err := os.ReadFile(stack); err == nil {
		for line := range strings.Lines(string(b)) {
			h.Stack = append(h.Stack, strings.TrimSpace(line))
		}
	}
	return h
}

package overload

import (
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"time"

	"verdictd/internal/nfq"
	"verdictd/internal/statistics"
)

// Source is what has workers that packets wait for: the verdict engine, or the gate.
// Its functions are called from one goroutine.
type Source struct {
	Name string
	// Owns tells its queues.
	Owns func(queue uint16) bool
	// Workers are how its workers are, given the kernel's queues. It may take a while.
	Workers func(kernel []nfq.KernelQueue) []Worker
	// Grow gives a queue that loses packets a larger receive buffer and returns its size;
	// 0: it has the largest that it may have. nil: never.
	Grow func(queue uint16) (granted int, err error)
}

// Config says what a Monitor looks at.
type Config struct {
	Log     *slog.Logger
	Sources []Source
	// StuckAfter is how long a worker may stand while packets wait.
	StuckAfter time.Duration
	// OnStuck is told how many workers stand for longer; nil: nobody is.
	OnStuck func(workers int)
}

// every is the time between two looks.
const every = 250 * time.Millisecond

// Monitor looks at the kernel's queues and at workers.
type Monitor struct {
	cfg      Config
	kernel   *nfq.KernelQueues
	watchdog watchdog
	end      chan struct{}
	ended    sync.WaitGroup

	// Of the goroutine.
	queues   map[uint16]*queue
	episodes map[string]*episode
	workers  map[string]*progress
	looked   time.Time
	failed   bool // to read the queues, as was said

	mutex   sync.Mutex // for what follows, which others ask for
	backlog map[uint16]statistics.Backlog
	stuck   []string
}

// queue is what is known of one of the kernel's.
type queue struct {
	port uint32
	lost drops
	ages ages
}

// Start begins to look at the queues of the calling thread's network namespace.
func Start(cfg Config) (*Monitor, error) {
	kernel, err := nfq.OpenKernelQueues()
	if err != nil {
		return nil, fmt.Errorf("watch over the queues: %w", err)
	}
	m := &Monitor{
		cfg: cfg, kernel: kernel, watchdog: newWatchdog(cfg.Log), end: make(chan struct{}),
		queues: map[uint16]*queue{}, episodes: map[string]*episode{}, workers: map[string]*progress{},
		looked: time.Now(), backlog: map[uint16]statistics.Backlog{},
	}
	m.look(m.looked) // what the queues have lost before is known, and no news
	m.ended.Go(m.run)
	return m, nil
}

// Stop ends it, with a last look.
func (m *Monitor) Stop() error {
	close(m.end)
	m.ended.Wait()
	return m.kernel.Close()
}

// Backlog is how a queue stood at the last look.
func (m *Monitor) Backlog(queue uint16) statistics.Backlog {
	m.mutex.Lock()
	defer m.mutex.Unlock()
	return m.backlog[queue]
}

// Stuck names the workers that make no progress; nil: all move, or have nothing to do.
func (m *Monitor) Stuck() error {
	m.mutex.Lock()
	defer m.mutex.Unlock()
	if len(m.stuck) == 0 {
		return nil
	}
	return fmt.Errorf("no progress while packets wait: %s", strings.Join(m.stuck, ", "))
}

func (m *Monitor) run() {
	ticker := time.NewTicker(every)
	defer ticker.Stop()
	for {
		select {
		case <-m.end:
			m.look(time.Now())
			return
		case now := <-ticker.C:
			m.look(now)
		}
	}
}

// look looks once.
func (m *Monitor) look(now time.Time) {
	// A process that was stopped as a whole (SIGSTOP, a frozen container) has not stood.
	passed := min(now.Sub(m.looked), 4*every)
	m.looked = now
	kernel, err := m.kernel.Read()
	if err != nil && !m.failed {
		m.failed = true
		m.cfg.Log.Error("loss of packets is not seen", "error", err)
	}
	backlog := map[uint16]statistics.Backlog{}
	var stuck []string
	for i := range m.cfg.Sources {
		s := &m.cfg.Sources[i]
		m.losses(s, now, kernel, backlog)
		stuck = append(stuck, m.standing(s, passed, kernel)...)
	}
	m.mutex.Lock()
	m.backlog, m.stuck = backlog, stuck
	m.mutex.Unlock()
	if m.cfg.OnStuck != nil {
		m.cfg.OnStuck(len(stuck))
	}
	if len(stuck) == 0 {
		m.watchdog.feed(m.cfg.Log, now)
	}
}

// losses looks at the queues of a source.
func (m *Monitor) losses(s *Source, now time.Time, kernel []nfq.KernelQueue, backlog map[uint16]statistics.Backlog) {
	var lost drops
	var waiting uint32
	var oldest time.Duration
	var full []uint16
	for _, k := range kernel {
		if !s.Owns(k.Queue) {
			continue
		}
		q, known := m.queues[k.Queue]
		if !known || q.port != k.PortID {
			// Bound again, its counters begin at 0; at the first look it may have lost before.
			q = &queue{port: k.PortID, lost: drops{uint64(k.QueueDropped), uint64(k.UserDropped)}}
			if known {
				q.lost = drops{}
			}
			m.queues[k.Queue] = q
		}
		// They wrap at 32 bits.
		now32 := drops{uint64(uint32(uint64(k.QueueDropped) - q.lost.queue)), uint64(uint32(uint64(k.UserDropped) - q.lost.user))}
		q.lost = drops{uint64(k.QueueDropped), uint64(k.UserDropped)}
		lost = lost.plus(now32)
		if now32 != (drops{}) {
			full = append(full, k.Queue)
		}
		if now32.user > 0 {
			m.grow(s, k.Queue)
		}
		age := q.ages.oldest(now, k.IDSequence, k.Queued)
		backlog[k.Queue] = statistics.Backlog{Waiting: uint64(k.Queued), OldestSeconds: age.Seconds()}
		waiting, oldest = waiting+k.Queued, max(oldest, age)
	}
	e := m.episodes[s.Name]
	if e == nil {
		e = &episode{}
		m.episodes[s.Name] = e
	}
	e.note(m.cfg.Log, now, lost, "of", s.Name, "queues", full, "waiting", waiting, "oldest", oldest.Round(time.Millisecond))
}

// grow gives a queue a larger receive buffer.
func (m *Monitor) grow(s *Source, queue uint16) {
	if s.Grow == nil {
		return
	}
	granted, err := s.Grow(queue)
	switch {
	case err != nil:
		m.cfg.Log.Warn("the receive buffer stays as it is", "queue", queue, "error", err)
	case granted > 0:
		m.cfg.Log.Warn("the receive buffer has grown, as it was full", "queue", queue, "bytes", granted)
	}
}

// standing names the workers of a source that are stuck.
func (m *Monitor) standing(s *Source, passed time.Duration, kernel []nfq.KernelQueue) (stuck []string) {
	for _, w := range s.Workers(kernel) {
		p := m.workers[w.Name]
		if p == nil {
			p = &progress{judged: w.Judged - 1}
			m.workers[w.Name] = p
		}
		if p.step(m.cfg.Log, &w, passed, m.cfg.StuckAfter) {
			stuck = append(stuck, w.Name)
		}
	}
	return stuck
}

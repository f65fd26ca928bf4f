package runner

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"runtime/pprof"
	"sync"

	"golang.org/x/sys/unix"

	"verdictd/internal/nfnl"
)

// Start begins to serve. Failed tells of workers that cannot go on.
func (g *Gate) Start() {
	g.started, g.ran = true, true
	g.threadsEnded = nfnl.AddThreads(len(g.workers) + otherThreads)
	var begin sync.WaitGroup // for Pin
	begin.Add(len(g.workers))
	for _, w := range g.workers {
		g.group.Go(func() {
			runtime.LockOSThread() // for good: the thread ends with the goroutine
			pprof.SetGoroutineLabels(pprof.WithLabels(context.Background(), pprof.Labels("worker", Name(w.number))))
			w.thread = unix.Gettid()
			err := nfnl.PrepareThread(g.cfg.Pin, w.number)
			begin.Done()
			if err != nil {
				g.failed <- fmt.Errorf("a thread of the gate: %w", err)
				return
			}
			defer w.ended.Store(true)
			w.window.Shut()
			defer w.window.Open()
			if err := w.run(); err != nil {
				g.failed <- err
			}
		})
	}
	begin.Wait()
	go g.watcher.run()
	go g.lister.run(&g.listing, g.cfg.Notice)
}

// otherThreads are the watcher's, that of its barriers, and the lister's.
const otherThreads = 3

// Name is what thread i of a gate is called, in profiles too.
func Name(i int) string { return fmt.Sprintf("gate %d", i) }

// Pin moves the threads to other CPUs after Start, which Config.Pin says in the same way.
// Errors: CPUs that the process may not use.
func (g *Gate) Pin(pin []int) error {
	var errs []error
	for _, w := range g.workers {
		if err := nfnl.MoveThread(w.thread, pin, w.number, g.anywhere); err != nil {
			errs = append(errs, fmt.Errorf("pin a thread of the gate: %w", err))
		}
	}
	return errors.Join(errs...)
}

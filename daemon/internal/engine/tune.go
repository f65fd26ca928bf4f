package engine

import (
	"errors"
	"fmt"

	"verdictd/internal/nfnl"
	"verdictd/internal/nfq"
)

// Tune has all queues have other settings from now on.
func (e *Engine) Tune(t nfq.Tuned) error {
	var errs []error
	for _, w := range e.present() {
		if err := w.queue.Tune(t); err != nil {
			errs = append(errs, err)
			continue
		}
		w.queueLength.Store(t.MaxLength)
	}
	return errors.Join(errs...)
}

// ErrNoThread says that a worker has no thread of its own: its backend has others.
var ErrNoThread = errors.New("the worker has no thread of its own")

// Pin moves the workers' threads to other CPUs, which Config.Pin says in the same way.
// The kernel has moved one when it runs next. Errors: ErrNoThread among others; threads
// may be moved then.
func (e *Engine) Pin(pin []int) error {
	var errs []error
	for i, w := range e.present() {
		thread := int(w.thread.Load())
		err := ErrNoThread
		if thread != 0 {
			err = nfnl.MoveThread(thread, pin, i, e.anywhere)
		}
		if err != nil {
			errs = append(errs, fmt.Errorf("pin %s: %w", e.Name(i), err))
		}
	}
	return errors.Join(errs...)
}

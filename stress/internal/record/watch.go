package record

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"sync"
	"time"

	"verdictd/internal/crash"
	"verdictd/internal/results"
)

const (
	// watchInterval is how often the kernel is looked at during a run.
	watchInterval = time.Second
	// finishReport is how long the kernel may take to print a report to its end.
	finishReport = 300 * time.Millisecond
)

// watch looks whether the kernel breaks while a scenario runs: before, at intervals, and after. What comes is told
// at once, and written to the result file at once, as the machine may not live to the end of the run.
type watch struct {
	kernel *crash.Watch
	stderr io.Writer
	record *Record
	ended  sync.Once
	stop   chan struct{}
	done   chan struct{}

	mu      sync.Mutex
	found   crash.Findings
	err     error           // of the last look
	partial json.RawMessage // what the scenario has flushed last; empty: an empty object
}

// startWatch begins a watch of the kernel's log, or of the file that stands for it.
func startWatch(r *Record, log string, stderr io.Writer) (*watch, error) {
	start := crash.Start
	if log != "" {
		start = func() (*crash.Watch, error) { return crash.StartFrom(log) }
	}
	kernel, err := start()
	if err != nil {
		return nil, err
	}
	w := &watch{
		kernel: kernel, stderr: stderr, record: r,
		stop: make(chan struct{}), done: make(chan struct{}), partial: json.RawMessage("{}"),
	}
	w.look()
	if err := w.flush(nil); err != nil {
		return nil, errors.Join(err, kernel.Close())
	}
	go w.run()
	return w, nil
}

func (w *watch) run() {
	defer close(w.done)
	tick := time.NewTicker(watchInterval)
	defer tick.Stop()
	for {
		select {
		case <-w.stop:
			return
		case <-tick.C:
			if w.look() {
				// It is for the run's end to say that this could not be written.
				_ = w.flush(nil)
			}
		}
	}
}

// look reports whether something new was found.
func (w *watch) look() bool {
	found, err := w.kernel.Check()
	w.mu.Lock()
	before := w.found
	w.found, w.err = found, err
	w.mu.Unlock()
	news := found.NewTaint() &^ before.NewTaint()
	if len(before.Reports) == len(found.Reports) && news == 0 {
		return false
	}
	for _, r := range found.Reports[min(len(before.Reports), len(found.Reports)):] {
		fmt.Fprintf(w.stderr, "stress: THE KERNEL REPORTS: %s\n", r.Title)
	}
	if news != 0 {
		fmt.Fprintf(w.stderr, "stress: THE KERNEL IS TAINTED: %s\n", crash.DescribeTaint(news))
	}
	return true
}

// flush writes an incomplete document: with the scenario's part if it is given, else with the one given last.
func (w *watch) flush(res any) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if res != nil {
		part, err := json.Marshal(res)
		if err != nil {
			return fmt.Errorf("encode a result: %w", err)
		}
		w.partial = part
	}
	r := w.record
	if r.file == nil || r.file.special {
		return nil
	}
	document, err := results.Document(r.header, &w.found, w.partial)
	if err != nil {
		return err
	}
	return r.file.replace(document)
}

// end stops watching, quotes what was found, and says so in its error.
func (w *watch) end() (*crash.Findings, error) {
	w.ended.Do(func() {
		close(w.stop)
		<-w.done
		w.look()
		if w.found.Broken() {
			time.Sleep(finishReport)
			w.look()
			_ = w.flush(nil) // the run's end writes it once more, and tells where it cannot
		}
		w.err = errors.Join(w.err, w.kernel.Close())
	})
	quoteReports(w.stderr, w.found.Reports)
	if w.found.Broken() {
		return &w.found, errors.Join(fmt.Errorf("the kernel broke: %s", describeFindings(&w.found)), w.err)
	}
	return &w.found, w.err
}

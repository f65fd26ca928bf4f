package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
	"sync"
	"time"

	"verdictd/internal/crash"
	"verdictd/internal/provenance"
)

const (
	// watchInterval is how often the kernel is looked at during a run.
	watchInterval = time.Second
	// finishReport is how long the kernel may take to print a report to its end.
	finishReport = 300 * time.Millisecond
	// quotedLines bounds what a report is quoted with on stderr. The result file has it whole.
	quotedLines = 60
)

// kernelWatch looks whether the kernel breaks while a scenario runs: before, at intervals, and after. What comes is told
// at once, and written to the result file at once, as the machine may not live to the end of the run.
type kernelWatch struct {
	watch  *crash.Watch
	stderr io.Writer
	result *result
	ended  sync.Once
	stop   chan struct{}
	done   chan struct{}

	mu      sync.Mutex
	found   crash.Findings
	err     error           // of the last look
	partial json.RawMessage // what the scenario has flushed last; empty: an empty object
}

func (s *streams) watchKernel(r *result) (*kernelWatch, error) {
	start := crash.Start
	if s.kernelLog != "" {
		start = func() (*crash.Watch, error) { return crash.StartFrom(s.kernelLog) }
	}
	watch, err := start()
	if err != nil {
		return nil, err
	}
	w := &kernelWatch{watch: watch, stderr: s.stderr, result: r, stop: make(chan struct{}), done: make(chan struct{}), partial: json.RawMessage("{}")}
	w.look()
	if err := w.flush(nil); err != nil {
		return nil, errors.Join(err, watch.Close())
	}
	go w.run()
	return w, nil
}

func (w *kernelWatch) run() {
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
func (w *kernelWatch) look() bool {
	found, err := w.watch.Check()
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
		fmt.Fprintf(w.stderr, "stress: THE KERNEL IS TAINTED ANEW: %s\n", crash.DescribeTaint(news))
	}
	return true
}

// flush writes an incomplete document: with the scenario's part if it is given, else with the one given last.
func (w *kernelWatch) flush(res any) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if res != nil {
		part, err := json.Marshal(res)
		if err != nil {
			return fmt.Errorf("encode a result: %w", err)
		}
		w.partial = part
	}
	r := w.result
	if r.file == nil || r.file.special != nil {
		return nil
	}
	document, err := provenance.Document(r.header, &w.found, w.partial)
	if err != nil {
		return err
	}
	return r.file.replace(document)
}

// end stops watching, quotes what was found, and says so in its error.
func (w *kernelWatch) end() (*crash.Findings, error) {
	w.ended.Do(func() {
		close(w.stop)
		<-w.done
		w.look()
		if w.found.Broken() {
			time.Sleep(finishReport)
			w.look()
			_ = w.flush(nil) // the run's end writes it once more, and tells where it cannot
		}
		w.err = errors.Join(w.err, w.watch.Close())
	})
	quoteReports(w.stderr, w.found.Reports)
	if w.found.Broken() {
		return &w.found, errors.Join(fmt.Errorf("the kernel broke: %s", describeFindings(&w.found)), w.err)
	}
	return &w.found, w.err
}

// quoteReports shows each report and what is known about it.
func quoteReports(to io.Writer, reports []crash.Report) {
	for i, r := range reports {
		fmt.Fprintf(to, "kernel report %d of %d: %s\n", i+1, len(reports), classify(&r))
		for j, line := range r.Lines {
			if j == quotedLines {
				fmt.Fprintf(to, "  | ... %d more lines\n", len(r.Lines)-j)
				break
			}
			fmt.Fprintf(to, "  | %s\n", line)
		}
	}
}

func classify(r *crash.Report) string {
	if r.Signature == "" {
		return r.Kind + ", not one that this program knows"
	}
	return fmt.Sprintf("%s, known as %s. %s", r.Kind, r.Signature, r.About)
}

// describeFindings is what came, in one line.
func describeFindings(f *crash.Findings) string {
	var parts []string
	for _, r := range f.Reports {
		name := r.Signature
		if name == "" {
			name = "unknown"
		}
		parts = append(parts, fmt.Sprintf("%s (%s: %s)", r.Kind, name, r.Title))
	}
	if n := f.NewTaint(); n != 0 {
		parts = append(parts, fmt.Sprintf("taint %#x became %#x (%s)", f.TaintBefore, f.TaintAfter, crash.DescribeTaint(n)))
	}
	return strings.Join(parts, "; ")
}

// summarizeKernel adds to a summary what there is to say of the kernel, if there is.
func summarizeKernel(to io.Writer, f *crash.Findings) error {
	var err error
	if f.Broken() {
		_, err = fmt.Fprintf(to, "THE KERNEL BROKE  %s\n", describeFindings(f))
	}
	if f.Unread != "" && err == nil {
		_, err = fmt.Fprintf(to, "kernel log  unknown: %s; the taint mask was %#x before and %#x after\n", f.Unread, f.TaintBefore, f.TaintAfter)
	}
	if err != nil {
		return fmt.Errorf("write summary: %w", err)
	}
	return nil
}

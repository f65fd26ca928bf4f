package overload

import (
	"bytes"
	"fmt"
	"log/slog"
	"runtime/pprof"
	"strings"
	"time"
)

// Worker is one that should move while packets wait.
type Worker struct {
	// Name is its label `worker` in profiles.
	Name string
	// Moving: it has answered. One that waits for packets does.
	Moving bool
	// Waiting packets, and how many were judged so far; both 0 where the kernel does not
	// tell.
	Waiting, Judged uint32
}

// progress is what is known of one worker.
type progress struct {
	judged uint32
	stood  time.Duration // for so long
	said   time.Duration // of that, when it was logged; 0: not yet
}

// step notes how a worker is after some time, and reports whether it is stuck.
func (p *progress) step(log *slog.Logger, w *Worker, passed, limit time.Duration) bool {
	moved := w.Moving && (w.Waiting == 0 || w.Judged != p.judged)
	p.judged = w.Judged
	if moved {
		if p.said > 0 {
			log.Warn("a worker moves again", "worker", w.Name, "stood", p.stood.Round(time.Second))
		}
		p.stood, p.said = 0, 0
		return false
	}
	p.stood += passed
	if p.stood < limit {
		return false
	}
	if p.said == 0 || p.stood-p.said >= sayAgain {
		p.said = p.stood
		log.Error("a worker makes no progress while packets wait", "worker", w.Name, "for", p.stood.Round(time.Second), "waiting", w.Waiting)
		log.Error("where the worker stands", "worker", w.Name, "stack", stack(w.Name))
	}
	return true
}

// stack is where the goroutines of a worker are, as far as they can be told.
func stack(worker string) string {
	var b bytes.Buffer
	if err := pprof.Lookup("goroutine").WriteTo(&b, 1); err != nil {
		return err.Error()
	}
	label := fmt.Sprintf("%q:%q", "worker", worker)
	var found []string
	for goroutine := range strings.SplitSeq(b.String(), "\n\n") {
		if strings.Contains(goroutine, label) {
			found = append(found, goroutine)
		}
	}
	if len(found) == 0 {
		return "unknown: it has a thread of its library's"
	}
	return strings.Join(found, "\n")
}

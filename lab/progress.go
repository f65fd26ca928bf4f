package main

import (
	"fmt"
	"io"
	"time"

	"verdictd/internal/cli"
	"verdictd/internal/report"
)

// progress says on stderr how far the matrix is: on a terminal in one line that is rewritten, elsewhere a line a run.
type progress struct {
	w        io.Writer
	terminal bool
	total    int
	begun    time.Time
}

func newProgress(w io.Writer, total int) *progress {
	return &progress{w: w, terminal: cli.IsTerminal(w), total: total, begun: time.Now()}
}

func (p *progress) starts(n int, run *report.Run) {
	if p.terminal {
		fmt.Fprintf(p.w, "\r\x1b[K[%d/%d, %.0f s] %s", n, p.total, time.Since(p.begun).Seconds(), run.Name())
	}
}

func (p *progress) ended(n int, run *report.Run) {
	result := fmt.Sprintf("%d clashes, %d of %d packets lost", run.Clashes(), run.Lost, run.Sent)
	if run.Error != "" {
		result = "error: " + run.Error
	}
	switch {
	case !p.terminal:
		fmt.Fprintf(p.w, "[%d/%d, %.0f s] %s: %s\n", n, p.total, time.Since(p.begun).Seconds(), run.Name(), result)
	case run.Error != "":
		fmt.Fprintf(p.w, "\r\x1b[K%s: %s\n", run.Name(), result)
	}
}

// clear takes the line away, so that the results do not begin in it.
func (p *progress) clear() {
	if p.terminal {
		fmt.Fprint(p.w, "\r\x1b[K")
	}
}

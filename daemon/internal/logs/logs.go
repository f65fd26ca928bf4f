package logs

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"os"
	"sync"

	"github.com/coreos/go-systemd/v22/journal"

	"verdictd/internal/vocabulary"
)

// New makes a log on standard error. Its level may be changed at any time.
func New(format vocabulary.LogFormat, level *slog.LevelVar) *slog.Logger {
	// An error is about JOURNAL_STREAM, which is nobody's that this program should mind.
	inJournal, _ := journal.StderrIsJournalStream()
	return slog.New(newHandler(os.Stderr, format, level, inJournal))
}

// Level is a level's, as slog has it.
func Level(l vocabulary.LogLevel) slog.Level {
	switch l {
	case vocabulary.LevelDebug:
		return slog.LevelDebug
	case vocabulary.LevelWarn:
		return slog.LevelWarn
	case vocabulary.LevelError:
		return slog.LevelError
	}
	return slog.LevelInfo
}

func newHandler(w io.Writer, format vocabulary.LogFormat, level slog.Leveler, inJournal bool) slog.Handler {
	options := &slog.HandlerOptions{Level: level}
	p := &priorities{to: w}
	if inJournal {
		options.ReplaceAttr = withoutTime
		w = p
	}
	var h slog.Handler = slog.NewTextHandler(w, options)
	if format == vocabulary.FormatJSON {
		h = slog.NewJSONHandler(w, options)
	}
	if inJournal {
		return &prefixed{h, p}
	}
	return h
}

// withoutTime leaves the time out, which the journal has by itself.
func withoutTime(groups []string, a slog.Attr) slog.Attr {
	if len(groups) == 0 && a.Key == slog.TimeKey {
		return slog.Attr{}
	}
	return a
}

// priorities writes lines with the priority that the journal takes off (sd-daemon(3)).
type priorities struct {
	mutex    sync.Mutex
	to       io.Writer
	priority int
	line     []byte
}

// Write implements io.Writer, for one line.
func (p *priorities) Write(b []byte) (int, error) {
	p.line = append(fmt.Appendf(p.line[:0], "<%d>", p.priority), b...)
	if _, err := p.to.Write(p.line); err != nil {
		return 0, err
	}
	return len(b), nil
}

// prefixed has a handler write its lines with priorities.
type prefixed struct {
	slog.Handler
	to *priorities
}

// Handle implements slog.Handler.
func (h *prefixed) Handle(ctx context.Context, r slog.Record) error {
	h.to.mutex.Lock()
	defer h.to.mutex.Unlock()
	h.to.priority = priority(r.Level)
	return h.Handler.Handle(ctx, r)
}

// WithAttrs implements slog.Handler.
func (h *prefixed) WithAttrs(a []slog.Attr) slog.Handler {
	return &prefixed{h.Handler.WithAttrs(a), h.to}
}

// WithGroup implements slog.Handler.
func (h *prefixed) WithGroup(name string) slog.Handler {
	return &prefixed{h.Handler.WithGroup(name), h.to}
}

// priority is syslog's number of a level.
func priority(l slog.Level) int {
	switch {
	case l >= slog.LevelError:
		return int(journal.PriErr)
	case l >= slog.LevelWarn:
		return int(journal.PriWarning)
	case l >= slog.LevelInfo:
		return int(journal.PriInfo)
	}
	return int(journal.PriDebug)
}

package progress

import (
	"fmt"
	"io"

	"verdictd/internal/cli"
)

// Line says how far something long is: on a terminal in its last line, which is rewritten.
type Line struct {
	w        io.Writer
	Terminal bool
}

// NewLine is a line on w, which may be a terminal.
func NewLine(w io.Writer) *Line {
	return &Line{w: w, Terminal: cli.IsTerminal(w)}
}

// Rewrite shows what goes on now, on a terminal only.
func (p *Line) Rewrite(format string, args ...any) {
	if p.Terminal {
		fmt.Fprintf(p.w, "\r\x1b[K"+format, args...)
	}
}

// Say writes a line that stays.
func (p *Line) Say(format string, args ...any) {
	p.Clear()
	fmt.Fprintf(p.w, format+"\n", args...)
}

// Clear takes the rewritten line away, so that the results do not begin in it.
func (p *Line) Clear() {
	if p.Terminal {
		fmt.Fprint(p.w, "\r\x1b[K")
	}
}

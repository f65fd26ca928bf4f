package main

import (
	"fmt"
	"io"

	"verdictd/internal/cli"
)

// progressLine says how far something long is: on a terminal in its last line, which is rewritten.
type progressLine struct {
	w        io.Writer
	terminal bool
}

func newProgressLine(w io.Writer) *progressLine {
	return &progressLine{w: w, terminal: cli.IsTerminal(w)}
}

// rewrite shows what goes on now, on a terminal only.
func (p *progressLine) rewrite(format string, args ...any) {
	if p.terminal {
		fmt.Fprintf(p.w, "\r\x1b[K"+format, args...)
	}
}

// say writes a line that stays.
func (p *progressLine) say(format string, args ...any) {
	p.clear()
	fmt.Fprintf(p.w, format+"\n", args...)
}

// clear takes the rewritten line away, so that the results do not begin in it.
func (p *progressLine) clear() {
	if p.terminal {
		fmt.Fprint(p.w, "\r\x1b[K")
	}
}

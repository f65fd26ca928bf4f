package record

import (
	"fmt"

	"verdictd/internal/cli"
	"verdictd/internal/traffic"
)

const clearLine = "\r\x1b[K"

// Progress returns what shows a run's progress in one line of a terminal, and what takes that line away. Where
// Stderr is no terminal both do nothing.
func (c Config) Progress(line func(traffic.Progress) string) (show func(traffic.Progress), done func()) {
	write, done := c.Line()
	if write == nil {
		return nil, done
	}
	return func(p traffic.Progress) { write(line(p)) }, done
}

// Line returns what shows a text in the last line of a terminal, and what takes that line away. Where Stderr is no
// terminal there is nothing to show it: nil.
func (c Config) Line() (show func(text string), done func()) {
	if !cli.IsTerminal(c.Stderr) {
		return nil, func() {}
	}
	return func(text string) { fmt.Fprint(c.Stderr, clearLine+text) }, func() { fmt.Fprint(c.Stderr, clearLine) }
}

// Flows is such a line for a run of so many flows.
func Flows(flows int) func(traffic.Progress) string {
	return func(p traffic.Progress) string {
		return fmt.Sprintf("%d of %d flows, %d packets delivered", p.Flows, flows, p.Counts.Delivered)
	}
}

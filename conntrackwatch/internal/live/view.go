package live

import (
	"context"
	"fmt"
	"io"
	"strings"
	"time"

	"verdictd/conntrackwatch/internal/observe"
	"verdictd/internal/cli"
	"verdictd/internal/kernelfacts"
)

// Widths of the view: of a row's name, of its value and its peak, and of the longest sparkline that is kept.
const (
	nameWidth  = 17
	valueWidth = 8
	kept       = 500
)

// View draws a terminal until q or the end of ctx.
func View(ctx context.Context, all *Watched, every time.Duration, terminal io.Writer) error {
	release, err := kernelfacts.Release()
	if err != nil {
		return err
	}
	return cli.View(ctx, &screen{Watched: all, title: "conntrackwatch  Linux " + release, every: every}, every, terminal)
}

// screen implements cli.Live.
type screen struct {
	*Watched
	title string
	every time.Duration
}

// Read implements cli.Live.
func (s *screen) Read(context.Context) (put func()) {
	all := s.current()
	figures, errs := make([]observe.Figures, len(all)), make([]error, len(all))
	for i, v := range all {
		figures[i], errs[i] = v.step()
	}
	return func() {
		s.all = all
		for i, v := range all {
			v.failed = errs[i]
			for j, c := range columns {
				if errs[i] != nil {
					v.rows[j].Add(nil)
				} else {
					v.rows[j].Add(c.figure(figures[i]))
				}
			}
		}
	}
}

// Title implements cli.Live.
func (s *screen) Title() string { return s.title }

// Head implements cli.Live.
func (s *screen) Head(cli.Look) []string { return nil }

// Help implements cli.Live.
func (s *screen) Help() []string {
	lines := []string{"The bars of a row go from 0 to its peak on the screen; a blank is a reading without a value." +
		" Rates are of things that should not happen, and red above 0.", ""}
	for _, c := range columns {
		lines = append(lines, c.row+"  "+c.meaning)
	}
	return lines
}

// Blocks implements cli.Live.
func (s *screen) Blocks(l cli.Look) (blocks [][]string) {
	for _, v := range s.all {
		blocks = append(blocks, v.block(l, s.every))
	}
	return blocks
}

// block draws a namespace.
func (w *watched) block(l cli.Look, every time.Duration) []string {
	width := min(kept, max(0, l.Width-nameWidth-2*valueWidth-2))
	lines := []string{"", l.Bold("namespace " + w.source.Name)}
	if err := w.failed; err != nil {
		lines = append(lines, l.Wrap(l.Alarm(err.Error()))...)
	}
	span := "last " + (time.Duration(width) * every).Round(time.Second).String()
	if len(span) > width {
		span = ""
	}
	lines = append(lines, l.Faint(fmt.Sprintf("%-*s%*s%*s  %*s", nameWidth, "", valueWidth, "now", valueWidth, "peak", width, span)))
	for j, c := range columns {
		h := w.rows[j]
		value := fmt.Sprintf("%*s", valueWidth, c.text(h.Last()))
		if last := h.Last(); last != nil && *last > 0 && strings.HasSuffix(c.row, "/s") {
			value = l.Alarm(value) // each rate here is of something that should not happen
		}
		lines = append(lines, fmt.Sprintf(" %-*s%s%*s  %s", nameWidth-1, c.row, value, valueWidth, c.text(h.Peak(width)),
			h.Sparkline(width, l.ASCII)))
	}
	return lines
}

package crash

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"slices"
)

// Bounds of what is kept. A report of KASAN with lockdep's lists has some 150 lines.
const (
	maxReports = 64
	maxLines   = 500
	maxLine    = 4096
	// A report without an end mark is over after so many lines in a row that do not look like a part of it; one with a
	// mark after more, as other messages may come in between.
	gapUnsaid = 8
	gapMarked = 64
	// A panic that follows from a report comes at most so many lines behind its end.
	panicGap = 48
	// So many lines of others may come between a line of `=` and what it frames.
	frameGap = 3
)

// Scan finds the reports in a console's text or in a kernel log: as dmesg prints it with or without timestamps, as
// journalctl does, as a serial line gives it with what else is written there, or as /dev/kmsg's records. It returns
// those found before an error of r as well.
func Scan(r io.Reader) ([]Report, error) {
	var s scanner
	lines := bufio.NewReaderSize(r, maxLine)
	for {
		line, long, err := lines.ReadLine()
		if err == nil {
			s.line(string(line))
		}
		for long && err == nil { // what no kernel writes: only its beginning counts
			_, long, err = lines.ReadLine()
		}
		switch {
		case errors.Is(err, io.EOF):
			return s.reports(), nil
		case err != nil:
			return s.reports(), fmt.Errorf("read the kernel's messages: %w", err)
		}
	}
}

// scanner takes lines one by one.
type scanner struct {
	done []Report
	open *draft
	// frame is a line of `=` that came before, framed how many lines ago.
	frame  *message
	framed int
	// ago counts the lines since the last report's end.
	ago int
	// dropped counts reports beyond the bound.
	dropped int
}

// draft is a report under way.
type draft struct {
	Report
	head *headline // nil: only `cut here` so far
	end  ending
	keep int // lines up to the last that looks like a part
	gap  int // lines since
}

func (s *scanner) line(text string) {
	for _, m := range messages(text) {
		s.message(m)
	}
}

func (s *scanner) message(m message) {
	head := findHeadline(m.text, s.frame != nil || s.open != nil && s.open.head == nil)
	switch {
	case s.open != nil && s.ends(m):
		s.open.add(m, true)
		s.close()
		return
	case head != nil && s.continued(m, head):
		return
	case head != nil:
		s.begin(m, head)
	case cutHere.MatchString(m.text):
		s.close()
		s.open = &draft{Report: Report{Kind: KindWarning, At: m.at}, end: endTrace}
		s.open.add(m, true)
	case s.open != nil:
		s.open.add(m, isPart(m.text))
		if d := s.open; d.gap > d.patience() || len(d.Lines) >= maxLines {
			s.close()
		}
	default:
		s.ago++
	}
	if s.framed++; s.framed > frameGap {
		s.frame = nil
	}
	if frameLine.MatchString(m.text) {
		s.frame, s.framed = &m, 0
	}
}

// ends reports whether m is the mark at the open report's end.
func (s *scanner) ends(m message) bool {
	switch s.open.end {
	case endFrame:
		return frameLine.MatchString(m.text)
	case endPanic:
		return panicEnd.MatchString(m.text)
	}
	return traceEnd.MatchString(m.text)
}

// continued takes a headline that belongs to the report before it.
func (s *scanner) continued(m message, head *headline) bool {
	if consequence.MatchString(m.text) {
		if s.open == nil && len(s.done) > 0 && s.ago < panicGap {
			last := s.done[len(s.done)-1]
			s.done = s.done[:len(s.done)-1]
			s.open = &draft{Report: last, head: head, keep: len(last.Lines)}
		}
		if s.open != nil && s.open.head != nil {
			s.open.Lines = s.open.Lines[:s.open.keep]
			s.open.add(m, true)
			s.open.end = endPanic
			return true
		}
		return false
	}
	d := s.open
	if d == nil || d.head != nil && !continues(d.head, head, d.Title) {
		return false
	}
	if d.head == nil {
		d.head, d.end, d.Kind, d.Title = head, head.end, head.kind, m.text
		if d.end != endFrame {
			d.end = endTrace // it began with `cut here`
		}
	} else {
		d.head = head
	}
	d.add(m, true)
	return true
}

func (s *scanner) begin(m message, head *headline) {
	s.close()
	d := &draft{Report: Report{Kind: head.kind, Title: m.text, At: m.at}, head: head, end: head.end}
	if s.frame != nil {
		d.add(*s.frame, true)
		s.frame = nil
	} else if d.end == endFrame {
		d.end = endUnsaid // the line before it is missing, so the one behind it may be another's
	}
	d.add(m, true)
	s.open = d
}

// close ends the open report, if there is one.
func (s *scanner) close() {
	if s.open == nil {
		return
	}
	if r, ok := s.open.report(); !ok {
		// `cut here` and nothing that says of what
	} else if len(s.done) < maxReports {
		s.done = append(s.done, r)
		s.ago = 0
	} else {
		s.dropped++
	}
	s.open = nil
}

// reports is what was found up to now, the one under way included.
func (s *scanner) reports() []Report {
	found := append([]Report{}, s.done...) // not nil: in JSON none is an empty list
	if s.open != nil && len(found) < maxReports {
		if r, ok := s.open.report(); ok {
			found = append(found, r)
		}
	}
	return found
}

func (d *draft) add(m message, belongs bool) {
	d.Lines = append(d.Lines, m.text)
	if belongs {
		d.gap = 0
		if m.text != "" {
			d.keep = len(d.Lines)
		}
		return
	}
	d.gap++
}

func (d *draft) patience() int {
	if d.end == endUnsaid {
		return gapUnsaid
	}
	return gapMarked
}

// report is the draft cut to its extent; false if nothing in it says that
// anything happened.
func (d *draft) report() (Report, bool) {
	r := d.Report
	r.Lines = slices.Clone(d.Lines[:d.keep])
	if d.head == nil {
		return r, false
	}
	if s := classify(&r); s != nil {
		r.Signature, r.About = s.ID, s.About
	}
	return r, true
}

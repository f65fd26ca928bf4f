package cli

import (
	"bytes"
	"fmt"
	"io"
	"sync"
	"time"
)

const (
	// redrawn is how often the line on a terminal is written again, said how often one is written elsewhere.
	redrawn = time.Second
	said    = 30 * time.Second
	// clearLine goes to the line's start, and takes away what is there.
	clearLine = "\r\x1b[K"
)

// Progress says how far something long is, with the time that is left: on a terminal in its last line, which is
// rewritten, elsewhere in a line now and then. Several goroutines may use it.
type Progress struct {
	// Terminal says whether there is a line that is rewritten.
	Terminal bool

	w     io.Writer
	begun time.Time
	over  chan struct{}
	group sync.WaitGroup

	mu       sync.Mutex
	head     string  // such as 3/24
	text     string  // what goes on
	part     float64 // of all that is to be done; 0: not known
	at       time.Duration
	takes    time.Duration // all of it; 0: not known
	lastSaid time.Time
}

// NewProgress is progress from now on. Who makes it ends it.
func NewProgress(w io.Writer) *Progress {
	now := time.Now()
	p := &Progress{Terminal: IsScreen(w), w: w, begun: now, lastSaid: now, over: make(chan struct{})}
	p.group.Go(func() {
		tick := time.NewTicker(redrawn)
		defer tick.Stop()
		for {
			select {
			case <-p.over:
				return
			case <-tick.C:
				p.mu.Lock()
				p.show()
				p.mu.Unlock()
			}
		}
	})
	return p
}

// End takes the line away, so that the results do not begin in it.
func (p *Progress) End() {
	select {
	case <-p.over:
		return
	default:
	}
	close(p.over)
	p.group.Wait()
	p.mu.Lock()
	defer p.mu.Unlock()
	p.clear()
}

// Step says that one of so many steps begins.
func (p *Progress) Step(n, of int, format string, args ...any) {
	p.set(fmt.Sprintf("%d/%d, ", n, of), float64(n-1)/float64(max(of, 1)), fmt.Sprintf(format, args...))
}

// Part says how much of all is done, from 0 to 1, and what goes on.
func (p *Progress) Part(part float64, format string, args ...any) {
	p.set("", part, fmt.Sprintf(format, args...))
}

// Takes says how long all of it takes. What goes on then needs to be told no more.
func (p *Progress) Takes(d time.Duration) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.takes = d
}

func (p *Progress) set(head string, part float64, text string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.head, p.part, p.text, p.at = head, min(part, 1), text, time.Since(p.begun)
	if p.Terminal {
		p.show()
	}
}

// Say writes a line that stays, behind how far all is.
func (p *Progress) Say(format string, args ...any) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.clear()
	p.lastSaid = time.Now()
	fmt.Fprintf(p.w, "%s%s\n", p.where(), fmt.Sprintf(format, args...))
}

// Note writes a line that stays.
func (p *Progress) Note(format string, args ...any) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.clear()
	fmt.Fprintf(p.w, format+"\n", args...)
}

// Lines writes whole lines to w, which is on the same screen: what goes on is taken away before.
func (p *Progress) Lines(w io.Writer) io.Writer { return &lines{p: p, w: w} }

type lines struct {
	p    *Progress
	w    io.Writer
	rest []byte // of a line that is not whole yet
}

func (l *lines) Write(b []byte) (int, error) {
	l.p.mu.Lock()
	defer l.p.mu.Unlock()
	l.rest = append(l.rest, b...)
	whole := bytes.LastIndexByte(l.rest, '\n') + 1
	if whole == 0 {
		return len(b), nil
	}
	l.p.clear()
	_, err := l.w.Write(l.rest[:whole])
	l.rest = append([]byte(nil), l.rest[whole:]...)
	return len(b), err
}

func (p *Progress) clear() {
	if p.Terminal {
		fmt.Fprint(p.w, clearLine)
	}
}

// show writes what goes on, if it is time to.
func (p *Progress) show() {
	switch {
	case p.text == "" && p.takes == 0:
	case p.Terminal:
		line := []rune(p.where() + p.text)
		const narrow = 79 // a longer line would wrap, and stay
		fmt.Fprint(p.w, clearLine+string(line[:min(len(line), narrow)]))
	case time.Since(p.lastSaid) >= said:
		p.lastSaid = time.Now()
		fmt.Fprintf(p.w, "%s%s\n", p.where(), p.text)
	}
}

// where is how far all is.
func (p *Progress) where() string {
	took := time.Since(p.begun)
	left := p.takes - took
	if p.takes == 0 && p.part > 0 {
		left = time.Duration(float64(p.at)/p.part) - took
	}
	if left < time.Second {
		return fmt.Sprintf("[%s%s] ", p.head, inWords(took))
	}
	return fmt.Sprintf("[%s%s, %s left] ", p.head, inWords(took), inWords(left))
}

// inWords writes a time as people want it of something that goes on.
func inWords(d time.Duration) string {
	switch d = d.Round(time.Second); {
	case d < 2*time.Minute:
		return fmt.Sprintf("%d s", d/time.Second)
	case d < 2*time.Hour:
		return fmt.Sprintf("%d min", (d+time.Minute/2)/time.Minute)
	}
	return fmt.Sprintf("%d h", (d+time.Hour/2)/time.Hour)
}

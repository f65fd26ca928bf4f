package kbuild

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/google/renameio/v2"
)

// estimate tells how far make is, by counting the lines in which it names a step. How many there will be is what the
// last build of the kind had; the first one has the defaults of estimates.
type estimate struct {
	path  string
	kind  string
	known map[string]int // steps by kind

	begun time.Time
	done  int
}

// estimates are what builds of Debian's 6.1 have.
var estimates = map[string]int{"whole": 1600, "again": 300, "whole-kasan": 1650, "again-kasan": 300}

// newEstimate is for a build with all its objects to make, or again with some there already.
func newEstimate(cache string, kasan, again bool) *estimate {
	e := &estimate{path: filepath.Join(cache, "estimates.json"), kind: "whole", known: map[string]int{},
		begun: time.Now()}
	if again {
		e.kind = "again"
	}
	if kasan {
		e.kind += "-kasan"
	}
	text, err := os.ReadFile(e.path)
	if err != nil || json.Unmarshal(text, &e.known) != nil || e.known == nil {
		e.known = map[string]int{} // the first build, or a file that is no good: it is only an estimate
	}
	return e
}

func (e *estimate) total() int {
	if n := e.known[e.kind]; n > 0 {
		return n
	}
	return estimates[e.kind]
}

// step is the state at a time. More steps than were thought show that the estimate was no good: then there is none.
func (e *estimate) step(now time.Time) Step {
	s := Step{What: "compiling", Done: e.done, Total: e.total(), Elapsed: now.Sub(e.begun)}
	if s.Done > s.Total {
		s.Total = 0
		return s
	}
	if s.Done >= 20 { // fewer say little about the speed
		s.Left = time.Duration(float64(s.Elapsed) * float64(s.Total-s.Done) / float64(s.Done))
	}
	return s
}

// watch reads make's output to its end.
func (e *estimate) watch(output io.Reader, progress func(Step)) error {
	const often = 500 * time.Millisecond
	var last time.Time
	lines := bufio.NewScanner(output)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		if !strings.HasPrefix(lines.Text(), "  ") { // "  CC      net/socket.o"
			continue
		}
		e.done++
		if now := time.Now(); now.Sub(last) >= often {
			progress(e.step(now))
			last = now
		}
	}
	if err := lines.Err(); err != nil {
		return fmt.Errorf("read make's output: %w", err)
	}
	return nil
}

// remember keeps the count for the next build of the kind.
func (e *estimate) remember() error {
	e.known[e.kind] = e.done
	text, err := json.Marshal(e.known)
	if err == nil {
		err = renameio.WriteFile(e.path, text, 0o644)
	}
	if err != nil {
		return fmt.Errorf("remember the number of steps: %w", err)
	}
	return nil
}

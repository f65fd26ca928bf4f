package trace

import (
	"errors"
	"fmt"
	"strings"
)

// Attempt is one that failed.
type Attempt struct {
	What string
	Err  error
}

func (a Attempt) Error() string { return fmt.Sprintf("%s: %v", a.What, a.Err) }
func (a Attempt) Unwrap() error { return a.Err }

// Refused is why nothing is traced.
type Refused struct {
	// By says what stands in the way, as far as the machine tells; the most certain first. Never empty.
	By []string
	// Cure says what would help; empty where nothing is known.
	Cure string
	// Attempts are what was tried, with the kernel's answers.
	Attempts []Attempt
}

func (r *Refused) Error() string {
	text := "tracing is refused: " + strings.Join(r.By, "; ")
	if r.Cure != "" {
		text += ". " + strings.ToUpper(r.Cure[:1]) + r.Cure[1:]
	}
	return text
}

// Unwrap is for errors.Is.
func (r *Refused) Unwrap() []error {
	errs := make([]error, len(r.Attempts))
	for i, a := range r.Attempts {
		errs[i] = a
	}
	return errs
}

func refused(attempts []Attempt) error {
	r := diagnose(hostRoot(), attempts)
	return &r
}

// firstLine is an answer without the verifier's log and without what the library guesses of the limit on locked memory.
func firstLine(err error) string {
	line, _, _ := strings.Cut(err.Error(), "\n")
	return strings.Replace(line, " (MEMLOCK may be too low, consider rlimit.RemoveMemlock)", "", 1)
}

// Tried is what was tried, one line an attempt.
func (r *Refused) Tried() []string {
	lines := make([]string, len(r.Attempts))
	for i, a := range r.Attempts {
		lines[i] = fmt.Sprintf("%s: %s", a.What, firstLine(a.Err))
	}
	return lines
}

// anyIs says whether one of the attempts failed for one of the targets.
func anyIs(attempts []Attempt, targets ...error) bool {
	for _, a := range attempts {
		for _, target := range targets {
			if errors.Is(a.Err, target) {
				return true
			}
		}
	}
	return false
}

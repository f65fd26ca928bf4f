package bench

import (
	"context"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"slices"
	"strings"

	"verdictd/internal/cli"
	"verdictd/lab/internal/testbed"
)

// A Head is what each comparison's document begins with: H is what it says of the machine, C its settings, S a sample.
type Head[H, C, S any] struct {
	Schema      int    `json:"schema"`
	Version     string `json:"version"`
	Host        H      `json:"host"`
	Settings    C      `json:"settings"`
	Interrupted bool   `json:"interrupted"`
	Samples     []S    `json:"samples"`
}

// NewHead begins a document whose samples are to come.
func NewHead[S, H, C any](version string, host H, settings C) Head[H, C, S] {
	return Head[H, C, S]{Schema: Schema, Version: version, Host: host, Settings: settings}
}

// A Turn is a sample: what came of one candidate's turn in one round.
type Turn interface {
	// of says whose turn it was, in which round, and why its figures do not count; empty if they do.
	Of() (candidate string, round int, invalid string)
	// figures are the valid ones, in short.
	Figures() string
}

// WarmPart of what a turn counts is sent before it: caches, the Go runtime's heap, the CPU's clock.
const WarmPart = 10

// errNotChosen is why a candidate is not measured.
var errNotChosen = errors.New("not chosen by --only")

// KnownOnly says which names of --only there are not.
func KnownOnly(only, candidates []string) error {
	var errs []error
	for _, name := range only {
		if !slices.Contains(candidates, name) {
			errs = append(errs, fmt.Errorf("--only %s: there are %s", name, strings.Join(candidates, ", ")))
		}
	}
	return errors.Join(errs...)
}

// LeftOut says of the candidates that have no turn why not.
func LeftOut(candidates, only []string, canRun func(i int) error) map[string]error {
	missing := map[string]error{}
	for i, name := range candidates {
		if len(only) > 0 && !slices.Contains(only, name) {
			missing[name] = errNotChosen
		} else if err := canRun(i); err != nil {
			missing[name] = err
		}
	}
	return missing
}

// Rounds gives every candidate that is not missing its turn, from the first round to the last: what slows the machine
// down meanwhile slows all of them. A turn's directory is not made yet.
func Rounds[S any, P interface {
	*S
	Turn
}](
	ctx context.Context, first, last int, candidates []string, missing map[string]error, progressTo io.Writer,
	turn func(i, round int, dir string) S,
) ([]S, error) {
	samples := []S{}
	shown := cli.NewProgress(progressTo)
	defer shown.End()
	present := 0
	for _, name := range candidates {
		if missing[name] == nil {
			present++
		}
	}
	err := testbed.WithFiles(func(dir string) {
		for round := first; round <= last; round++ {
			for i, name := range candidates {
				if missing[name] != nil {
					continue
				}
				shown.Step(len(samples)+1, (last-first+1)*present, "round %d, %s", round, name)
				s := turn(i, round, filepath.Join(dir, fmt.Sprintf("%d-%d", round, i)))
				if ctx.Err() != nil {
					return // the interruption, and not the candidate, is what failed
				}
				samples = append(samples, s)
				line := "does not count: "
				if _, _, invalid := P(&s).Of(); invalid != "" {
					line += invalid
				} else {
					line = P(&s).Figures()
				}
				shown.Say("round %d, %s: %s", round, name, line)
			}
		}
	})
	return samples, err
}

package faults

import (
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"time"

	"verdictd/internal/report"
)

// Config says what is to happen, and to whom.
type Config struct {
	Duration  time.Duration  // 0: what the plan takes
	Seed      uint64         // of the sequence and its settings; 0: draw one
	Only      []string       // the kinds of faults; none: all
	Plan      map[string]int // how many there are of each kind; nil: as many as the time has room for
	Rate      int            // packets a second
	Guard     string         // of report's names
	Settled   bool           // flows that go on sending pass in the kernel, which gives strict order up
	Programs  []string       // likewise: verdictd first, then those to compare with
	Keeper    bool           // verdictd supervise holds what verdictd leaves
	Reference string         // the C program, "" for the one beside the programs
}

// Bounds.
const (
	// pauseLeast and pauseMost are between the end of one fault and the next.
	pauseLeast, pauseMost = 300 * time.Millisecond, 1500 * time.Millisecond

	// queueLength is what the program's queue holds. A stop must not fill it.
	queueLength = 60_000
	// receiveBuffer is of the queue's socket: a small packet takes some 1,300 bytes there.
	receiveBuffer = 128 << 20

	mostRate = 100_000
	mostTime = 24 * time.Hour
)

// longestStop is how long a program may stand still until its queue is full, with room to spare.
func (c *Config) longestStop() time.Duration {
	return time.Duration(queueLength) * time.Second / time.Duration(2*c.Rate)
}

// Validate says all that is wrong.
func (c *Config) Validate() error {
	var errs []error
	bad := func(format string, args ...any) { errs = append(errs, fmt.Errorf(format, args...)) }
	for _, name := range append(slices.Sorted(maps.Keys(c.Plan)), c.Only...) {
		if _, ok := kindOf(name); !ok {
			bad("there is no fault %q; there are %s", name, strings.Join(names(), ", "))
		}
	}
	for name, n := range c.Plan {
		if n < 0 || n > 10_000 {
			bad("--plan %s=%d is not within 0 to 10000", name, n)
		}
	}
	if c.Plan != nil && len(c.Only) > 0 {
		bad("--plan with --only: the plan names its faults")
	}
	if c.Plan == nil && c.Duration == 0 {
		bad("--duration 0 without a --plan has no end")
	}
	if c.Duration < 0 || c.Duration > mostTime {
		bad("--duration %v is not within 0 to %v", c.Duration, mostTime)
	}
	if c.Rate < cycle || c.Rate > mostRate {
		bad("--rate %d is not within %d to %d", c.Rate, cycle, mostRate)
	}
	if len(c.Programs) == 0 || c.Programs[0] != report.ProgramVerdictd {
		bad("--program: %s comes first, as the others are there to compare with it", report.ProgramVerdictd)
	}
	return errors.Join(errs...)
}

// A step is one fault to come.
type step struct {
	kind
	setting
	pause time.Duration // before it
}

// sequence yields the faults in their order: the same for the same configuration. A plan has an end.
func (c *Config) sequence() func(yield func(step) bool) {
	r := rand.New(rand.NewPCG(c.Seed, 5))
	draw := func(k kind) step {
		pause := pauseLeast + time.Duration(r.Int64N(int64(pauseMost-pauseLeast)))
		return step{kind: k, setting: k.draw(r, c), pause: pause}
	}
	if c.Plan != nil {
		return func(yield func(step) bool) {
			var all []kind
			for _, k := range kinds() {
				for range c.Plan[k.name] {
					all = append(all, k)
				}
			}
			r.Shuffle(len(all), func(i, j int) { all[i], all[j] = all[j], all[i] })
			for _, k := range all {
				if !yield(draw(k)) {
					return
				}
			}
		}
	}
	return func(yield func(step) bool) {
		all := kinds()
		if len(c.Only) > 0 {
			all = slices.DeleteFunc(all, func(k kind) bool { return !slices.Contains(c.Only, k.name) })
		}
		// Each kind once in a round, so that a short run has all of them.
		for {
			r.Shuffle(len(all), func(i, j int) { all[i], all[j] = all[j], all[i] })
			for _, k := range all {
				if !yield(draw(k)) {
					return
				}
			}
		}
	}
}

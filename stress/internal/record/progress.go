package record

import (
	"time"

	"verdictd/internal/cli"
	"verdictd/internal/traffic"
)

// Progress is what shows how far a run is, of which it is known how long it takes (0: it is not). The scenario ends it
// before it writes its result.
func (c Config) Progress(takes time.Duration) *cli.Progress {
	p := cli.NewProgress(c.Stderr)
	p.Takes(takes)
	return p
}

// Flows shows a run of so many flows.
func Flows(shown *cli.Progress, flows int) func(traffic.Progress) {
	return func(p traffic.Progress) {
		shown.Part(float64(p.Flows)/float64(max(flows, 1)), "%d of %d flows, %d packets delivered", p.Flows, flows, p.Counts.Delivered)
	}
}

package stats

import (
	"time"

	"verdictd/internal/ct"
)

// Options say how results are counted and written.
type Options struct {
	Version  string // of the program
	Interval bool   // results tell what the counters rose by since the one before
	Once     bool   // the first reading is the result
	Named    bool   // results say which namespace they are of
	PerCPU   bool   // every CPU that counted something has rows of its own
	All      bool   // CPUs that counted nothing have rows, too
}

// Result is one sample of the counters.
type Result struct {
	Schema  int       `json:"schema"`
	Version string    `json:"version"`
	Kernel  string    `json:"kernel"`
	NetNS   string    `json:"netns"`
	Time    time.Time `json:"time"`
	// Seconds is how long Total and CPUs took to rise: since the command's start. With --once they are Absolute.
	Seconds   float64     `json:"seconds"`
	Table     ct.Table    `json:"table"`
	CPUs      []ct.CPU    `json:"cpus"`
	Total     ct.Counters `json:"total"`
	PerSecond ct.Rates    `json:"per_second"`
	// Absolute is what was counted since the namespace was made.
	Absolute ct.Counters       `json:"absolute"`
	Last     *Step             `json:"last"` // since the sample before; null without --interval
	Meaning  map[string]string `json:"meaning"`

	options Options
}

// Step is what the counters rose by from one sample to the next.
type Step struct {
	Seconds   float64     `json:"seconds"`
	CPUs      []ct.CPU    `json:"cpus"`
	Total     ct.Counters `json:"total"`
	PerSecond ct.Rates    `json:"per_second"`
}

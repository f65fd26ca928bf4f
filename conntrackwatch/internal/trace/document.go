package trace

// Summary is the last that a trace prints.
type Summary struct {
	Kind    string  `json:"kind"` // summary
	Schema  int     `json:"schema"`
	Version string  `json:"version"`
	Kernel  string  `json:"kernel"`
	Seconds float64 `json:"seconds"`
	Netns   uint32  `json:"netns"` // 0: all
	Probes  []Probe `json:"probes"`
	Counts
	Shown    uint64            `json:"shown"`
	Outcomes map[string]uint64 `json:"outcomes"` // of the clashes shown, by path and outcome
}

// Line is a clash as a trace prints it.
type Line struct {
	Kind string `json:"kind"` // clash
	Clash
}

// KindClash and KindSummary tell the lines from each other.
const (
	KindClash   = "clash"
	KindSummary = "summary"
)

// NewSummary begins the summary of a trace by a program of a version, of one namespace or, with 0, of all.
func NewSummary(version, kernel string, netns uint32, probes []Probe) Summary {
	return Summary{
		Kind: KindSummary, Schema: 1, Version: version, Kernel: kernel,
		Netns: netns, Probes: probes, Outcomes: map[string]uint64{},
	}
}

// Take takes in a clash that is shown.
func (s *Summary) Take(c *Clash) {
	s.Shown++
	s.Outcomes[c.Path.String()+"/"+string(c.Outcome)]++
}

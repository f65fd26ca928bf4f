package events

import (
	"fmt"
	"io"
	"strings"
	"text/tabwriter"

	"verdictd/internal/report"
	"verdictd/lab/internal/bench"
)

// Result is what `lab bench events --json` writes.
type Result struct {
	bench.Head[report.Host, settings, sample]
	Listeners []summary `json:"listeners"`
	bench.Judgement
}

type settings struct {
	Rounds        int     `json:"rounds"`
	Flows         int     `json:"flows"`
	Rate          float64 `json:"flows_per_second"`
	ReceiveBuffer int     `json:"receive_buffer"`
	LoadCPU       int     `json:"load_cpu"`
	ListenerCPU   int     `json:"listener_cpu"`
}

// An sample is one listener in one round.
type sample struct {
	Round    int    `json:"round"`
	Listener string `json:"listener"`
	// Invalid says why the figures do not count; empty if they do.
	Invalid        string  `json:"invalid"`
	CPUPerEvent    float64 `json:"cpu_us_per_event"` // by the events that it received
	FlowsPerSecond float64 `json:"flows_per_second"` // as they were sent, and their events received
	Lost           uint64  `json:"lost"`
}

func (s *sample) Of() (listener string, round int, invalid string) {
	return s.Listener, s.Round, s.Invalid
}

func (s *sample) Figures() string { return fmt.Sprintf("%.2f us", s.CPUPerEvent) }

// An summary is one listener over all rounds.
type summary struct {
	Listener string `json:"listener"`
	// NotMeasured says why there are no figures; empty if there are.
	NotMeasured    string        `json:"not_measured"`
	ValidRounds    int           `json:"valid_rounds"`
	CPUPerEvent    *bench.Spread `json:"cpu_us_per_event"`
	FlowsPerSecond *bench.Spread `json:"flows_per_second"`
	Lost           uint64        `json:"lost"` // in all rounds
}

// judge puts the rounds together and fills in ratios, notes and the verdict. Missing says why a listener was not run at
// all.
func (r *Result) judge(required []bench.Requirement, missing map[string]error) {
	r.Listeners, r.Notes = nil, []string{}
	medians := map[string]float64{}
	for _, name := range Names() {
		s, invalid := summary{Listener: name}, ""
		var cpu, rate []float64
		for i := range r.Samples {
			switch m := &r.Samples[i]; {
			case m.Listener != name:
			case m.Invalid != "":
				invalid = m.Invalid
			default:
				cpu, rate = append(cpu, m.CPUPerEvent), append(rate, m.FlowsPerSecond)
				s.Lost += m.Lost
			}
		}
		s.ValidRounds, s.CPUPerEvent, s.FlowsPerSecond = len(cpu), bench.NewSpread(cpu), bench.NewSpread(rate)
		s.NotMeasured = bench.WhyNot(s.ValidRounds, missing[name], invalid)
		if s.CPUPerEvent != nil {
			medians[name] = s.CPUPerEvent.Median
			r.NoteNoise(name, s.CPUPerEvent)
			if slow := s.FlowsPerSecond.Median; slow < 0.9*r.Settings.Rate {
				r.Note("%s was given %.0f flows a second, not %.0f: the load could make no more.", name, slow,
					r.Settings.Rate)
			}
		}
		r.Listeners = append(r.Listeners, s)
	}
	r.NoteOneCPU(r.Settings.LoadCPU, r.Settings.ListenerCPU, "the listener")
	r.Ratios = bench.CompareMedians(medians, ratios, required)
	r.Verdict = bench.JudgeRatios(r.Ratios, len(r.Samples), bench.FailedTurns(r.Samples, r.Interrupted),
		"conntrackwatch lost no event; no bounds were required.")
}

// WriteText writes the tables for people, and the verdict below them.
func (r *Result) WriteText(w io.Writer) error {
	var text strings.Builder
	s := &r.Settings
	fmt.Fprintln(&text, &r.Host)
	fmt.Fprintf(&text, "%d rounds of %d new flows, %.0f a second at even distances; a receive buffer of %d bytes for "+
		"each listener.\n",
		s.Rounds, s.Flows, s.Rate, s.ReceiveBuffer)
	fmt.Fprintf(&text, "The listener runs on CPU %d, the load on CPU %d. CPU per event is all of the listener's "+
		"threads' time, user and system, by the events that it received.\n\n", s.ListenerCPU, s.LoadCPU)
	t := tabwriter.NewWriter(&text, 0, 0, 3, ' ', 0)
	fmt.Fprintln(t, "listener\tCPU us/event\tmin..max\tflows/s\tlost\trounds")
	for i := range r.Listeners {
		if l := &r.Listeners[i]; l.CPUPerEvent != nil {
			c := l.CPUPerEvent
			fmt.Fprintf(t, "%s\t%.2f\t%.2f..%.2f\t%.0f\t%d\t%d\n", l.Listener, c.Median, c.Min, c.Max,
				l.FlowsPerSecond.Median, l.Lost, l.ValidRounds)
		}
	}
	if err := t.Flush(); err != nil {
		return err
	}
	for i := range r.Listeners {
		if l := &r.Listeners[i]; l.CPUPerEvent == nil {
			fmt.Fprintf(&text, "%s: not measured: %s\n", l.Listener, l.NotMeasured)
		}
	}
	fmt.Fprintln(&text)
	return r.Judgement.WriteText(w, &text)
}

package queue

import (
	"fmt"
	"io"
	"slices"
	"strings"
	"text/tabwriter"

	"verdictd/internal/report"
	"verdictd/lab/internal/bench"
)

// LatencyResult is what `lab bench latency --json` writes.
type LatencyResult struct {
	bench.Head[report.Host, latencySettings, openSample]
	Points []pointSummary `json:"points"`
	bench.Judgement
}

type latencySettings struct {
	Rounds      int       `json:"rounds"`
	Rates       []float64 `json:"rates"`
	Loads       []float64 `json:"loads"`
	Seconds     float64   `json:"seconds"`
	Flows       int       `json:"flows"`
	Payload     int       `json:"payload_bytes"`
	Queues      int       `json:"queues"`
	QueueLength int       `json:"queue_length"`
	LoadCPU     int       `json:"load_cpu"`
	DaemonCPU   int       `json:"daemon_cpu"`
}

// An openSample is one variant in one round.
type openSample struct {
	Round   int    `json:"round"`
	Variant string `json:"variant"`
	// Invalid says why the figures do not count; empty if they do.
	Invalid string `json:"invalid"`
	// Capacity is packets a second in a closed loop; 0 for the way without a queue.
	Capacity float64 `json:"capacity"`
	Points   []point `json:"points"`
}

func (s *openSample) Of() (variant string, round int, invalid string) {
	return s.Variant, s.Round, s.Invalid
}

func (s *openSample) Figures() string {
	var text []string
	for i := range s.Points {
		p := &s.Points[i]
		text = append(text, fmt.Sprintf("%s p99 %.0f us", p.Name, p.P99))
	}
	return strings.Join(text, ", ")
}

// A point is one rate. Times are in microseconds, from when a packet was due to when it was seen.
type point struct {
	Name    string  `json:"name"`
	Rate    float64 `json:"rate"`
	Sent    int     `json:"sent"`
	Arrived int     `json:"arrived"`
	// What the kernel says that it lost, at the queue's length, at the program's socket, and at the load's own.
	QueueDropped  uint32  `json:"queue_dropped"`
	UserDropped   uint32  `json:"user_dropped"`
	SocketDropped uint32  `json:"socket_dropped"`
	Unexplained   int     `json:"unexplained"`
	Goodput       float64 `json:"goodput"` // packets a second that arrived
	P50           float64 `json:"p50_us"`
	P99           float64 `json:"p99_us"`
	P999          float64 `json:"p99_9_us"`
	Max           float64 `json:"max_us"`
	Fairness      float64 `json:"fairness"` // the least that a flow got, by the most
	// QueueFairness is the same of the average flow of each queue. RSS is of all the program's processes.
	QueueFairness float64 `json:"queue_fairness"`
	RSSBefore     int     `json:"rss_before_kib"`
	Flood         float64 `json:"flood_per_second,omitempty"` // packets sent beside, of which only losses are counted
	RSSAfter      int     `json:"rss_after_kib"`
	SendLate      float64 `json:"send_late_us"` // how much behind its time the load itself was at most
}

// A rateAt is where a program is measured: at a rate, or at a part of its capacity.
type rateAt struct{ rate, load float64 }

func (at rateAt) name() string {
	if at.load > 0 {
		return fmt.Sprintf("%gx", at.load)
	}
	return fmt.Sprintf("%.0f", at.rate)
}

func (c *LatencyConfig) points() (list []rateAt) {
	add := func(at rateAt) {
		if !slices.ContainsFunc(list, func(there rateAt) bool { return there.name() == at.name() }) {
			list = append(list, at)
		}
	}
	for _, rate := range c.Rates {
		add(rateAt{rate: rate})
	}
	for _, load := range c.Loads {
		add(rateAt{load: load})
	}
	return list
}

// figures are what ratios can be of, each as VARIANT@POINT:FIGURE.
var figures = []struct {
	name string
	of   func(*point) float64
}{
	{"p50", func(p *point) float64 { return p.P50 }},
	{"p99", func(p *point) float64 { return p.P99 }},
	{"p99.9", func(p *point) float64 { return p.P999 }},
	{"max", func(p *point) float64 { return p.Max }},
	{"goodput", func(p *point) float64 { return p.Goodput }},
}

func figureName(variant, at, figure string) string { return variant + "@" + at + ":" + figure }

func (c *LatencyConfig) figureNames() (names []string) {
	for _, variant := range LatencyNames() {
		for _, at := range c.points() {
			for _, f := range figures {
				names = append(names, figureName(variant, at.name(), f.name))
			}
		}
	}
	for _, at := range c.points() {
		names = append(names, figureName(best, at.name(), "goodput"))
	}
	return names
}

// A pointSummary is one variant at one rate over all rounds.
type pointSummary struct {
	Variant string `json:"variant"`
	Name    string `json:"name"`
	Rounds  int    `json:"valid_rounds"`
	// The spreads of a point's figures.
	Rate    *bench.Spread `json:"rate"`
	Goodput *bench.Spread `json:"goodput"`
	P50     *bench.Spread `json:"p50_us"`
	P99     *bench.Spread `json:"p99_us"`
	P999    *bench.Spread `json:"p99_9_us"`
	Max     *bench.Spread `json:"max_us"`
	// Sums over all rounds.
	Sent          int     `json:"sent"`
	Arrived       int     `json:"arrived"`
	QueueDropped  int     `json:"queue_dropped"`
	UserDropped   int     `json:"user_dropped"`
	SocketDropped int     `json:"socket_dropped"`
	Unexplained   int     `json:"unexplained"`
	Fairness      float64 `json:"fairness"` // the least of all rounds
	QueueFairness float64 `json:"queue_fairness"`
	Flood         float64 `json:"flood_per_second,omitempty"` // the mean
	RSSGrowth     int     `json:"rss_growth_kib"`             // the most of all rounds, in one rate's turn
	RSS           int     `json:"rss_kib"`                    // the most of all rounds
}

// summarisePoint puts the rounds of one together; nil where there are none.
func summarisePoint(samples []openSample, variant, name string) *pointSummary {
	s := &pointSummary{Variant: variant, Name: name, Fairness: 1, QueueFairness: 1}
	var rate, goodput, p50, p99, p999, most []float64
	for i := range samples {
		if samples[i].Variant != variant || samples[i].Invalid != "" {
			continue
		}
		for j := range samples[i].Points {
			p := &samples[i].Points[j]
			if p.Name != name {
				continue
			}
			s.Rounds++
			rate, goodput = append(rate, p.Rate), append(goodput, p.Goodput)
			p50, p99, p999, most = append(p50, p.P50), append(p99, p.P99), append(p999, p.P999), append(most, p.Max)
			s.Sent, s.Arrived = s.Sent+p.Sent, s.Arrived+p.Arrived
			s.QueueDropped, s.UserDropped = s.QueueDropped+int(p.QueueDropped), s.UserDropped+int(p.UserDropped)
			s.SocketDropped, s.Unexplained = s.SocketDropped+int(p.SocketDropped), s.Unexplained+p.Unexplained
			s.Fairness, s.QueueFairness = min(s.Fairness, p.Fairness), min(s.QueueFairness, p.QueueFairness)
			s.Flood += (p.Flood - s.Flood) / float64(s.Rounds)
			s.RSSGrowth, s.RSS = max(s.RSSGrowth, p.RSSAfter-p.RSSBefore), max(s.RSS, p.RSSAfter)
		}
	}
	if s.Rounds == 0 {
		return nil
	}
	s.Rate, s.Goodput, s.P50 = bench.NewSpread(rate), bench.NewSpread(goodput), bench.NewSpread(p50)
	s.P99, s.P999, s.Max = bench.NewSpread(p99), bench.NewSpread(p999), bench.NewSpread(most)
	return s
}

// takeMedians adds the medians by the names of their figures.
func (s *pointSummary) takeMedians(medians map[string]float64) {
	for name, spread := range map[string]*bench.Spread{"p50": s.P50, "p99": s.P99, "p99.9": s.P999, "max": s.Max,
		"goodput": s.Goodput} {
		medians[figureName(s.Variant, s.Name, name)] = spread.Median
	}
}

// judge fills in the summaries, ratios and the verdict.
func (r *LatencyResult) judge(c *LatencyConfig, required []bench.Requirement, missing map[string]error) {
	r.Notes = []string{}
	medians := map[string]float64{}
	var usual []bench.Ratio
	for _, at := range c.points() {
		for i, variant := range LatencyNames() {
			s := summarisePoint(r.Samples, variant, at.name())
			if s == nil {
				continue
			}
			r.Points = append(r.Points, *s)
			s.takeMedians(medians)
			if most := figureName(best, at.name(), "goodput"); isOther(&openVariants[i]) {
				medians[most] = max(medians[most], s.Goodput.Median)
			}
			if s.Unexplained != 0 {
				// nfqnl_enqueue_packet() frees what is left of a GSO packet when one of its segments finds
				// the queue full, and counts that one alone.
				r.Note("%s at %s: %d packets are in no counter. Beyond 60,000 a second the load sends several at "+
					"once, of which the kernel counts the first that finds the queue full.", variant, at.name(),
					s.Unexplained)
			}
		}
		for _, f := range []string{"p99", "p99.9", "goodput"} {
			usual = append(usual, bench.RatioOf(figureName("mmsg+hold", at.name(), f), figureName("c", at.name(), f)))
		}
		usual = append(usual, bench.RatioOf(figureName("mmsg+hold", at.name(), "goodput"),
			figureName(best, at.name(), "goodput")))
	}
	r.NoteMissing(LatencyNames(), missing, "")
	r.NoteOneCPU(r.Settings.LoadCPU, r.Settings.DaemonCPU, "the daemon")
	r.Ratios = bench.CompareMedians(medians, usual, required)
	r.Verdict = bench.JudgeRatios(r.Ratios, len(r.Samples), bench.FailedTurns(r.Samples, r.Interrupted), "No bounds were required.")
}

// WriteText writes the table for people, and the verdict below it.
func (r *LatencyResult) WriteText(w io.Writer) error {
	var text strings.Builder
	s := &r.Settings
	fmt.Fprintln(&text, &r.Host)
	fmt.Fprintf(&text, "%d rounds of %gs at each rate; %d flows, %d bytes of payload, %d queues of %d packets.\n", s.Rounds,
		s.Seconds, s.Flows, s.Payload, s.Queues, s.QueueLength)
	fmt.Fprintf(&text, "Times are from when a packet was due to when it was seen, medians of the rounds; x is the "+
		"program's capacity.\nFairness is the least that a flow got by the most, and the same of the queues' average "+
		"flows; memory is the most that the program had, and by how much it grew in a turn at most.\nIn ratios, best is "+
		"the floor or C, whichever did more.\n\n")
	t := tabwriter.NewWriter(&text, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t, "at\tprogram\tpackets/s\tarrived/s\tp50 us\tp99 us\tp99.9 us\tmax us\tlost\tfairness\tof queues\tMiB\tgrown")
	for i := range r.Points {
		p := &r.Points[i]
		fmt.Fprintf(t, "%s\t%s\t%.0f\t%.0f\t%.0f\t%.0f\t%.0f\t%.0f\t%.1f %%\t%.2f\t%.2f\t%.1f\t%.1f\n", p.Name, p.Variant, p.Rate.Median,
			p.Goodput.Median, p.P50.Median, p.P99.Median, p.P999.Median, p.Max.Median,
			100*float64(p.Sent-p.Arrived)/float64(p.Sent), p.Fairness, p.QueueFairness,
			float64(p.RSS)/kibPerMiB, float64(p.RSSGrowth)/kibPerMiB)
	}
	if err := t.Flush(); err != nil {
		return err
	}
	fmt.Fprintln(&text)
	return r.Judgement.WriteText(w, &text)
}

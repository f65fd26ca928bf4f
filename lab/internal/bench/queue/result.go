package queue

import (
	"fmt"
	"io"
	"strings"
	"text/tabwriter"

	"verdictd/internal/report"
	"verdictd/lab/internal/bench"
)

// Result is what `lab bench --json` writes.
type Result struct {
	bench.Head[report.Host, settings, sample]
	Variants []summary `json:"variants"`
	bench.Judgement
}

type settings struct {
	Rounds  int `json:"rounds"`
	Packets int `json:"packets"`
	Fresh   int `json:"fresh_packets"`
	Window  int `json:"window"`
	Flows   int `json:"flows"`
	Payload int `json:"payload_bytes"`
	// Copy is 0 where each program has as much copied as it does by itself.
	Copy      int `json:"copy_bytes"`
	LoadCPU   int `json:"load_cpu"`
	DaemonCPU int `json:"daemon_cpu"`
}

// A summary is one variant over all rounds.
type summary struct {
	Variant string `json:"variant"`
	// NotMeasured says why there are no figures; empty if there are.
	NotMeasured       string        `json:"not_measured"`
	ValidRounds       int           `json:"valid_rounds"`
	CPUPerPacket      *bench.Spread `json:"cpu_us_per_packet"`
	PathCPUPerPacket  *bench.Spread `json:"path_cpu_us_per_packet"`
	PacketsPerSecond  *bench.Spread `json:"packets_per_second"`
	PacketsPerReceive *bench.Spread `json:"packets_per_receive"`
	FirstUS           *bench.Spread `json:"first_us"`
	HeldUS            *bench.Spread `json:"held_us"`
	FirstP99          *bench.Spread `json:"first_p99_us"`
	HeldP99           *bench.Spread `json:"held_p99_us"`
	Asked             *bench.Spread `json:"asked_per_packet"`
	RSS               *bench.Spread `json:"rss_kib"`
}

// atPath names the figure of the whole path.
const atPath = "@path"

const kibPerMiB = 1 << 10

// figureNames are the names that ratios are of.
func figureNames(list []variant) []string {
	figures := names(list)
	for i := range list {
		figures = append(figures, list[i].name()+atPath)
	}
	return figures
}

// ratios are those of the usual case that are always shown.
var ratios = []bench.Ratio{
	bench.RatioOf("mmsg", "floor"),
	bench.RatioOf("mmsg+hold+metrics", "floor"),
	bench.RatioOf("mmsg+hold+metrics", "c"),
	bench.RatioOf("mmsg+hold+metrics", "gonfqueue"),
	bench.RatioOf("mmsg+hold+metrics", "go"),
	bench.RatioOf("mmsg+hold+metrics", "mmsg+hold"),
	bench.RatioOf("mmsg+hold+1000 rules", "mmsg+hold+metrics"),
	bench.RatioOf("mmsg+hold+1000 rules", "floor"),
	bench.RatioOf("mmsg+hold+million", "floor"),
	bench.RatioOf("mmsg+hold+flow", "floor"),
	bench.RatioOf("mmsg", "c"),
	bench.RatioOf("mmsg", "gonfqueue"),
	bench.RatioOf("mmsg+hold", "c"),
	bench.RatioOf("mmsg+hold", "gonfqueue+hold"),
	bench.RatioOf("mmsg+hold", "mmsg"),
	bench.RatioOf("mmsg+hold"+atPath, "mmsg"+atPath),
	bench.RatioOf("c+hold"+atPath, "c"+atPath),
	bench.RatioOf("new:mmsg+hold", "new:mmsg"),
	bench.RatioOf("burst:mmsg+hold", "burst:mmsg"),
	bench.RatioOf("burst:mmsg+hold"+atPath, "burst:mmsg"+atPath),
	bench.RatioOf("answer:mmsg+hold"+atPath, "answer:mmsg"+atPath),
}

// summarise puts the rounds of each variant together. Missing says why a variant was not run at all.
func summarise(variants []variant, samples []sample, missing map[string]error) []summary {
	var list []summary
	for _, name := range names(variants) {
		s := summary{Variant: name}
		var valid []*sample
		invalid := ""
		for j := range samples {
			switch m := &samples[j]; {
			case m.Variant != s.Variant:
			case m.Invalid != "":
				invalid = m.Invalid
			case m.Disturbed == "":
				valid = append(valid, m)
			}
		}
		s.ValidRounds = len(valid)
		s.NotMeasured = bench.WhyNot(s.ValidRounds, missing[s.Variant], invalid)
		of := func(figure func(*sample) *float64) *bench.Spread {
			var values []float64
			for _, m := range valid {
				if x := figure(m); x != nil {
					values = append(values, *x)
				}
			}
			return bench.NewSpread(values)
		}
		s.CPUPerPacket = of(func(m *sample) *float64 { return &m.CPUPerPacket })
		s.PathCPUPerPacket = of(func(m *sample) *float64 { return &m.PathCPUPerPacket })
		s.PacketsPerSecond = of(func(m *sample) *float64 { return &m.PacketsPerSecond })
		s.PacketsPerReceive = of(func(m *sample) *float64 { return m.PacketsPerReceive })
		s.FirstUS, s.HeldUS = of(func(m *sample) *float64 { return m.FirstUS }), of(func(m *sample) *float64 { return m.HeldUS })
		s.FirstP99 = of(func(m *sample) *float64 { return m.FirstP99 })
		s.HeldP99 = of(func(m *sample) *float64 { return m.HeldP99 })
		s.Asked = of(func(m *sample) *float64 { return m.Asked })
		s.RSS = of(func(m *sample) *float64 { rss := float64(m.RSS); return &rss })
		list = append(list, s)
	}
	return list
}

// judge fills in ratios, notes and the verdict.
func (b *Result) judge(list []variant, required []bench.Requirement, missing map[string]error) {
	b.Variants, b.Notes = summarise(list, b.Samples, missing), []string{}
	medians, widths := map[string]float64{}, map[string]float64{}
	for i := range b.Variants {
		s := &b.Variants[i]
		for name, figure := range map[string]*bench.Spread{s.Variant: s.CPUPerPacket,
			s.Variant + atPath: s.PathCPUPerPacket} {
			if figure != nil && figure.Median > 0 {
				medians[name], widths[name] = figure.Median, figure.Relative()
			}
		}
		if s.CPUPerPacket != nil {
			b.NoteNoise(s.Variant, s.CPUPerPacket)
		}
	}
	noteDisturbed(&b.Judgement, b.Samples)
	b.NoteOneCPU(b.Settings.LoadCPU, b.Settings.DaemonCPU, "the daemon")
	b.Ratios = bench.CompareMedians(medians, ratiosOf(list), required)
	for i := range b.Ratios {
		if width, ok := widths[b.Ratios[i].Under]; ok {
			b.Ratios[i].UnderSpread = &width
		}
	}
	b.Verdict = bench.JudgeRatios(b.Ratios, len(b.Samples), bench.FailedTurns(b.Samples, b.Interrupted),
		"Every packet of every round arrived; no bounds were required.")
}

func copiedText(n int) string {
	if n == 0 {
		return "of each packet verdictd has as much copied as its policy looks at, others all"
	}
	return fmt.Sprintf("%d bytes of each packet copied", n)
}

// noteDisturbed says how many rounds do not count.
func noteDisturbed(j *bench.Judgement, samples []sample) {
	rounds := map[int]bool{}
	for i := range samples {
		if s := &samples[i]; s.Disturbed != "" {
			rounds[s.Round] = true
		}
	}
	if len(rounds) > 0 {
		j.Note("%d rounds were disturbed by others and do not count.", len(rounds))
	}
}

// WriteText writes the tables for people, and the verdict below them.
func (b *Result) WriteText(w io.Writer) error {
	var text strings.Builder
	s := &b.Settings
	fmt.Fprintln(&text, &b.Host)
	fmt.Fprintf(&text, "%d rounds of %d packets with %d bytes of payload in %d settled flows, or %d in new flows: "+
		"bursts of %d, or one packet and its answer;\n",
		s.Rounds, s.Packets, s.Payload, s.Flows, s.Fresh, caseBurst.burstOf())
	fmt.Fprintf(&text, "at most %d under way; one queue, everything accepted, %s. A name before a colon says "+
		"what is otherwise.\n", s.Window, copiedText(s.Copy))
	fmt.Fprintf(&text, "The program runs on CPU %d, the load on CPU %d. CPU is all time of the program's threads, "+
		"and of verdictd guard's before another one; path adds the sends, in which are rules and conntrack.\n",
		s.DaemonCPU, s.LoadCPU)
	fmt.Fprintf(&text, "first and held: how long the gate had a packet, medians.\n\n")

	t := tabwriter.NewWriter(&text, 0, 0, 3, ' ', 0)
	fmt.Fprintln(t, "program\tCPU us/packet\tquartiles\tpath us/packet\tquartiles\tpackets/s\tpackets/receive\tfirst "+
		"us\theld us\trounds")
	for i := range b.Variants {
		v := &b.Variants[i]
		if v.CPUPerPacket == nil {
			continue
		}
		receive := "1" // what the C program does
		if v.PacketsPerReceive != nil {
			receive = fmt.Sprintf("%.1f", v.PacketsPerReceive.Median)
		}
		c, p := v.CPUPerPacket, v.PathCPUPerPacket
		fmt.Fprintf(t, "%s\t%.2f\t%.2f..%.2f\t%.2f\t%.2f..%.2f\t%.0f\t%s\t%s\t%s\t%d\n", v.Variant, c.Median, c.Q1,
			c.Q3, p.Median, p.Q1, p.Q3,
			v.PacketsPerSecond.Median, receive, v.FirstUS.MedianText(), v.HeldUS.MedianText(), v.ValidRounds)
	}
	if err := t.Flush(); err != nil {
		return err
	}
	for i := range b.Variants {
		if v := &b.Variants[i]; v.CPUPerPacket == nil {
			fmt.Fprintf(&text, "%s: not measured: %s\n", v.Variant, v.NotMeasured)
		}
	}

	fmt.Fprintln(&text)
	return b.Judgement.WriteText(w, &text)
}

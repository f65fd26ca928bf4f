package census

import (
	"slices"
	"time"

	hdr "github.com/HdrHistogram/hdrhistogram-go"

	"verdictd/internal/vocabulary"
)

// Quantiles of times, in seconds.
type Quantiles struct {
	Count uint64  `json:"count"`
	P50   float64 `json:"p50"`
	P90   float64 `json:"p90"`
	P99   float64 `json:"p99"`
	Max   float64 `json:"max"`
}

// Summary is what a [Census] has found.
type Summary struct {
	// Lifetimes are those of flows that have ended, by protocol. Exact is how many of them are by the kernel's own
	// times.
	Lifetimes map[vocabulary.Protocol]Quantiles `json:"lifetimes_seconds"`
	Exact     uint64                            `json:"lifetimes_exact"`
	// Open are the flows that have begun and not ended, by protocol, and how old they are.
	Open map[vocabulary.Protocol]Quantiles `json:"open_seconds"`
	// Older is how many flows were there already when the watch began, OlderEnded how many have ended whose beginning
	// was not seen.
	Older      uint64 `json:"older"`
	OlderEnded uint64 `json:"older_ended"`
	// Untracked is how many flows found no room in the table: they are missing among Lifetimes and Open.
	Untracked   uint64      `json:"untracked"`
	Talkers     []Talker    `json:"talkers"`
	Corrections Corrections `json:"corrections"`
}

// Summary puts together what was found up to a time, with so many talkers.
func (c *Census) Summary(talkers int, at time.Time) Summary {
	s := Summary{
		Lifetimes: make(map[vocabulary.Protocol]Quantiles), Exact: c.exact, Open: make(map[vocabulary.Protocol]Quantiles),
		Older: c.older, OlderEnded: c.olderEnded, Untracked: c.untracked,
		Talkers: c.talkers.top(talkers), Corrections: c.corrections,
	}
	for protocol, h := range c.lifetimes {
		s.Lifetimes[protocol] = quantiles(h)
	}
	ages := make(map[vocabulary.Protocol][]float64)
	for k, f := range c.flows {
		if f.began != 0 {
			ages[k.protocol] = append(ages[k.protocol], max(0, at.Sub(time.Unix(0, f.began)).Seconds()))
		}
	}
	for protocol, list := range ages {
		slices.Sort(list)
		// The smallest age that is at least as high as so many percent of them.
		rank := func(percent int) float64 { return list[max(0, (len(list)*percent+99)/100-1)] }
		s.Open[protocol] = Quantiles{uint64(len(list)), rank(50), rank(90), rank(99), rank(100)}
	}
	return s
}

func quantiles(h *hdr.Histogram) Quantiles {
	seconds := func(us int64) float64 { return float64(us) / 1e6 }
	return Quantiles{
		Count: uint64(h.TotalCount()),
		P50:   seconds(h.ValueAtQuantile(50)), P90: seconds(h.ValueAtQuantile(90)), P99: seconds(h.ValueAtQuantile(99)),
		Max: seconds(h.Max()),
	}
}

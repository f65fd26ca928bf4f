package top

import (
	"fmt"
	"strconv"
	"strings"
	"time"

	"verdictd/daemon/internal/control"
	"verdictd/internal/statistics"
)

// reading is what a daemon told at one time.
type reading struct {
	*control.Status
	at time.Time
}

// queue is one of the daemon's verdicts. Rates are a second; nil: not known.
type queue struct {
	number                            uint16
	received, accepted, dropped, lost *float64
	waiting                           uint64
	oldest                            time.Duration
}

// rule is one of the policy.
type rule struct {
	name, action string
	hits         *float64 // a second
	packets      uint64   // since it is in force
}

// gate is what the guard's is at. Rates are a second.
type gate struct {
	received, lookups, unguarded *float64
	waiting                      uint64
	oldest                       time.Duration
	elements, limit              uint64 // of the settled set
}

// figures are what happened between two readings, and how things are now.
type figures struct {
	now                               *control.Status
	queues                            []queue
	rules                             []rule
	gate                              *gate    // nil: there is none
	received, accepted, dropped, lost *float64 // of all queues; nil: the daemon judges none
}

// between compares two readings. Those of two daemons have no rates between them.
func between(before, now reading) figures {
	f := figures{now: now.Status}
	took := now.at.Sub(before.at).Seconds()
	if before.Status == nil || before.PID != now.PID || !before.Started.Equal(now.Started) || before.Statistics == nil {
		took = 0
	}
	rate := func(was, is uint64) *float64 {
		if took <= 0 || is < was {
			return nil
		}
		return new(float64(is-was) / took)
	}
	was, is := &statistics.Document{}, now.Statistics
	if before.Status != nil && before.Statistics != nil {
		was = before.Statistics
	}
	if is == nil {
		return f // it begins or ends
	}
	for _, q := range is.Queues {
		p := queueOf(was, q.Queue)
		f.queues = append(f.queues, queue{
			number: q.Queue, received: rate(p.Received, q.Received), accepted: rate(p.Accepted, q.Accepted),
			dropped: rate(p.Dropped, q.Dropped), lost: rate(drops(&p.KernelDrops), drops(&q.KernelDrops)),
			waiting: q.Waiting, oldest: seconds(q.OldestSeconds),
		})
	}
	if t := is.Total; t != nil {
		p := was.Total
		if p == nil {
			p = &statistics.Totals{}
		}
		f.received, f.accepted, f.dropped = rate(p.Received, t.Received), rate(p.Accepted, t.Accepted), rate(p.Dropped, t.Dropped)
		f.lost = rate(drops(&p.KernelDrops), drops(&t.KernelDrops))
	}
	for i, r := range is.Rules {
		one := rule{name: r.Name, action: r.Action, packets: r.Packets}
		if p := ruleOf(was, i, r.Name); p != nil {
			one.hits = rate(p.Packets, r.Packets)
		}
		f.rules = append(f.rules, one)
	}
	if g := is.Gate; g != nil {
		p := was.Gate
		if p == nil {
			p = &statistics.Gate{}
		}
		f.gate = &gate{
			received: rate(p.Total.Received, g.Total.Received), lookups: rate(p.Total.Asked, g.Total.Asked),
			unguarded: rate(p.Total.Unguarded+p.Total.Expired, g.Total.Unguarded+g.Total.Expired),
			waiting:   g.Total.Waiting, oldest: seconds(g.Total.OldestSeconds),
			elements: g.Total.Elements, limit: g.Total.Limit,
		}
	}
	return f
}

func drops(k *statistics.KernelDrops) uint64 { return k.QueueDropped + k.UserDropped }

func seconds(s float64) time.Duration { return time.Duration(s * float64(time.Second)) }

// queueOf is a queue in a document; one that is not there has counted nothing.
func queueOf(d *statistics.Document, number uint16) statistics.QueueVerdicts {
	for _, q := range d.Queues {
		if q.Queue == number {
			return q
		}
	}
	return statistics.QueueVerdicts{}
}

// ruleOf is a rule in a document; nil: a reload has put another one in its place.
func ruleOf(d *statistics.Document, i int, name string) *statistics.Rule {
	if i >= len(d.Rules) || d.Rules[i].Name != name {
		return nil
	}
	return &d.Rules[i]
}

// amount writes a number in at most five characters: 0.5, 12, 3.4k, 120k, 1.2M.
func amount(v *float64) string {
	if v == nil {
		return "-"
	}
	n := *v
	for _, unit := range []string{"", "k", "M", "G"} {
		switch {
		case n < 9.95 && n != float64(int(n)):
			return strconv.FormatFloat(n, 'f', 1, 64) + unit
		case n < 999.5:
			return strconv.FormatFloat(n, 'f', 0, 64) + unit
		}
		n /= 1000
	}
	return ">1T"
}

// plain writes a number with all its digits, and a small one with one behind the point.
func plain(v *float64) string {
	if v != nil && *v >= 9.95 && *v < 1e9 {
		return strconv.FormatFloat(*v, 'f', 0, 64)
	}
	return amount(v)
}

// age writes a time in at most five characters.
func age(d time.Duration) string {
	switch {
	case d <= 0:
		return "-"
	case d < time.Second:
		return fmt.Sprintf("%dms", d.Milliseconds())
	case d < 10*time.Minute:
		return fmt.Sprintf("%.0fs", d.Seconds())
	case d < 100*time.Hour:
		return strings.TrimSuffix(d.Truncate(time.Minute).String(), "0s")
	}
	return ">99h"
}

package observe

import (
	"strconv"

	"github.com/prometheus/client_golang/prometheus"

	"verdictd/internal/ct"
)

// Collector reads its sources whenever Prometheus asks.
type Collector struct {
	set *Set

	up, entries, limit, queued, queueDropped, userDropped, events, lost *prometheus.Desc
	counters                                                            map[ct.Counter]*prometheus.Desc
}

// NewCollector serves the namespaces of a set, each labelled with its name as netns. One
// that was named and is not there is down (up is 0) until it is made again.
//
// Conntrack's counters are labelled by CPU as well: each wraps at 32 bits, which Prometheus takes for a restart, as it
// should; of a sum over CPUs it could not know.
func NewCollector(set *Set) *Collector {
	describe := func(name, help string, labels ...string) *prometheus.Desc {
		return prometheus.NewDesc("conntrackwatch_"+name, help, append([]string{"netns"}, labels...), nil)
	}
	c := &Collector{
		set:          set,
		up:           describe("up", "Whether the namespace could be read."),
		entries:      describe("conntrack_entries", "Entries in conntrack's table."),
		limit:        describe("conntrack_entries_limit", "Entries that the table takes (nf_conntrack_max)."),
		queued:       describe("queue_packets", "Packets that wait in a queue for a verdict.", "queue"),
		queueDropped: describe("queue_dropped_total", "Packets dropped as the queue was full.", "queue"),
		userDropped: describe("queue_user_dropped_total", "Packets dropped as the program's socket could not take them.",
			"queue"),
		events:   describe("events_total", "Conntrack events that this program's listener received.", "type"),
		lost:     describe("events_lost_total", "Conntrack events that this program's listener lost."),
		counters: map[ct.Counter]*prometheus.Desc{},
	}
	for _, counter := range ct.AllCounters() {
		c.counters[counter] = describe("conntrack_"+counter.String()+"_total", "The kernel's conntrack counter "+
			counter.String()+"; what it counts depends on the kernel.", "cpu")
	}
	return c
}

// Describe implements prometheus.Collector.
func (c *Collector) Describe(to chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{c.up, c.entries, c.limit, c.queued, c.queueDropped, c.userDropped, c.events,
		c.lost} {
		to <- d
	}
	for _, d := range c.counters {
		to <- d
	}
}

// Collect implements prometheus.Collector.
func (c *Collector) Collect(to chan<- prometheus.Metric) {
	for _, s := range c.set.Sources() {
		r, err := s.Read()
		up := 1.
		if err != nil {
			up = 0
		}
		gauge := func(d *prometheus.Desc, v float64, labels ...string) {
			to <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, v, append([]string{s.Name}, labels...)...)
		}
		count := func(d *prometheus.Desc, v float64, labels ...string) {
			to <- prometheus.MustNewConstMetric(d, prometheus.CounterValue, v, append([]string{s.Name}, labels...)...)
		}
		gauge(c.up, up)
		if e := r.Events; e != nil {
			count(c.events, float64(e.Total.New), "new")
			count(c.events, float64(e.Total.Update), "update")
			count(c.events, float64(e.Total.Destroy), "destroy")
			if e.LostEvents.Sent {
				count(c.lost, float64(e.LostEvents.N))
			}
		}
		if err != nil {
			continue
		}
		if v := r.Table.Entries; v.Sent {
			gauge(c.entries, float64(v.N))
		}
		if v := r.Table.MaxEntries; v.Sent {
			gauge(c.limit, float64(v.N))
		}
		for _, cpu := range r.CPUs {
			for counter, d := range c.counters {
				if v := cpu.Counters[counter]; v.Sent {
					count(d, float64(v.N), strconv.Itoa(cpu.CPU))
				}
			}
		}
		for _, q := range r.Queues {
			number := strconv.Itoa(int(q.Queue))
			gauge(c.queued, float64(q.Queued), number)
			count(c.queueDropped, float64(q.QueueDropped), number)
			count(c.userDropped, float64(q.UserDropped), number)
		}
	}
}

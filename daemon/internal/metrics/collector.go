package metrics

import (
	"reflect"
	"strconv"

	"github.com/prometheus/client_golang/prometheus"

	"verdictd/internal/statistics"
)

const prefix = "verdictd_"

// family is one type of package statistics, as metrics.
type family struct {
	fields []statistics.Field
	descs  []*prometheus.Desc
}

func newFamily[T any](name string, labels ...string) family {
	f := family{fields: statistics.Fields[T]()}
	for _, field := range f.fields {
		full := prefix + name + field.Name
		if field.Kind == statistics.Counter {
			full += "_total"
		}
		f.descs = append(f.descs, prometheus.NewDesc(full, field.Help, labels, nil))
	}
	return f
}

// collect sends the numbers of one value.
func (f *family) collect(to chan<- prometheus.Metric, of any, labels ...string) {
	v := reflect.ValueOf(of)
	for i := range f.fields {
		field, desc := &f.fields[i], f.descs[i]
		switch field.Kind {
		case statistics.Distribution:
			if t := field.Times(v); t != nil {
				to <- newTimes(desc, t, labels...)
			}
		case statistics.Gauge:
			to <- prometheus.MustNewConstMetric(desc, prometheus.GaugeValue, field.Value(v), labels...)
		case statistics.Counter:
			to <- prometheus.MustNewConstMetric(desc, prometheus.CounterValue, field.Value(v), labels...)
		}
	}
}

// collector reads the counters whenever Prometheus asks.
type collector struct {
	read                              func() *statistics.Document
	queue, rules, sets, samples, gate family
	guard                             *prometheus.Desc
}

func newCollector(read func() *statistics.Document) *collector {
	return &collector{
		read:    read,
		queue:   newFamily[statistics.QueueVerdicts]("queue_", "queue"),
		rules:   newFamily[statistics.Rule]("rule_", "rule", "action"),
		sets:    newFamily[statistics.Set]("set_", "set", "type"),
		samples: newFamily[statistics.Samples]("samples_"),
		gate:    newFamily[statistics.GateTotals]("gate_"),
		guard:   prometheus.NewDesc(prefix+"guard_info", "What the clash guard does.", []string{"mode"}, nil),
	}
}

// Describe implements prometheus.Collector.
func (c *collector) Describe(to chan<- *prometheus.Desc) {
	to <- c.guard
	for _, f := range []family{c.queue, c.rules, c.sets, c.samples, c.gate} {
		for _, d := range f.descs {
			to <- d
		}
	}
}

// Collect implements prometheus.Collector.
func (c *collector) Collect(to chan<- prometheus.Metric) {
	d := c.read()
	if d.Guard != "" {
		to <- prometheus.MustNewConstMetric(c.guard, prometheus.GaugeValue, 1, d.Guard)
	}
	for i := range d.Queues {
		c.queue.collect(to, d.Queues[i], strconv.Itoa(int(d.Queues[i].Queue)))
	}
	for i := range d.Rules {
		c.rules.collect(to, d.Rules[i], d.Rules[i].Name, d.Rules[i].Action)
	}
	for i := range d.Sets {
		c.sets.collect(to, d.Sets[i], d.Sets[i].Name, d.Sets[i].Type)
	}
	if d.Samples != nil {
		c.samples.collect(to, *d.Samples)
	}
	if d.Gate != nil {
		c.gate.collect(to, d.Gate.Total)
	}
}

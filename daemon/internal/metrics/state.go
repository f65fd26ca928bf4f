package metrics

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"

	"verdictd/daemon/internal/audit"
	"verdictd/internal/kernelfacts"
	"verdictd/internal/statistics"
)

// Metrics are what the daemon tells Prometheus. Its methods may be called from any
// goroutine.
type Metrics struct {
	registry *prometheus.Registry

	verdict, fact, rules          *prometheus.GaugeVec
	reloads, takeovers            *prometheus.CounterVec
	changed, restored, deleted    prometheus.Counter
	reloaded, reloadedAt, workers prometheus.Gauge
	restarts                      prometheus.Gauge
}

// Results of a reload, as labels.
const (
	succeeded = "success"
	failed    = "failure"
)

// New makes those of one life of a version, which has its counters read.
func New(version string, read func() *statistics.Document) *Metrics {
	m := &Metrics{registry: prometheus.NewRegistry()}
	gauges := func(name, help string, labels ...string) *prometheus.GaugeVec {
		g := prometheus.NewGaugeVec(prometheus.GaugeOpts{Name: prefix + name, Help: help}, labels)
		m.registry.MustRegister(g)
		return g
	}
	counters := func(name, help string, labels ...string) *prometheus.CounterVec {
		c := prometheus.NewCounterVec(prometheus.CounterOpts{Name: prefix + name, Help: help}, labels)
		m.registry.MustRegister(c)
		return c
	}
	gauges("build_info", "The version of verdictd.", "version").WithLabelValues(version).Set(1)
	m.verdict = gauges("audit_verdict", "Where the machine stands, its own guarded queues left out.", "verdict")
	m.fact = gauges("audit_fact", "How a fault of kernels applies to this one.", "fact", "status")
	m.rules = gauges("rules_present", "Whether the rules are there as they should be: 0 from their removal until they are back.", "owner", "table")
	m.changed = counters("rules_changed_total", "How often somebody else was found to have removed or changed the daemon's rules.").WithLabelValues()
	m.restored = counters("rules_restored_total", "How often the daemon's rules were put back.").WithLabelValues()
	m.deleted = counters("foreign_base_chains_deleted_total", "Base chains that somebody else deleted; with each the kernel drops all packets that wait in queues.").WithLabelValues()
	m.reloads = counters("reloads_total", "Reloads of the configuration by their result.", "result")
	m.reloaded = gauges("reload_successful", "Whether the last reload of the configuration succeeded.").WithLabelValues()
	m.reloadedAt = gauges("reload_success_timestamp_seconds", "When the configuration in force was read.").WithLabelValues()
	m.takeovers = counters("takeovers_total", "Queues that were taken over from the daemon before, which had stopped or died.", "queues")
	m.restarts = gauges("restarts_taken_over", "Restarts in a row in which a daemon went on with the queues of the one before.").WithLabelValues()
	m.workers = gauges("stuck_workers", "Workers that make no progress while packets wait.").WithLabelValues()
	for _, result := range []string{succeeded, failed} {
		m.reloads.WithLabelValues(result)
	}
	m.takeovers.WithLabelValues("verdict")
	m.takeovers.WithLabelValues("gate")
	m.reloaded.Set(1)
	m.reloadedAt.SetToCurrentTime()
	m.registry.MustRegister(newCollector(read), collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	return m
}

// only sets the one gauge of a vector that is true.
func only(v *prometheus.GaugeVec, labels ...string) {
	v.Reset()
	v.WithLabelValues(labels...).Set(1)
}

// Audit tells what the last audit found.
func (m *Metrics) Audit(verdict audit.Verdict, facts []kernelfacts.Finding) {
	only(m.verdict, string(verdict))
	m.fact.Reset()
	for _, f := range facts {
		m.fact.WithLabelValues(f.ID, string(f.Status)).Set(1)
	}
}

// Rules implements guard.Reporter.
func (m *Metrics) Rules(owner, table string, present bool) {
	v := 0.
	if present {
		v = 1
	}
	m.rules.WithLabelValues(owner, table).Set(v)
}

// Changed implements guard.Reporter.
func (m *Metrics) Changed() { m.changed.Inc() }

// Restored implements guard.Reporter.
func (m *Metrics) Restored() { m.restored.Inc() }

// BaseChainsDeleted implements guard.Reporter.
func (m *Metrics) BaseChainsDeleted(chains int) { m.deleted.Add(float64(chains)) }

// Reloaded tells of a reload.
func (m *Metrics) Reloaded(ok bool) {
	if !ok {
		m.reloads.WithLabelValues(failed).Inc()
		m.reloaded.Set(0)
		return
	}
	m.reloads.WithLabelValues(succeeded).Inc()
	m.reloaded.Set(1)
	m.reloadedAt.Set(float64(time.Now().UnixMilli()) / 1e3)
}

// TakenOver tells how many queues were taken over at the start, and how many restarts in
// a row that makes.
func (m *Metrics) TakenOver(verdict, gate int, restarts uint64) {
	m.restarts.Set(float64(restarts))
	m.takeovers.WithLabelValues("verdict").Add(float64(verdict))
	m.takeovers.WithLabelValues("gate").Add(float64(gate))
}

// Stuck tells how many workers make no progress.
func (m *Metrics) Stuck(workers int) { m.workers.Set(float64(workers)) }

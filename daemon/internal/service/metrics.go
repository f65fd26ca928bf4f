package service

import (
	"context"
	"net/http"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"verdictd/daemon/internal/audit"
	"verdictd/daemon/internal/control"
	"verdictd/internal/kernelfacts"
	"verdictd/internal/vocabulary"
)

// export runs the audit once, logs what matters of it, and has it served to Prometheus.
func (s *service) export(ctx context.Context) {
	answer, machine := audit.AtStart(ctx, s.guarded())
	s.audit = control.Audit{Verdict: string(answer.Verdict), Answer: answer.Sentence}
	s.Log.Info("audit: "+answer.Sentence, "verdict", answer.Verdict)
	for _, why := range answer.Why {
		s.Log.Info("audit: " + why)
	}
	h := promhttp.HandlerFor(auditMetrics(s.Version, answer.Verdict, machine.Facts, s.keeper.Mode()), promhttp.HandlerOpts{})
	s.metrics.Store(&h)
}

// scraped answers Prometheus, as soon as there is something to say.
func (s *service) scraped(w http.ResponseWriter, r *http.Request) {
	if h := s.metrics.Load(); h != nil {
		(*h).ServeHTTP(w, r)
		return
	}
	http.Error(w, "the daemon is starting", http.StatusServiceUnavailable)
}

// auditMetrics are gauges that are 1, with what they say in their labels.
func auditMetrics(version string, verdict audit.Verdict, facts []kernelfacts.Finding, mode vocabulary.GuardMode) *prometheus.Registry {
	registry := prometheus.NewRegistry()
	info := func(name, help string, labels ...string) *prometheus.GaugeVec {
		g := prometheus.NewGaugeVec(prometheus.GaugeOpts{Name: name, Help: help}, labels)
		registry.MustRegister(g)
		return g
	}
	info("verdictd_build_info", "The version of verdictd.", "version").WithLabelValues(version).Set(1)
	info("verdictd_guard_info", "What the clash guard does.", "mode").WithLabelValues(string(mode)).Set(1)
	info("verdictd_audit_verdict", "Where the machine stood when the daemon started, its own guarded queues left out.", "verdict").
		WithLabelValues(string(verdict)).Set(1)
	fact := info("verdictd_audit_fact", "How a fault of kernels applies to this one.", "fact", "status")
	for _, f := range facts {
		fact.WithLabelValues(f.ID, string(f.Status)).Set(1)
	}
	return registry
}

package service

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"verdictd/daemon/internal/audit"
	"verdictd/internal/kernelfacts"
	"verdictd/internal/vocabulary"
)

// exportAudit runs the audit once, logs what matters of it, and serves it to
// Prometheus until the returned function is called.
func (s *service) exportAudit(ctx context.Context) (stop func(), err error) {
	var guarded []uint16
	mode := s.keeper.Mode()
	if mode != vocabulary.GuardOff {
		for i := range s.cfg.Queues.Count {
			guarded = append(guarded, s.cfg.Queues.First+uint16(i))
		}
	}
	answer, machine := audit.AtStart(ctx, guarded)
	s.log.Info("audit: "+answer.Sentence, "verdict", answer.Verdict)
	for _, why := range answer.Why {
		s.log.Info("audit: " + why)
	}
	if s.cfg.Metrics.Listen == "" {
		return func() {}, nil
	}
	listener, err := net.Listen("tcp", s.cfg.Metrics.Listen)
	if err != nil {
		return nil, fmt.Errorf("serve metrics (metrics.listen): %w", err)
	}
	server := &http.Server{
		Handler:           promhttp.HandlerFor(auditMetrics(s.version, answer.Verdict, machine.Facts, mode), promhttp.HandlerOpts{}),
		ReadHeaderTimeout: 5 * time.Second,
	}
	go func() {
		if err := server.Serve(listener); !errors.Is(err, http.ErrServerClosed) {
			s.log.Error("metrics are served no more", "error", err)
		}
	}()
	return func() {
		if err := server.Close(); err != nil {
			s.log.Warn("stop serving metrics", "error", err)
		}
	}, nil
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

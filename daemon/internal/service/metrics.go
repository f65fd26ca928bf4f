package service

import (
	"context"
	"time"

	"verdictd/daemon/internal/audit"
	"verdictd/daemon/internal/control"
)

// auditAgain is how long the audit's answer holds while rules do not change, and the
// least time between two of them.
const (
	auditAgain = time.Minute
	auditSoon  = 5 * time.Second
)

// export runs the audit, logs what matters of it, and tells Prometheus.
func (s *service) export(ctx context.Context) {
	answer, _ := s.auditNow(ctx)
	s.Log.Info("audit: "+answer.Sentence, "verdict", answer.Verdict)
	for _, why := range answer.Why {
		s.Log.Info("audit: " + why)
	}
}

// auditNow runs the audit.
func (s *service) auditNow(ctx context.Context) (audit.Answer, *audit.Machine) {
	answer, machine := audit.AtStart(ctx, s.guarded())
	s.audit = control.Audit{Verdict: string(answer.Verdict), Answer: answer.Sentence}
	s.metrics.Audit(answer.Verdict, machine.Facts)
	s.seen.audited, s.seen.stale = time.Now(), false
	return answer, machine
}

// refresh runs the audit again where its answer may have changed, and logs a new verdict.
func (s *service) refresh(ctx context.Context) {
	if age := time.Since(s.seen.audited); age < auditSoon || age < auditAgain && !s.seen.stale {
		return
	}
	before := s.audit.Verdict
	if answer, _ := s.auditNow(ctx); string(answer.Verdict) != before {
		s.Log.Warn("audit: "+answer.Sentence, "verdict", answer.Verdict, "before", before)
	}
}

// reporter tells Prometheus how the rules fare, and has the audit look again.
type reporter service

// Rules implements guard.Reporter.
func (r *reporter) Rules(owner, table string, present bool) {
	r.metrics.Rules(owner, table, present)
	r.seen.stale = true
}

// Followed implements guard.Reporter: any rules have changed, of which the audit tells.
func (r *reporter) Followed() {
	s := (*service)(r)
	s.seen.stale = true
	if s.state.Load() != control.Running {
		return // the start has an audit of its own
	}
	if wait := auditSoon - time.Since(s.seen.audited); wait > 0 {
		if s.seen.again == nil {
			s.seen.again = time.AfterFunc(wait, func() {
				_ = s.do(context.Background(), func() { // too late where it stops
					s.seen.again = nil
					s.refresh(context.Background())
				})
			})
		}
		return
	}
	s.refresh(context.Background())
}

// Changed implements guard.Reporter.
func (r *reporter) Changed() { r.metrics.Changed() }

// Restored implements guard.Reporter.
func (r *reporter) Restored() { r.metrics.Restored() }

// BaseChainsDeleted implements guard.Reporter.
func (r *reporter) BaseChainsDeleted(chains int) { r.metrics.BaseChainsDeleted(chains) }

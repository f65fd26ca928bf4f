package service

import (
	"verdictd/daemon/internal/failure"
	"verdictd/daemon/internal/supervise"
	"verdictd/internal/config"
	"verdictd/internal/netlab"
	"verdictd/internal/vocabulary"
)

// FailurePlan is what becomes of packets where the daemon does not come back.
func FailurePlan(cfg *config.Config) failure.Plan {
	return failure.Plan{
		OnFailure: cfg.OnFailure, LongestWait: cfg.Failure.LongestWait,
		Table: guardOptions(cfg, nil).Table, FirstQueue: cfg.Queues.First, Queues: cfg.Queues.Count,
	}
}

// guardFailurePlan is that of the gate alone, whose packets pass it where nobody listens: it judges none.
func guardFailurePlan(cfg *config.Config) failure.Plan {
	return failure.Plan{OnFailure: vocabulary.FailAccept, LongestWait: cfg.Failure.LongestWait, Table: guardTable}
}

// tellFailure says it to whoever outlives the daemon.
func (s *service) tellFailure() {
	p := FailurePlan(s.cfg)
	if s.command == "guard" {
		p = guardFailurePlan(s.cfg)
	}
	p.NetNS = netlab.Number()
	s.notify(supervise.FailureKey + "=" + p.String())
	if err := failure.Remember(p); err != nil {
		s.Log.Warn("a unit's `verdictd release` does not know what to do", "error", err)
	}
}

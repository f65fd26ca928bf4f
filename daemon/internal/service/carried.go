package service

import (
	"context"
	"strings"

	"verdictd/daemon/internal/samples"
	"verdictd/internal/config"
)

// carried completes what packets are judged by with what the kernel's rules are told.
func (j *judging) carried(cfg *config.Config, generation uint16) {
	j.Marks, j.Generation = 0, 0
	if cfg.Rules.Queues() && cfg.Policy.NeedsMarks() {
		j.Marks, j.Generation = cfg.Rules.MarkMask, generation
	}
}

// carry has the rules, which are there by now, take part in verdicts. With again, all
// verdicts on flows are void: another policy judges, or a set has other entries.
func (s *service) carry(cfg *config.Config, again bool) error {
	generation := s.keeper.Generation()
	if again {
		var err error
		if generation, err = s.keeper.Renew(); err != nil {
			return err
		}
	}
	if s.judging.carried(cfg, generation); s.judging.Marks == 0 {
		return nil
	}
	return s.engine.Judge(s.judging.Judgement)
}

// fill has the kernel fill the queues, by rules that take part in verdicts.
func (s *service) fill(ctx context.Context, cfg *config.Config, more []uint16) error {
	if err := s.keeper.Begin(ctx); err != nil {
		return err
	}
	if err := s.carry(cfg, false); err != nil {
		return err
	}
	return s.retire(more)
}

// changesVerdicts reports whether packets may be judged otherwise, where these keys have
// changed.
func changesVerdicts(changed []string) bool {
	for _, key := range changed {
		if key == "policy" || strings.HasPrefix(key, "policy.") || strings.HasPrefix(key, "rules.") {
			return true
		}
	}
	return false
}

// followSets has verdicts on flows void whenever a set's file was read again.
func (s *service) followSets(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-s.watcher.Changes():
		}
		err := s.do(ctx, func() {
			if err := s.carry(s.cfg, true); err != nil {
				s.Log.Error("verdicts on flows by a set as it was stay in force", "error", err)
			}
		})
		if err != nil {
			return
		}
	}
}

// trySamples opens the files that rules take samples to, where they are others than before.
func (s *service) trySamples(cfg *config.Config) (next *samples.Sampler, err error) {
	if c := &cfg.Policy.Samples; c.Directory != "" && (s.samples == nil || s.cfg.Policy.Samples != *c) {
		return samples.Open(samples.Config{Directory: c.Directory, Bytes: int64(c.Bytes), Files: c.Files, Log: s.Log})
	}
	return nil, nil
}

// sampled names who takes samples.
func (j *judging) sampled(next, before *samples.Sampler, cfg *config.Config) {
	switch {
	case next != nil:
		j.Samples = next
	case before != nil && cfg.Policy.Samples.Directory != "":
		j.Samples = before
	}
}

// enterSamples has them take the place of those before. What a worker gives to these at the
// moment is left out.
func (s *service) enterSamples(next *samples.Sampler, cfg *config.Config) {
	if next == nil && cfg.Policy.Samples.Directory != "" {
		return
	}
	if err := s.closeSamples(); err != nil {
		s.Log.Warn("samples of packets are not complete", "error", err)
	}
	s.samples = next
}

func (s *service) closeSamples() error {
	if s.samples == nil {
		return nil
	}
	return s.samples.Close()
}

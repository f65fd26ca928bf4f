package service

import (
	"errors"
	"fmt"
	"slices"
	"time"

	"verdictd/daemon/internal/engine"
	"verdictd/daemon/internal/policy"
	"verdictd/daemon/internal/sets/live"
	"verdictd/daemon/internal/translate"
	"verdictd/internal/config"
	"verdictd/internal/nfq"
)

// judging is what packets are judged by, and what that takes.
type judging struct {
	engine.Judgement
	sets     []*live.Set
	attached nfq.Attached
	copied   translate.Copied
}

// prepare makes it of a configuration, with what stays of the one before, which may be nil.
// It takes seconds where sets are large, and nothing of it is in force.
func prepare(cfg *config.Config, before *judging) (j *judging, problems translate.Problems) {
	var sets []*live.Set
	var rules *policy.Policy
	if before != nil {
		sets, rules = before.sets, before.Policy
	}
	live.Quietly(func() {
		if sets, problems = translate.Sets(&cfg.Policy, sets); len(problems) > 0 {
			return
		}
		var err error
		if rules, err = translate.Policy(&cfg.Policy, sets, rules); err != nil && !errors.As(err, &problems) {
			problems = translate.Problems{{Key: "policy", Text: err.Error()}}
		}
	})
	if len(problems) > 0 {
		return nil, problems
	}
	needs := rules.Needs()
	copied, problems := translate.CopiedBy(cfg, needs)
	if problems = append(problems, translate.Contradictions(cfg, needs)...); len(problems) > 0 {
		return nil, problems
	}
	return &judging{
		Judgement: judgement(cfg, rules, &copied), sets: sets, copied: copied,
		attached: nfq.Attached{
			Conntrack: cfg.Queues.Conntrack || needs.Conntrack || needs.ConnMark,
			UIDGID:    cfg.Queues.UIDGID || needs.UIDGID,
			CopyRange: copied.Bytes,
		},
	}, nil
}

// Judgement is what a configuration has packets judged by, with all sets as they are now.
func Judgement(cfg *config.Config) (engine.Judgement, error) {
	j, problems := prepare(cfg, nil)
	if len(problems) > 0 {
		return engine.Judgement{}, problems
	}
	return j.Judgement, nil
}

// suits tells what stands against judging so with the kernel that there is.
func (j *judging) suits() (problems translate.Problems) {
	add := func(key, format string, args ...any) {
		problems = append(problems, translate.Problem{Key: key, Text: fmt.Sprintf(format, args...)})
	}
	if err := j.attached.Try(); err != nil {
		add("policy.rules", "look at what this kernel does not tell: %v", err)
	}
	needs := j.Policy.Needs()
	if needs.SetConnMark && !j.attached.Conntrack {
		if err := (nfq.Attached{Conntrack: true}).Try(); err != nil {
			add("policy.rules", "set conntrack's mark, which this kernel does not do for a queue: %v", err)
		}
	}
	return problems
}

// asksConntrack has the kernel tell of conntrack's entries where it can and names are looked
// for: it tells the first packet of a connection from one that only looks so.
func (j *judging) asksConntrack() {
	if with := j.attached.With(nfq.Attached{Conntrack: true, CopyRange: j.attached.CopyRange}); j.Policy.Needs().Names && with.Try() == nil {
		j.attached = with
	}
}

// judge has packets judged by something else. Those that were queued without what it takes
// are judged before: the kernel is asked for more first, and for less last.
func (s *service) judge(j *judging) error {
	before := s.judging
	both := before.attached.With(j.attached)
	if both != before.attached {
		if err := s.engine.Attach(both); err != nil {
			return err
		}
		s.catchUp()
	}
	if err := s.engine.Judge(j.Judgement); err != nil {
		return errors.Join(err, s.engine.Attach(before.attached))
	}
	if both != j.attached {
		if err := s.engine.Attach(j.attached); err != nil {
			// Some queues may bring less already: the judgement before would have their packets copied again for ever.
			return errors.Join(err, s.engine.Attach(both), s.engine.Judge(before.Judgement))
		}
	}
	s.judging = j
	s.devices.Tell(j.Policy)
	s.watcher.Follow(j.sets)
	return nil
}

// caughtUpWithin bounds how long packets in a queue are waited for.
const caughtUpWithin = time.Second

// catchUp returns when the workers have judged what is queued now.
func (s *service) catchUp() {
	waits := slices.DeleteFunc(s.kernelQueues(), func(k nfq.KernelQueue) bool { return !s.engine.Owns(k.Queue) || k.Queued == 0 })
	for until := time.Now().Add(caughtUpWithin); len(waits) > 0 && time.Now().Before(until); time.Sleep(100 * time.Microsecond) {
		waits = slices.DeleteFunc(waits, func(k nfq.KernelQueue) bool { return int32(s.engine.Answered(k.Queue)-k.IDSequence) >= 0 })
	}
}

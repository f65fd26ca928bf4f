package service

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/coreos/go-systemd/v22/daemon"

	"verdictd/daemon/internal/control"
	"verdictd/daemon/internal/engine"
	"verdictd/daemon/internal/guard"
	"verdictd/daemon/internal/logs"
	"verdictd/daemon/internal/translate"
	"verdictd/internal/config"
	"verdictd/internal/nfq"
)

// reload brings a running daemon to what its file says now, or leaves it as it is:
//
//  1. The file is read and checked, whole, and so are the files of its sets.
//  2. Keys that change with a restart only are refused, by their names.
//  3. What it names is tried, and opened: nothing else can fail outside of the kernel.
//  4. The policy, and settings of queues and threads. What is received from then on is judged by the new one.
//  5. The guard and the rules, in one transaction of nftables.
//  6. What becomes of packets without the daemon is told to who outlives it.
//  7. Doors: metrics and control socket.
//
// Where a step fails, those before it are undone and the configuration before stays.
// Nothing of this stops a worker: packets are judged all the time.
//
// Reloads come one after the other. The file is waited for outside of the goroutine that
// the life belongs to, and its sets are read there; errStopping: the rest comes too late.
func (s *service) reload(ctx context.Context) (*control.Reload, error) {
	s.reloading.Lock()
	defer s.reloading.Unlock()
	r := &control.Reload{Schema: control.Schema, Result: control.Refused, File: s.File, Began: time.Now(), Changed: []string{}, Problems: []control.Problem{}}
	// systemd takes the end for that of its own reload only with the time (Type=notify-reload).
	s.notify(daemon.SdNotifyReloading + "\n" + strings.TrimSpace(daemon.SdNotifyMonotonicUsec()))
	next, err := s.loadAgain()
	var by *judging
	if err == nil && s.judging != nil {
		// Here, as it may take seconds. What there is changes with a reload only.
		var problems translate.Problems
		by, problems = prepare(next.Config, s.judging)
		refuse(r, next, problems)
	}
	stopping := s.do(ctx, func() {
		s.state.Store(control.Reloading)
		if err := s.change(ctx, r, next, by, err); err != nil {
			r.Error = err.Error()
		}
		r.Seconds = time.Since(r.Began).Seconds()
		s.tellReload(r)
		s.state.Store(control.Running)
		s.notify(daemon.SdNotifyReady)
	})
	if stopping != nil {
		return nil, stopping
	}
	return r, nil
}

func (s *service) loadAgain() (*config.File, error) {
	if s.File == "" {
		return nil, errors.New("there is no configuration file: start with --config, and then reload")
	}
	return config.LoadAgain(s.File)
}

// change does the steps, with what the file has. What is wrong with the configuration is
// put into the reload's problems; the error is what else failed.
func (s *service) change(ctx context.Context, r *control.Reload, next *config.File, by *judging, err error) error {
	if err != nil {
		r.Problems = control.Problems(config.Problems(err))
		if len(r.Problems) == 0 {
			return err
		}
		return nil
	}
	r.Changed = slices.DeleteFunc(config.Changed(s.cfg, next.Config), s.ignores)
	for _, key := range r.Changed {
		if why := s.fixed(key); why != "" {
			refuse(r, next, translate.Problems{{Key: key, Text: why}})
		}
	}
	if s.command == "guard" && next.Guard.Mode == "off" {
		refuse(r, next, errGuardOff)
	}
	if len(r.Problems) > 0 {
		return nil
	}
	t := s.try(ctx, next.Config, s.cfg, by)
	refuse(r, next, t.problems)
	if len(r.Problems) > 0 {
		t.close()
		return nil
	}
	if err := s.apply(ctx, next.Config, by, changesVerdicts(r.Changed)); err != nil {
		t.close()
		return err
	}
	s.enter(t, next.Config)
	s.cfg, s.read, s.tuned = next.Config, r.Began, false
	s.tellFailure()
	r.Result = control.Done
	if len(r.Changed) == 0 {
		r.Result = control.Unchanged
	}
	return nil
}

// refuse adds to a reload's problems, each with its place in the file.
func refuse(r *control.Reload, next *config.File, problems translate.Problems) {
	for _, p := range problems {
		r.Problems = append(r.Problems, control.Problem(*next.Problem(p.Key, "%s", p.Text)))
	}
}

// apply changes what packets meet, and what is said of them.
func (s *service) apply(ctx context.Context, next *config.Config, by *judging, again bool) error {
	before := s.judging
	if s.engine != nil {
		by.carried(next, 0) // what is for flows is for packets alone until the rules are there
		if err := s.judge(by); err != nil {
			return err
		}
		if err := s.tune(&next.Queues); err != nil {
			return errors.Join(err, s.judge(before), s.tune(&s.cfg.Queues))
		}
	}
	o := s.optionsOf(next)
	change := func(o guard.Options) error {
		return s.keeper.Change(ctx, func(to *guard.Options) {
			to.Guard, to.Rules, to.Own, to.Spread, to.Manage = o.Guard, o.Rules, o.Own, o.Spread, o.Manage
			to.Repeats, to.HandsOn = o.Repeats, o.HandsOn
		})
	}
	err := change(o)
	if err == nil && s.engine != nil {
		if err = s.carry(next, again); err != nil {
			err = errors.Join(err, change(s.optionsOf(s.cfg)))
		}
	}
	if err != nil {
		if s.engine != nil {
			err = errors.Join(err, s.judge(before), s.tune(&s.cfg.Queues))
		}
		return err
	}
	if s.Level != nil {
		s.Level.Set(logs.Level(next.Log.Level))
	}
	s.logPackets(next.Log.Drops)
	return nil
}

// tune has queues and threads follow the settings that they can change while they work.
// Of the others, each needs something that is there from the beginning: another queue
// bound before rules fill it (count, first), memory of another layout where packets may
// be at any time (batch), a smaller buffer in which packets may be already (receive_buffer).
func (s *service) tune(q *config.Queues) error {
	var errs []error
	was, is := tuned(&s.cfg.Queues), tuned(q)
	if was != is || s.tuned {
		errs = append(errs, s.engine.Tune(is))
	}
	if !slices.Equal(s.cfg.Queues.Pin, q.Pin) || s.tuned {
		if err := s.engine.Pin(q.Pin); !errors.Is(err, engine.ErrNoThread) { // of another backend: the start says so
			errs = append(errs, err)
		}
	}
	s.tuned = q != &s.cfg.Queues // until it is in force
	s.seen.growTo.Store(int64(q.ReceiveBufferMax))
	return errors.Join(errs...)
}

func tuned(q *config.Queues) nfq.Tuned {
	return nfq.Tuned{MaxLength: q.MaxLength, FailOpen: q.FailOpen, GSO: q.GSO}
}

// changeable are the sections and keys that a reload changes, but for those of fixed. What is
// not here takes a restart.
var (
	changeable = []string{"on_failure", "failure", "guard", "rules", "policy", "analysis", "statistics", "metrics.listen", "log.level", "log.drops", "control",
		"queues.max_length", "queues.fail_open", "queues.gso", "queues.copy_range", "queues.conntrack", "queues.uid_gid", "queues.pin", "queues.receive_buffer_max"}
	fixed = append([]string{"rules.install", "rules.table"}, guard.MemoryKeys...)
)

// ofGuard are those that `verdictd guard` reads.
var ofGuard = []string{"failure", "guard", "rules.manage", "statistics", "metrics", "log", "privileges", "control"}

// in reports whether a key is one of a list, or in a section that is.
func in(list []string, key string) bool {
	return slices.ContainsFunc(list, func(l string) bool { return key == l || strings.HasPrefix(key, l+".") })
}

// ignores tells keys that are nothing to this service.
func (s *service) ignores(key string) bool { return s.command == "guard" && !in(ofGuard, key) }

// fixed says of a key why it cannot change while the daemon runs; empty: it can.
func (s *service) fixed(key string) string {
	if in(changeable, key) && !in(fixed, key) {
		return ""
	}
	unit := map[string]string{"run": "verdictd", "guard": "verdictd-guard"}[s.command]
	return fmt.Sprintf("changes with a restart only (systemctl restart %s); nothing of this reload is applied", unit)
}

// tellReload counts a reload and logs its result.
func (s *service) tellReload(r *control.Reload) {
	s.reloads.Last = r
	s.metrics.Reloaded(r.Result != control.Refused)
	if r.Result == control.Refused {
		s.reloads.Refused++
		for i := range r.Problems {
			s.Log.Error("reload: " + r.Problems[i].Error())
		}
		attributes := []any{"file", r.File}
		if r.Error != "" {
			attributes = append(attributes, "error", r.Error)
		}
		s.Log.Error("the reload is refused: the configuration before stays in force", attributes...)
		return
	}
	s.reloads.Done++
	attributes := []any{"file", r.File, "changed", r.Changed, "took", time.Since(r.Began).Round(time.Microsecond)}
	if s.judging != nil {
		attributes = append(attributes, "copied", s.judging.copied.Bytes)
	}
	s.Log.Info("reloaded", attributes...)
}

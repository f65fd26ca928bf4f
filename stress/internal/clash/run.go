package clash

import (
	"context"
	"errors"
	"fmt"
	"io"

	"verdictd/internal/results"
	"verdictd/internal/traffic"
	"verdictd/stress/internal/record"
	"verdictd/stress/internal/tally"
	"verdictd/stress/internal/way"
)

// Run sends what a configuration says that is valid, and records what came of it.
func Run(ctx context.Context, cfg Config, to record.Config) (err error) {
	at, err := way.Open(cfg.Way)
	if err != nil {
		return fmt.Errorf("clash: %w", err)
	}
	defer func() { err = errors.Join(err, at.Close()) }()
	if cfg.Traffic.Protocol == traffic.ProtocolICMP {
		if err := at.AllowPing(); err != nil {
			return err
		}
	}
	cfg.take(at)
	r, err := to.Open(at.Roles()...)
	if err != nil {
		return err
	}
	counter := tally.Open(at.Namespaces())
	if cfg.Clashes > 0 {
		if err := counter.Err(); err != nil {
			return errors.Join(fmt.Errorf("clash: --clashes %d: they cannot be counted: %w", cfg.Clashes, err), counter.Close(),
				r.Close())
		}
		cfg.Traffic.Enough = func() bool {
			counter.Read()
			return counter.Err() != nil || counter.Clashes() >= cfg.Clashes
		}
	}
	if cfg.UDPClash {
		return runUDPClash(ctx, &cfg, to, r, counter)
	}
	return run(ctx, &cfg, to, r, counter)
}

func run(ctx context.Context, cfg *Config, to record.Config, r *record.Record, counter *tally.Tally) error {
	shown := to.Progress(cfg.Traffic.Duration)
	seen, err := traffic.RunClash(ctx, cfg.Traffic, r.Keep(cfg.Traffic, record.Flows(shown, cfg.Traffic.Flows)))
	shown.End()
	if err != nil {
		err = fmt.Errorf("clash: %w", err)
	}
	if seen == nil {
		return errors.Join(err, counter.Close(), r.Close())
	}
	res := &results.Clash{ClashResult: *seen, Way: cfg.way(), ClashTarget: cfg.Clashes}
	var e error
	res.Conntrack, e = counter.End(res.Sent)
	err = errors.Join(err, e, cfg.enough(&res.Conntrack))
	if cfg.FailOnLoss && res.Lost > 0 {
		err = errors.Join(err, fmt.Errorf("clash: %d of %d packets lost", res.Lost, res.Sent))
	}
	if cfg.FailOnLoss && res.EchoResult != nil && res.EchoLost > 0 {
		err = errors.Join(err, fmt.Errorf("clash: %d of %d echoes lost", res.EchoLost, res.EchoSent))
	}
	return errors.Join(err, r.Write("clash", res, func(w io.Writer) error { return summarize(w, res) }))
}

func runUDPClash(ctx context.Context, cfg *Config, to record.Config, r *record.Record, counter *tally.Tally) error {
	sent := cfg.udpClash()
	shown := to.Progress(sent.Duration)
	seen, err := traffic.RunUDPClash(ctx, sent, r.Keep(sent, record.Flows(shown, sent.Flows)))
	shown.End()
	if err != nil {
		err = fmt.Errorf("clash: %w", err)
	}
	if seen == nil {
		return errors.Join(err, counter.Close(), r.Close())
	}
	res := &results.UDPClash{UDPClashResult: *seen, Way: cfg.way(), ClashTarget: cfg.Clashes}
	var e error
	res.Conntrack, e = counter.End(res.Sent)
	err = errors.Join(err, e, cfg.enough(&res.Conntrack))
	if cfg.FailOnLoss && res.Lost > 0 {
		err = errors.Join(err, fmt.Errorf("clash: %d of %d replies lost", res.Lost, res.Sent))
	}
	return errors.Join(err, r.Write("udpclash", res, func(w io.Writer) error { return summarizeUDPClash(w, res) }))
}

package traffic

import (
	"context"
	"errors"
	"fmt"
	"time"
)

// SoakConfig says what RunSoak does: a mix for any length of time, watching what programs hold on to.
type SoakConfig struct {
	Mix MixConfig `json:"mix"`

	// WatchPIDs are processes to watch besides this one, such as the daemon's.
	WatchPIDs []int `json:"watch_pids"`
	// MemoryGrowth is how many MiB the resident set of a watched process may grow by from a quarter of the time on, and
	// this process's live objects from before to after. DescriptorGrowth is how many descriptors a watched process may
	// have more at the end than at the start; this process may not have any.
	MemoryGrowth     int `json:"memory_growth_mib"`
	DescriptorGrowth int `json:"descriptor_growth"`
}

// DefaultSoak is a minute over the targets that are yet to be filled in.
func DefaultSoak() SoakConfig {
	return SoakConfig{
		Mix:          MixConfig{Rate: 200, Duration: time.Minute, ReceiveBuffer: 8 << 20, Linger: 10 * time.Second},
		MemoryGrowth: 64, DescriptorGrowth: 16,
	}
}

// Validate returns every problem at once.
func (c *SoakConfig) Validate() error {
	errs := []error{c.Mix.Validate()}
	for _, pid := range c.WatchPIDs {
		if pid < 1 {
			errs = append(errs, fmt.Errorf("watch process %d: want the number of a process", pid))
		}
	}
	if c.MemoryGrowth < 1 {
		errs = append(errs, fmt.Errorf("memory growth %d: want at least 1 MiB", c.MemoryGrowth))
	}
	if c.DescriptorGrowth < 0 {
		errs = append(errs, fmt.Errorf("descriptor growth %d: want zero or more", c.DescriptorGrowth))
	}
	return errors.Join(errs...)
}

// SoakResult is what a run of RunSoak saw.
type SoakResult struct {
	Config SoakConfig `json:"config"`
	// Rounds is how many parts the mix was sent in; after each, all of its packets were accounted for.
	Rounds int `json:"rounds"`
	MixResult

	// Before and After are what this process held when no socket was open.
	Before Self `json:"self_before"`
	After  Self `json:"self_after"`
	// Watched is what was seen of other processes.
	Watched []Process `json:"watched"`

	// Violations are what must not be, each in words. Without any the soak has passed.
	Violations  []string `json:"violations"`
	Interrupted bool     `json:"interrupted"`
}

// watchEvery is how often other processes are looked at.
const watchEvery = time.Second

// RunSoak sends the mix and judges. Violations are no error: they are in the result. When the context is cancelled it
// returns a result of what was sent by then, and ErrInterrupted. After each round it calls progress, whose error ends
// the run.
func RunSoak(ctx context.Context, cfg SoakConfig, progress func(rounds int, sofar *MixResult) error) (*SoakResult,
	error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	watch, err := WatchProcesses(cfg.WatchPIDs)
	if err != nil {
		return nil, err
	}
	res := &SoakResult{Config: cfg}
	if res.Before, err = ReadSelf(); err != nil {
		return nil, err
	}
	stop, watched := make(chan struct{}), make(chan error, 1)
	go func() { watched <- watch.Run(stop, watchEvery, cfg.Mix.Duration/4) }()

	mix, err := RunRounds(ctx, cfg.Mix, func(rounds int, sofar *MixResult) error {
		res.Rounds = rounds
		return progress(rounds, sofar)
	})
	close(stop)
	err = errors.Join(err, <-watched)
	if mix == nil || mix.Targets == nil {
		return nil, err
	}
	res.MixResult = *mix
	res.Watched = watch.Processes()
	res.Interrupted = ctx.Err() != nil
	const patience = 5 * time.Second
	var selfErr error
	res.After, selfErr = SettleSelf(res.Before, patience)
	res.judge()
	return res, errors.Join(err, selfErr)
}

func (r *SoakResult) judge() {
	growth := uint64(r.Config.MemoryGrowth) << 20
	r.Violations = append([]string{}, r.MixResult.Violations()...)
	for _, own := range r.After.Violations(r.Before, growth) {
		r.Violations = append(r.Violations, "this process: "+own)
	}
	for i := range r.Watched {
		r.Violations = append(r.Violations, r.Watched[i].Violations(growth, uint64(r.Config.DescriptorGrowth))...)
	}
}

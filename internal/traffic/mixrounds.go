package traffic

import (
	"context"
	"math"
	"time"
)

// roundFlows is how many flows a round has, on average. It bounds what a long run takes: the ledgers of a round with
// eight targets have 50 MiB, and one source address has ports enough for it (see portsPerSource).
const roundFlows = 60_000

// MixRounds is how many rounds [RunRounds] makes of a mix.
func MixRounds(cfg *MixConfig) int {
	return max(1, int(math.Ceil(cfg.Rate*cfg.Duration.Seconds()/roundFlows)))
}

// RunRounds is RunMix for any length of time in bounded memory: one round after the other, each with flows of its own
// and with a share of the duration, all of whose packets are accounted for before the next begins. A mix that fits into
// one round is that of RunMix. After each round the caller is told how many are over and what was seen so far; its
// error ends the run.
func RunRounds(ctx context.Context, cfg MixConfig, after func(rounds int, sofar *MixResult) error) (*MixResult, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	rounds := MixRounds(&cfg)
	total := &MixResult{}
	for i := range rounds {
		round := cfg
		round.Duration = cfg.Duration / time.Duration(rounds)
		round.Seed = cfg.Seed ^ uint64(i)*0x9e3779b97f4a7c15 // round 0 has the seed itself
		res, err := RunMix(ctx, round)
		if res != nil {
			total.Add(res)
		}
		if err == nil {
			err = after(i+1, total)
		}
		if err != nil {
			return total, err
		}
	}
	return total, nil
}

package queue

import (
	"context"
	"fmt"
	"io"

	"verdictd/lab/internal/bench"
)

// disturbedBy is how much more than in its cheapest round the floor takes where something else had the machine. The
// floor does the same in every round, and so does the kernel for it.
const disturbedBy = 1.25

// rounds gives every variant its turn in n rounds, and repeats those that were disturbed, at most as many again.
func (b *comparison) rounds(ctx context.Context, n int, missing map[string]error, w io.Writer) ([]sample, error) {
	turn := func(i, round int, dir string) sample { return b.measure(ctx, &b.variants[i], round, dir) }
	samples, err := bench.Rounds(ctx, 1, n, names(b.variants), missing, w, turn)
	for last := n; err == nil && ctx.Err() == nil; {
		more := markDisturbed(samples, floorOf(b.variants))
		if more = min(more-(last-n), 2*n-last); more <= 0 {
			break
		}
		fmt.Fprintf(w, "%d rounds were disturbed and are repeated\n", more)
		var again []sample
		again, err = bench.Rounds(ctx, last+1, last+more, names(b.variants), missing, w, turn)
		samples, last = append(samples, again...), last+more
	}
	return samples, err
}

// floorOf is the variant that tells whether a round was disturbed: the first floor that is measured.
func floorOf(list []variant) string {
	for i := range list {
		if list[i].program == floor {
			return list[i].name()
		}
	}
	return floorVariant
}

// markDisturbed marks all samples of each round in which the floor took too long, and says how many rounds these are.
func markDisturbed(samples []sample, floor string) (rounds int) {
	floors := map[int]float64{}
	least := 0.0
	for i := range samples {
		s := &samples[i]
		if s.Variant != floor || s.Invalid != "" {
			continue
		}
		floors[s.Round] = s.CPUPerPacket
		if least == 0 || s.CPUPerPacket < least {
			least = s.CPUPerPacket
		}
	}
	for _, took := range floors {
		if took > disturbedBy*least {
			rounds++
		}
	}
	for i := range samples {
		s := &samples[i]
		s.Disturbed = ""
		if took := floors[s.Round]; took > disturbedBy*least {
			s.Disturbed = fmt.Sprintf("the floor took %.2f us in this round, and %.2f in its cheapest", took, least)
		}
	}
	return rounds
}

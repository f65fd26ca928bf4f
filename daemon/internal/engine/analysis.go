package engine

import (
	"errors"
	"fmt"
	"hash/maphash"
	"math"
	"math/rand/v2"
	"time"

	"golang.org/x/sys/unix"

	"verdictd/internal/packet"
	"verdictd/internal/vocabulary"
)

// Analysis models a daemon that thinks before it gives a verdict, as Verdict3
// did. The worker sleeps for the time drawn, and answers the packet at once: the
// time is the window in which further packets of the flow clash.
type Analysis struct {
	// Distribution may be empty, which is none.
	Distribution vocabulary.Distribution
	// Delay is the time of fixed, the mean of uniform (which draws from 0 to
	// twice that), and the median of log-normal.
	Delay time.Duration
	// Sigma is the standard deviation of log-normal's logarithm.
	Sigma float64
	// Max cuts what is drawn; 0: no limit.
	Max time.Duration
	// PerFlow analyses only the first packet of each flow.
	PerFlow bool
}

func (a *Analysis) validate() error {
	switch a.Distribution {
	case "", vocabulary.DistributionNone:
		return nil
	case vocabulary.DistributionFixed, vocabulary.DistributionUniform, vocabulary.DistributionLogNormal:
	default:
		return fmt.Errorf("analysis: no distribution %q", a.Distribution)
	}
	if a.Delay <= 0 || a.Max < 0 || a.Sigma < 0 {
		return errors.New("analysis: delay must be above 0; max and sigma not below")
	}
	return nil
}

// analyst draws and spends analysis times for one worker; nil spends none.
type analyst struct {
	Analysis
	random *rand.Rand
	seed   maphash.Seed
	// known holds the hashes of flows that were analysed; a flow may push out
	// another, which is then analysed again.
	known []uint64
	sleep unix.Timespec // a field, as it must not be allocated for each packet
}

const knownFlows = 1 << 16

// newAnalyst draws the same times in each run for the same seed: the number of the
// queue.
func newAnalyst(a Analysis, seed uint64) *analyst {
	if a.Distribution == "" || a.Distribution == vocabulary.DistributionNone {
		return nil
	}
	n := &analyst{Analysis: a, random: rand.New(rand.NewPCG(seed, 0)), seed: maphash.MakeSeed()}
	if a.PerFlow {
		n.known = make([]uint64, knownFlows)
	}
	return n
}

// spend takes the time to analyse a packet of the flow, and reports whether it
// took any.
func (n *analyst) spend(k *packet.Key) bool {
	if n.PerFlow {
		h := maphash.Bytes(n.seed, k[:])
		known := &n.known[h%knownFlows]
		if *known == h {
			return false
		}
		*known = h
	}
	d := n.draw()
	if d <= 0 {
		return false
	}
	for end := time.Now().Add(d); d > 0; d = time.Until(end) {
		n.sleep = unix.NsecToTimespec(int64(d))
		// EINTR only shortens it; the loop sleeps the rest.
		if err := unix.ClockNanosleep(unix.CLOCK_MONOTONIC, 0, &n.sleep, nil); err == nil {
			break
		}
	}
	return true
}

func (n *analyst) draw() time.Duration {
	d := n.Delay
	switch n.Distribution {
	case vocabulary.DistributionUniform:
		d = time.Duration(n.random.Int64N(2*int64(n.Delay) + 1))
	case vocabulary.DistributionLogNormal:
		d = time.Duration(float64(n.Delay) * math.Exp(n.Sigma*n.random.NormFloat64()))
	}
	if n.Max > 0 {
		d = min(d, n.Max)
	}
	return d
}

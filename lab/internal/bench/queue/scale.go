package queue

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math"
	"os"
	"slices"
	"strconv"
	"strings"

	"verdictd/internal/vocabulary"
	"verdictd/lab/internal/bench"
	"verdictd/lab/internal/testbed"
)

// ScaleConfig says which curves are measured, and how far they go.
type ScaleConfig struct {
	Rounds    int
	Packets   int      // that are counted at each point
	Curves    []string // all where none is named
	Most      int      // what no point is beyond, whatever it counts; 0: no bound
	Reference string
	Require   string
}

// A curve is one thing that grows, with all else as it is usual.
type curve struct {
	name, unit string
	points     []int
	of         func(x int) variant
}

// longestAtRate is how long packets are sent at a rate at most, in seconds.
const longestAtRate = 2

var (
	thousands = []int{1_000, 10_000, 100_000, 1_000_000}
	curves    = []curve{
		{"rules", "rules that no packet matches", []int{0, 10, 100, 1_000, 10_000}, func(x int) variant {
			return variant{rules: x}
		}},
		{"entries", "prefixes of a set that has none of the packets", thousands, func(x int) variant {
			return variant{prefixes: x}
		}},
		{"flows", "flows in turn, which conntrack and the guard know", thousands, func(x int) variant {
			return variant{load: caseMany, at: conditions{flows: x, gateFlows: x}}
		}},
		{"untracked", "flows in turn that are exempt from conntrack, without a guard; each packet is judged twice, " +
			"on its way out and in", thousands, func(x int) variant {
			return variant{load: caseMany, at: conditions{flows: x, placement: vocabulary.PlacementNotrack}}
		}},
		{"queues", "queues", []int{1, 2, 4, 8}, func(x int) variant {
			return variant{at: conditions{queues: x}}
		}},
		{"rate", "packets a second, at even distances", []int{1_000, 10_000, 50_000, 100_000, 200_000},
			func(x int) variant {
				// Of a machine that stands still for a moment the packets are late and not lost.
				return variant{at: conditions{rate: x, window: 32_000}}
			}},
	}
)

// newFlows is what a packet costs that is a flow of its own, for the model.
const newFlows = "new flows"

// CurveNames are what --curve takes.
func CurveNames() (names []string) {
	for i := range curves {
		names = append(names, curves[i].name)
	}
	return names
}

func pointName(curve string, x int) string { return curve + "=" + strconv.Itoa(x) }

// points are the variants of the chosen curves, behind the floor and what the model needs.
func (c *ScaleConfig) points() []variant {
	list := []variant{
		{base: floorVariant, program: floor, guard: guardOff},
		{at: conditions{name: newFlows}, load: caseNew, guard: guardHold, metrics: true},
	}
	for i := range curves {
		k := &curves[i]
		if len(c.Curves) > 0 && !slices.Contains(c.Curves, k.name) {
			continue
		}
		for _, x := range k.points {
			if c.Most > 0 && x > c.Most {
				continue
			}
			v := k.of(x)
			v.at.name, v.metrics, v.guard = pointName(k.name, x), true, guardHold
			if v.at.placement == vocabulary.PlacementNotrack {
				v.guard = guardOff
			}
			list = append(list, v)
		}
	}
	return list
}

// Validate says all that is wrong.
func (c *ScaleConfig) Validate() error {
	for _, name := range c.Curves {
		if !slices.Contains(CurveNames(), name) {
			return fmt.Errorf("--curve %s: there are %s", name, strings.Join(CurveNames(), ", "))
		}
	}
	_, err := bench.ParseRequirements(c.Require, figureNames(c.points()))
	return errors.Join(err, testbed.Within("--rounds", c.Rounds, 1, 1000),
		testbed.Within("--packets", c.Packets, 1000, 100_000_000), testbed.Within("--most", c.Most, 0, math.MaxInt32))
}

// RunScale gives every point of every curve its turn in every round.
func RunScale(ctx context.Context, t *testbed.Testbed, c *ScaleConfig, w io.Writer) (*ScaleResult, error) {
	list := c.points()
	required, err := bench.ParseRequirements(c.Require, figureNames(list))
	if err != nil {
		return nil, err
	}
	b := comparison{
		Programs: t.Programs, reference: c.Reference, window: usualWindow, payload: usualPayload, packets: c.Packets,
		fresh: max(1000, c.Packets/5), cpus: t.CPUs, variants: list,
	}
	r := &ScaleResult{Head: bench.NewHead[sample](t.Version, t.Host, scaleSettings{
		Rounds: c.Rounds, Packets: c.Packets, Fresh: b.fresh, Window: b.window, Payload: b.payload,
		LoadCPU: b.loadCPU(), DaemonCPU: b.daemonCPU(),
	})}
	missing := bench.LeftOut(names(list), nil, func(i int) error { return b.canRun(&list[i]) })
	r.Samples, err = b.rounds(ctx, c.Rounds, missing, w)
	if err != nil {
		return nil, err
	}
	r.Interrupted = ctx.Err() != nil
	r.judge(list, required, missing)
	return r, nil
}

// conntrackTakes says why so many flows have no entries.
func conntrackTakes(flows int) error {
	const path = "/proc/sys/net/netfilter/nf_conntrack_max"
	text, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil // conntrack is not loaded yet, and sets its bound then
	}
	if err != nil {
		return fmt.Errorf("read how many flows conntrack takes: %w", err)
	}
	most, err := strconv.Atoi(strings.TrimSpace(string(text)))
	if err != nil {
		return fmt.Errorf("read how many flows conntrack takes: %w", err)
	}
	// Some room for what is confirmed late and what has just been forgotten.
	if want := flows + flows/10; want > most {
		return fmt.Errorf("net.netfilter.nf_conntrack_max is %d; %d flows take %d", most, flows, want)
	}
	return nil
}

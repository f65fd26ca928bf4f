package queue

import (
	"fmt"
	"io"
	"math"
	"text/tabwriter"
)

const (
	// busy is the part of a core that a queue's thread may take for long: beyond, its queue fills in each burst.
	busy = 0.8

	// micros are in a second.
	micros = 1e6
)

// modelRates are packets a second.
var modelRates = []float64{1e6, 5e6, 10e6}

// A model is what a machine needs, computed from what was measured in the same run. It takes cores for independent:
// what they lose to locks and caches that they share is not in it, unless the run had so many.
type model struct {
	// Microseconds a packet: the program's with one queue, how much more it is with the most queues that were measured,
	// and what the rest of the path takes, rules, conntrack and the sender.
	Settled       float64 `json:"settled_us"`
	NewFlow       float64 `json:"new_flow_us"` // 0: not measured
	QueuesFactor  float64 `json:"queues_factor"`
	Stack         float64 `json:"stack_us"`
	NewFlowStack  float64 `json:"new_flow_stack_us"`
	PerQueue      float64 `json:"packets_per_second_of_a_queue"` // of settled flows, at busy of a core
	BusyAtMost    float64 `json:"busy_at_most"`
	QueuesCovered int     `json:"queues_measured"`

	Rows []modelRow `json:"rows"`
}

// A modelRow is one rate of one kind of packets.
type modelRow struct {
	PacketsPerSecond float64 `json:"packets_per_second"`
	Kind             string  `json:"kind"` // settled, new flows
	Queues           int     `json:"queues"`
	ProgramCores     float64 `json:"program_cores"`
	StackCores       float64 `json:"stack_cores"`
	Cores            int     `json:"cores"` // of both, no one of them busier than BusyAtMost
	// First is what has no more to give first, where cores are added to neither: queues, stack.
	First string `json:"limits_first"`
}

// newModel is nil where the run did not measure one queue.
func newModel(one, most, fresh *summary) *model {
	if one == nil || one.CPUPerPacket == nil {
		return nil
	}
	m := &model{Settled: one.CPUPerPacket.Median, QueuesFactor: 1, BusyAtMost: busy, QueuesCovered: 1}
	m.Stack = max(0, one.PathCPUPerPacket.Median-m.Settled)
	if most != nil && most != one {
		m.QueuesFactor = max(1, most.CPUPerPacket.Median/m.Settled)
		_, _ = fmt.Sscanf(most.Variant, "queues=%d", &m.QueuesCovered)
	}
	m.PerQueue = busy * micros / m.Settled
	kinds := []modelKind{{"settled", m.Settled, m.Stack}}
	if fresh != nil && fresh.CPUPerPacket != nil {
		m.NewFlow = fresh.CPUPerPacket.Median
		m.NewFlowStack = max(0, fresh.PathCPUPerPacket.Median-m.NewFlow)
		kinds = append(kinds, modelKind{newFlows, m.NewFlow, m.NewFlowStack})
	}
	for _, rate := range modelRates {
		for _, kind := range kinds {
			m.Rows = append(m.Rows, m.row(rate, kind))
		}
	}
	return m
}

// A modelKind is what a packet of some traffic costs, in microseconds.
type modelKind struct {
	name           string
	program, stack float64
}

func (m *model) row(rate float64, kind modelKind) modelRow {
	r := modelRow{PacketsPerSecond: rate, Kind: kind.name, First: "queues"}
	r.ProgramCores, r.StackCores = rate*kind.program/micros, rate*kind.stack/micros
	if r.ProgramCores > busy {
		r.ProgramCores *= m.QueuesFactor
	}
	r.Queues = int(math.Ceil(r.ProgramCores / busy))
	r.Cores = r.Queues + int(math.Ceil(r.StackCores/busy))
	if r.StackCores > r.ProgramCores {
		r.First = "stack"
	}
	return r
}

// writeText writes the model for people; nothing where there is none.
func (m *model) writeText(w io.Writer) error {
	if m == nil {
		return nil
	}
	fmt.Fprintf(w, "\nModel, computed from the figures above: a settled packet takes %.2f us of the program and %.2f of the "+
		"stack and its sender, and %.2f times the former with %d queues.\nOne queue does %.0f packets/s at %.0f %% of a "+
		"core. What cores lose to each other is in it as far as this machine has them.\n", m.Settled, m.Stack, m.QueuesFactor,
		m.QueuesCovered, m.PerQueue, 100*m.BusyAtMost)
	t := tabwriter.NewWriter(w, 0, 0, 3, ' ', 0)
	fmt.Fprintln(t, "packets/s\tof\tqueues\tprogram's cores\tstack's cores\tcores in all\tends first")
	for i := range m.Rows {
		r := &m.Rows[i]
		fmt.Fprintf(t, "%.0f\t%s\t%d\t%.1f\t%.1f\t%d\t%s\n", r.PacketsPerSecond, r.Kind, r.Queues, r.ProgramCores,
			r.StackCores, r.Cores, r.First)
	}
	return t.Flush()
}

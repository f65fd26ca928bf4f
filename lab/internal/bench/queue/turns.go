package queue

import (
	"context"
	"fmt"
	"time"

	"verdictd/lab/internal/bench"
)

const (
	// settleFor is how long the flows send a packet now and then before the load begins: conntrack has confirmed them
	// then, and the gate, which lists a flow that has been quiet for some milliseconds, has listed them.
	settleFor = 600 * time.Millisecond

	// settlePause is how long they pause then, as the gate lists flows whose packets are past all queues.
	settlePause = 200 * time.Millisecond

	// settlePackets are all that are sent for that.
	settlePackets = 25 * settledFlows
)

// A turnLoad is packets that are sent in a closed loop.
type turnLoad interface {
	warmUp(ctx context.Context) error
	run(ctx context.Context) (packets int, err error)
	sending() time.Duration // CPU time of the sends so far
	Close() error
}

// settledTurn is the packets of settled flows that a turn counts.
type settledTurn struct {
	*load
	packets int
}

// warmUp lets the flows settle, and then runs the load for a while.
func (l *settledTurn) warmUp(ctx context.Context) error {
	for range settlePackets {
		if err := l.send(ctx, 1); err != nil {
			return err
		}
		time.Sleep(settleFor / settlePackets)
	}
	time.Sleep(settlePause)
	return l.send(ctx, l.packets/bench.WarmPart)
}

func (l *settledTurn) run(ctx context.Context) (int, error) { return l.packets, l.send(ctx, l.packets) }
func (l *settledTurn) sending() time.Duration               { return l.meter.spent }

// freshTurn is the new flows that a turn counts.
type freshTurn struct {
	*freshLoad
	flows int
}

func (l *freshTurn) warmUp(ctx context.Context) error { return l.send(ctx, l.flows/bench.WarmPart) }

func (l *freshTurn) run(ctx context.Context) (int, error) {
	return l.flows * l.packets(), l.send(ctx, l.flows)
}

func (l *freshTurn) sending() time.Duration { return l.meter.spent }

// manyTurn is the packets of many flows in turn that a turn counts.
type manyTurn struct {
	*freshLoad
	packets int
}

// warmUp has every flow send as often as the gate wants it for a place in the settled set, and lets it list all.
func (l *manyTurn) warmUp(ctx context.Context) error {
	const (
		packets = 18
		perFlow = 20 * time.Microsecond
	)
	for range packets {
		if err := l.send(ctx, l.chunks(l.cycle)); err != nil {
			return err
		}
	}
	time.Sleep(settlePause + time.Duration(l.cycle)*perFlow)
	return l.send(ctx, l.chunks(l.packets/bench.WarmPart))
}

// chunks is how many sends so many packets take at least.
func (l *manyTurn) chunks(packets int) int { return (packets + l.burst - 1) / l.burst }

func (l *manyTurn) run(ctx context.Context) (int, error) {
	n := l.chunks(l.packets)
	return n * l.burst, l.send(ctx, n)
}

func (l *manyTurn) sending() time.Duration { return l.meter.spent }

// pacedTurn is packets at even distances that a turn counts; what their sends take is not measured.
type pacedTurn struct {
	*pacedLoad
	perSecond float64
	packets   int
}

func (l *pacedTurn) warmUp(ctx context.Context) error {
	const rate = 400
	if err := l.send(ctx, rate, settlePackets, 0); err != nil {
		return err
	}
	time.Sleep(settlePause)
	return l.send(ctx, l.perSecond, max(1, l.packets/bench.WarmPart), 1)
}

// run fails where packets are lost, as what the others cost is then no figure of this rate.
func (l *pacedTurn) run(ctx context.Context) (int, error) {
	const turn = 2
	if err := l.send(ctx, l.perSecond, l.packets, turn); err != nil {
		return 0, err
	}
	if lost := l.packets - len(l.waits); lost > 0 {
		return 0, fmt.Errorf("%d of %d packets were lost at %.0f a second", lost, l.packets, l.perSecond)
	}
	return l.packets, nil
}

func (*pacedTurn) sending() time.Duration { return 0 }

package guard

import (
	"context"
	"reflect"

	"verdictd/internal/config"
)

// Change has the keeper do what other options say from now on: Guard, Rules, Own, Spread,
// Queues and Manage may be others, Table and Alone not. The table changes in one
// transaction, gate and verdict rules together; base chains that stay where they are are
// kept, so that nothing that waits is lost. Where the gate's own settings change it is
// closed and opened, and packets pass as without it meanwhile. On an error all is as it
// was. It belongs to the goroutine of Serve.
func (k *Keeper) Change(ctx context.Context, change func(*Options)) error {
	before := k.Options
	change(&k.Options)
	err := k.changeTo(ctx, before.Guard)
	if err == nil {
		return nil
	}
	after := k.Guard
	k.Options = before
	if again := k.changeTo(ctx, after); again != nil {
		k.Log.Error("the rules before cannot be put back", "error", again)
	}
	return err
}

func (k *Keeper) changeTo(ctx context.Context, before *config.Guard) error {
	if k.changes == nil && k.wanted() {
		if err := k.watch(ctx); err != nil {
			return err
		}
	}
	if k.gate != nil && k.wanted() && !sameGate(before, k.Guard) {
		if err := k.close(); err != nil {
			return err
		}
	}
	if k.Rules != nil {
		if err := k.begin(ctx); err != nil {
			return err
		}
	}
	if k.gate != nil && !k.wanted() {
		if err := k.close(); err != nil {
			return err
		}
		k.now = plan{}
	}
	return k.follow(ctx)
}

// sameGate reports whether one gate serves both.
func sameGate(a, b *config.Guard) bool {
	x, y := *a, *b
	for _, g := range []*config.Guard{&x, &y} {
		// These are the rules'.
		g.ExemptPorts, g.SettledSize, g.SettledTimeout = nil, 0, 0
	}
	return reflect.DeepEqual(x, y)
}

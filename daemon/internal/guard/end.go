package guard

import (
	"errors"
	"os"
	"time"

	"verdictd/daemon/internal/gate/runner"
	"verdictd/internal/ruleset"
)

// End stops watching the rules.
func (k *Keeper) End() {
	if k.changes != nil {
		if err := k.changes.Close(); err != nil {
			k.Log.Warn("stop watching the rules", "error", err)
		}
	}
}

// hushWithin bounds how long new packets wait for those that are queued.
const hushWithin = time.Second

// Hush has new packets of guarded flows wait in the kernel until nothing is queued
// for verdicts any more, of which idle tells.
func (k *Keeper) Hush(idle func() bool) {
	if k.gate == nil || !k.now.active() {
		return
	}
	g := k.rules(&k.now)
	g.Settled = false
	if err := k.installed.SetGate(g); err != nil {
		return // the rules are gone: nothing comes
	}
	k.gate.SetSettled(nil)
	k.gate.Shut(true)
	for until := time.Now().Add(hushWithin); time.Now().Before(until) && (k.gate.Held() > 0 || !idle()); {
		time.Sleep(time.Millisecond)
	}
}

// Reopen ends what Hush began, and takes the gate's rules out.
func (k *Keeper) Reopen() error {
	if k.gate == nil {
		return nil
	}
	k.gate.Hurry()
	k.gate.Shut(false)
	for until := time.Now().Add(hushWithin); time.Now().Before(until) && !Idle(k.gate.Owns); {
		time.Sleep(time.Millisecond)
	}
	if !k.now.active() {
		return nil
	}
	return k.gone(k.installed.DetachGate())
}

// DetachVerdicts takes the process's own rules out.
func (k *Keeper) DetachVerdicts() error {
	return k.gone(k.installed.DetachVerdicts())
}

// Detach takes all rules of the table out, and returns when their last packets are in
// the queues.
func (k *Keeper) Detach() error {
	if k.Rules == nil {
		return nil
	}
	defer runner.Barrier()
	return k.gone(k.installed.Detach())
}

// Remove takes the table away, when nothing is on its way through any queue of the
// namespace: with a base chain, anybody's, the kernel drops all that waits in all of
// them. A table of the gate alone rather stays, empty.
func (k *Keeper) Remove() error {
	if k.Rules == nil {
		return nil
	}
	if q := quiet(quietWithin); q != nil {
		if k.Alone {
			k.Log.Warn("another program's queue is in use, and would lose what waits there with the table's base chains: the table stays, empty; the next start takes it over, or `nft delete table inet "+k.Table+"` removes it",
				"queue", q.Queue, "packets", q.Queued)
			return nil
		}
		k.Log.Warn("another program's queue is in use, and loses what waits there as the table's base chains go", "queue", q.Queue, "packets", q.Queued)
	}
	return k.gone(k.installed.Remove())
}

// gone lets pass that somebody else has removed the table: it was to go anyway.
func (k *Keeper) gone(err error) error {
	if errors.Is(err, ruleset.ErrNotFound) || errors.Is(err, os.ErrNotExist) {
		k.Log.Warn("somebody has removed the rules meanwhile", "error", err)
		return nil
	}
	return err
}

// Stop ends the gate's threads, when nothing is held any more.
func (k *Keeper) Stop() error {
	if k.gate == nil {
		return nil
	}
	k.hints.gate.Store(nil)
	return k.gate.Stop()
}

// Leave ends the gate's threads. What they hold stays for who takes the gate over.
func (k *Keeper) Leave() error {
	if k.gate == nil {
		return nil
	}
	k.left = true
	k.hints.gate.Store(nil)
	return k.gate.Leave()
}

// Free unbinds the gate's queues.
func (k *Keeper) Free() error {
	if k.gate == nil {
		return nil
	}
	var err error
	if !k.left {
		err = k.gate.Forget()
	}
	err = errors.Join(err, k.gate.Close())
	k.gate = nil
	return err
}

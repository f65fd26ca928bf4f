package main

import (
	"errors"
	"os"
	"time"

	"verdictd/internal/ruleset"
)

// end stops watching the rules.
func (k *keeper) end() {
	if k.changes != nil {
		if err := k.changes.Close(); err != nil {
			k.log.Warn("stop watching the rules", "error", err)
		}
	}
}

// hushWithin bounds how long new packets wait for those that are queued.
const hushWithin = time.Second

// hush has new packets of guarded flows wait in the kernel until nothing is queued
// for verdicts any more, of which idle tells.
func (k *keeper) hush(idle func() bool) {
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

// reopen ends what hush began, and takes the gate's rules out.
func (k *keeper) reopen() error {
	if k.gate == nil {
		return nil
	}
	k.gate.Shut(false)
	for until := time.Now().Add(hushWithin); time.Now().Before(until) && !idle(k.gate.Owns); {
		time.Sleep(time.Millisecond)
	}
	if !k.now.active() {
		return nil
	}
	return k.installed.DetachGate()
}

// detach takes all rules of the table out.
func (k *keeper) detach() error {
	if k.installed == nil {
		return nil
	}
	return k.installed.Detach()
}

// remove takes the table away, when nothing is on its way through any queue of the
// namespace: with a base chain, anybody's, the kernel drops all that waits in all of
// them. A table of the gate alone rather stays, empty.
func (k *keeper) remove() error {
	if k.installed == nil {
		return nil
	}
	if q := quiet(); q != nil {
		if k.alone {
			k.log.Warn("another program's queue is in use, and would lose what waits there with the table's base chains: the table stays, empty; the next start takes it over, or `nft delete table inet "+k.table+"` removes it",
				"queue", q.Queue, "packets", q.Queued)
			return nil
		}
		k.log.Warn("another program's queue is in use, and loses what waits there as the table's base chains go", "queue", q.Queue, "packets", q.Queued)
	}
	return k.installed.Remove()
}

// gone lets pass that somebody else has removed the table: it was to go anyway.
func (k *keeper) gone(err error) error {
	if errors.Is(err, ruleset.ErrNotFound) || errors.Is(err, os.ErrNotExist) {
		k.log.Warn("somebody has removed the rules meanwhile", "error", err)
		return nil
	}
	return err
}

// stop ends the gate's threads, when nothing is held any more.
func (k *keeper) stop() error {
	if k.gate == nil {
		return nil
	}
	k.hints.gate.Store(nil)
	return k.gate.Stop()
}

// free unbinds the gate's queues.
func (k *keeper) free() error {
	if k.gate == nil {
		return nil
	}
	err := k.gate.Close()
	k.gate = nil
	return err
}

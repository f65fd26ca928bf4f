package failure

import (
	"errors"
	"fmt"
	"log/slog"
	"os"
	"slices"

	"golang.org/x/sys/unix"

	"verdictd/daemon/internal/guard"
	"verdictd/internal/netlab"
	"verdictd/internal/nfq"
	"verdictd/internal/ruleset"
	"verdictd/internal/vocabulary"
)

// Release carries the plan out. Sockets are those of the daemon that is gone, where the caller holds them: they are to
// be closed then, as only that ends their queues.
//
// With accept, in this order:
//
//  1. What waits for verdicts is accepted.
//  2. The rules that queue for verdicts go, and what has come meanwhile is accepted. The base chains stay, or what
//     waits would be dropped.
//  3. What waits in the gate is accepted, in its order. First packets are confirmed by then: these do not clash.
//  4. The gate's rules go, and what has come meanwhile is accepted.
//  5. The table goes, if nothing waits in any queue of the namespace.
//
// With drop, the rules stay: they have no `bypass`, unless the configuration says so, and what waits is dropped as its
// queues end.
//
// Without sockets that is in the caller's network namespace. Errors: that the daemon was in another one, or that
// another daemon has the table, whose rules they are then. Nothing is changed.
func Release(p Plan, sockets []*os.File, log *slog.Logger) error {
	if len(sockets) == 0 && p.NetNS != 0 && p.NetNS != netlab.Number() {
		return fmt.Errorf("the daemon was in network namespace net:[%d], and this is net:[%d]: nothing is decided for packets; "+
			"give `verdictd release` the daemon's --netns, in a unit by ExecStopPost=", p.NetNS, netlab.Number())
	}
	if p.OnFailure == vocabulary.FailDrop {
		// In the caller's namespace; in another one it is not known.
		if there, err := ruleset.Exists(p.Table); err == nil && !there && len(sockets) == 0 {
			return nil // the daemon has stopped in order
		}
		log.Error("packets are dropped from now on: no daemon judges them, and on_failure is drop", "table", p.Table)
		return nil
	}
	sockets = slices.DeleteFunc(slices.Clone(sockets), func(s *os.File) bool { return !nfq.IsSocket(int(s.Fd())) })
	accept := func() error { return p.accept(sockets, log) }
	if len(sockets) == 0 {
		// Somebody may have started another daemon by hand, or given two units one table.
		claimed, err := guard.Claim(p.Table)
		if err != nil {
			return err
		}
		return errors.Join(accept(), claimed.Close())
	}
	// Which namespace the daemon worked in, its sockets tell; the caller may be in another one.
	number, err := unix.IoctlRetInt(int(sockets[0].Fd()), unix.SIOCGSKNS)
	if err != nil {
		return fmt.Errorf("find the daemon's network namespace: %w", err)
	}
	defer func() { _ = unix.Close(number) }()
	path := fmt.Sprintf("/proc/self/fd/%d", number)
	if netlab.Here(path) {
		return accept()
	}
	ns, err := netlab.OpenNetNS(path)
	if err != nil {
		return err
	}
	return errors.Join(ns.Do(accept), ns.Close())
}

func (p Plan) accept(sockets []*os.File, log *slog.Logger) error {
	rules, err := ruleset.Left(p.Table)
	if errors.Is(err, ruleset.ErrNotFound) {
		rules, err = &ruleset.Installed{}, nil // somebody has removed it: its methods do nothing
	}
	if err != nil {
		return err // what has its name is somebody else's
	}
	count := 0
	all := func(which func(uint16) bool) (errs error) {
		for _, s := range sockets {
			n, err := nfq.AcceptAll(int(s.Fd()), which)
			count += n
			errs = errors.Join(errs, err)
		}
		return errs
	}
	gate := func(queue uint16) bool { return !p.verdicts(queue) }
	// First, so that few packets are overtaken by those that meet no rule any more. Where more arrive all the time,
	// this ends with an error that means nothing.
	_ = all(p.verdicts)
	err = errors.Join(
		rules.DetachVerdicts(), all(p.verdicts),
		all(gate), rules.DetachGate(), all(gate),
		all(p.verdicts), // packets that the gate let go on their way into a rule that was just taken out
	)
	if err == nil && guard.Idle(func(uint16) bool { return true }) {
		err = rules.Remove()
	}
	log.Error("packets go on without a verdict from now on: no daemon judges them, and on_failure is accept", "table", p.Table, "accepted", count)
	if err != nil {
		return fmt.Errorf("let packets go on: %w", err)
	}
	return nil
}

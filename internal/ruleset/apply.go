package ruleset

import (
	"errors"
	"fmt"
	"os"
	"slices"

	"github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"

	"verdictd/internal/vocabulary"
)

// Apply brings the kernel's table to what c asks for. It is the only way in which a
// table is made or changed: at the start, when a process takes over what another one
// left, for another configuration, to open and to close the gate, and to put back what
// somebody else has changed.
//
//   - A table that is not there is made.
//   - One that is there is read and compared with what it should be: its chains with
//     hooks, priorities and policies, each attribute of each rule, each element of each
//     set. What counters have counted, and the flows in the settled sets, are no
//     difference. Where nothing differs nothing is written.
//   - What differs is changed in one transaction, chain by chain: a packet meets the
//     rules before it or those after it. Base chains stay where their hook and priority
//     do; so do sets that are equal, with the flows that are listed in them.
//   - What is in the table and not asked for becomes a leftover. Base chains that are
//     left over lose their rules in the same transaction and stay, as do chains that no
//     packet comes to any more: where a base chain goes, or the last rule that keeps
//     conntrack active, the kernel drops all that waits in any queue of the namespace
//     (nf_queue_nf_hook_drop). Sweep takes them away when nothing waits.
//   - Sets of ranges are made in a transaction before that of the rules that use them, and
//     such sets and maps are deleted in one after: see sets.go.
//   - A base chain whose hook or priority is another one now is renamed in a transaction
//     before, with its rules, and then is a leftover. A packet that waits in a queue
//     behind it meets the new chain too, if that is at a later place.
//     Which chains have rules at the same time is the caller's to say (Config.Also): a
//     packet between two placements would meet neither in one step from one to the other.
//   - A table of that name that has no rule of ours is not touched at first: ErrForeign.
//     One that was made or taken over by i stays its own, whatever others do to its
//     rules: else a rule of theirs in place of all of ours would end the enforcement.
//
// It works in the network namespace of the calling thread, and may be called again with
// the same configuration at any time. Whatever the error, no packet met half a change.
func (i *Installed) Apply(c Config) (Change, error) { return i.apply(c, false) }

// Update is Apply for a part of the configuration, of a table that is there:
// ErrNotFound if it is not. What is wanted has changed nevertheless, for the next Apply.
func (i *Installed) Update(change func(*Config)) error {
	c := i.Config()
	change(&c)
	_, err := i.apply(c, true)
	return err
}

// Check tells what Apply would do for the configuration as it is, and does nothing.
func (i *Installed) Check() (Change, error) {
	i.mu.Lock()
	defer i.mu.Unlock()
	if i.table == "" {
		return Change{}, nil
	}
	d, err := i.compare(i.config)
	if err != nil {
		return Change{}, fmt.Errorf("compare table inet %s: %w", i.table, err)
	}
	return d.Change, nil
}

// Sweep takes away what Apply has left over. To be called when nothing waits in any
// queue of the namespace: the kernel drops it.
func (i *Installed) Sweep() error {
	i.mu.Lock()
	defer i.mu.Unlock()
	if i.table == "" {
		return nil
	}
	d, err := i.compare(i.config)
	if err == nil {
		err = commit(d.sweep)
	}
	if err != nil {
		return fmt.Errorf("take away what is left over in table inet %s: %w", i.table, err)
	}
	return nil
}

// Config is what the table should be.
func (i *Installed) Config() Config {
	i.mu.Lock()
	defer i.mu.Unlock()
	return i.config
}

func (i *Installed) apply(c Config, there bool) (Change, error) {
	i.mu.Lock()
	defer i.mu.Unlock()
	if i.table == "" && there {
		return Change{}, nil // nothing was wanted
	}
	if err := c.validate(); err != nil {
		return Change{}, fmt.Errorf("rules: %w", err)
	}
	if i.table == "" && c.Empty() {
		switch _, err := find(c.Table); {
		case errors.Is(err, ErrNotFound), errors.Is(err, ErrForeign):
			return Change{}, nil
		case err != nil:
			return Change{}, err
		}
	}
	err := i.begin(&c)
	var change Change
	if err == nil {
		change, err = i.bring(i.withGeneration(c), there)
	}
	if err != nil {
		return change, fmt.Errorf("bring table inet %s to what it should be: %w", c.Table, err)
	}
	return change, nil
}

// Empty tells that no table is wanted: one that is there is a leftover.
func (c Config) Empty() bool { return c.Placement == vocabulary.PlacementNone && c.Gate == nil }

// bring does what apply says.
func (i *Installed) bring(c Config, there bool) (total Change, err error) {
	if err := i.probe(&c); err != nil {
		return total, err
	}
	for attempt := 1; ; attempt++ {
		d, err := i.compare(c)
		if err != nil {
			return total, err
		}
		if there && d.Made {
			i.config = c
			return total, fmt.Errorf("%w in this network namespace", ErrNotFound)
		}
		if attempt == 1 || d.Made {
			total = d.Change
		}
		total.Leftovers = d.Leftovers
		next := d.before
		if len(next) == 0 {
			next = d.messages
		}
		err = commit(next)
		switch {
		case err == nil && len(d.before) == 0:
			return total, i.arrived(c)
		case err == nil, attempt < attempts && spoiled(err):
			continue
		case errors.Is(err, os.ErrPermission):
			return total, fmt.Errorf("needs CAP_NET_ADMIN in the network namespace, and a table that no program owns: %w", err)
		}
		return total, err
	}
}

// spoiled tells errors that another program's change between reading and writing
// explains.
func spoiled(err error) bool {
	return errors.Is(err, unix.ENOENT) || errors.Is(err, unix.EEXIST) || errors.Is(err, unix.EBUSY)
}

// arrived notes that the table is what c asks for.
func (i *Installed) arrived(c Config) error {
	first := i.table == ""
	i.table, i.config = c.Table, c
	wants := c.Gate != nil && c.Gate.Settled && c.Gate.active() && i.can.settled
	if first || i.settled != nil && !wants {
		// Nobody has watched the elements, or nobody does from now on: they would be wrong
		// when the set comes to use again.
		if err := i.forget(); err != nil {
			return err
		}
	}
	return i.settle(c.Gate, wants)
}

// forget takes all flows out of the settled sets that are there.
func (i *Installed) forget() error {
	return flush(i.table, func(set string) bool { return set == ipv4.settledName() || set == ipv6.settledName() })
}

// flush takes all elements out of sets that are there.
func flush(table string, which func(set string) bool) error {
	have, err := readTable(table)
	if err != nil {
		return err
	}
	var messages []netlink.Message
	for _, name := range sorted(have.sets) {
		if which(name) {
			messages = append(messages, tableMessage(table, unix.NFT_MSG_DELSETELEM, text(unix.NFTA_SET_ELEM_LIST_SET, name)))
		}
	}
	return commit(messages)
}

// compare reads the table and compares it.
func (i *Installed) compare(c Config) (*difference, error) {
	want := newContents()
	if !c.Empty() {
		t := newTable(c, i.kind, i.can)
		messages, err := messagesOf(t.create)
		if err == nil {
			err = want.add(messages)
		}
		if err != nil {
			return nil, err
		}
	}
	have, err := readTable(c.Table)
	if err != nil {
		return nil, err
	}
	if i.table == "" && have.foreign() {
		return nil, fmt.Errorf("%w: choose another name for the table, or remove that one", ErrForeign)
	}
	return compare(c.Table, have, want), nil
}

// foreign tells a table that another program has made: it has no rule of ours.
func (c *contents) foreign() bool {
	for _, one := range c.chains {
		if slices.ContainsFunc(one.rules, func(r ruleContents) bool { return r.ours }) {
			return false
		}
	}
	return c.exists
}

// probe finds out what the kernel can do, as far as c needs it and it is not known.
func (i *Installed) probe(c *Config) (err error) {
	if err := probeTables(); err != nil {
		return err
	}
	if c.Empty() {
		return nil
	}
	if i.kind == "" {
		if i.kind, err = Probe(); err != nil {
			return err
		}
	}
	if err := probeFeatures(*c); err != nil {
		return err
	}
	// An expression of conntrack makes it active, and where that was the only one the
	// kernel drops what waits in all queues when it goes. A gate that selects something
	// stands where conntrack is active.
	if c.Gate != nil && c.Gate.active() && !i.probed {
		if i.can, i.noSettled, err = probeGate(c.Gate); err != nil {
			return err
		}
		i.probed = true
	}
	return nil
}

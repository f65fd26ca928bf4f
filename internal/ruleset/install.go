package ruleset

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
	"sync"

	"github.com/google/nftables"
	"github.com/mdlayher/netlink"
)

// Errors to branch on.
var (
	ErrNotFound = errors.New("there is no such table")
	ErrForeign  = errors.New("the table was not made by verdictd")
)

// Installed is a table that this process has, which may be there or not.
type Installed struct {
	kind   Kind
	table  string // empty: there is none
	config Config

	// Of a table with a gate.
	probed    bool
	can       gateParts
	noSettled error

	// generation is that of the verdicts on flows in force; 0: none was.
	generation uint16

	mu      sync.Mutex // held while the table is compared and changed
	settled *Settled
}

// Install is Apply for a table that this process has not had so far: it makes the table,
// or takes it over as another process of ours has left it. With PlacementNone and no
// gate there is nothing to make, and nothing to take away later.
func Install(c Config) (*Installed, error) {
	i := &Installed{}
	if _, err := i.Apply(c); err != nil {
		return nil, err
	}
	return i, nil
}

// settle notes what Settled returns for a gate that uses one, or does not.
func (i *Installed) settle(g *Gate, uses bool) (err error) {
	before := i.settled
	if uses && before != nil && before.timeout == g.SettledTimeout {
		return nil
	}
	i.settled = nil
	if uses {
		i.settled, err = newSettled(i.table, g.SettledTimeout)
	}
	if before != nil {
		err = errors.Join(err, before.Close())
	}
	return err
}

// Settled is the gate's settled set, nil where the gate has none: it is not wanted,
// the gate is not active, or the kernel cannot (NoSettled).
func (i *Installed) Settled() *Settled {
	i.mu.Lock()
	defer i.mu.Unlock()
	return i.settled
}

// NoSettled tells why this kernel can have no settled set, in an error that wraps
// ErrNoSettled; nil if it can.
func (i *Installed) NoSettled() error { return i.noSettled }

// SetGate is Update for the gate.
func (i *Installed) SetGate(g Gate) error {
	return i.Update(func(c *Config) { c.Gate, c.GateDetached = &g, false })
}

// gateBases are the gate's base chains.
var gateBases = []string{gateOutput, gatePrerouting, settledOutput, settledPrerouting}

// room enlarges the socket's buffers: a transaction is sent in one piece, and the
// kernel acknowledges all its messages at once; there are two for each queue of
// some fan-outs.
func room(conn *netlink.Conn) error {
	const bytes = 4 << 20
	return errors.Join(conn.SetReadBuffer(bytes), conn.SetWriteBuffer(bytes))
}

// Exists reports whether there is a table of this name.
func Exists(name string) (bool, error) {
	tables, err := listTables()
	if err != nil {
		return false, fmt.Errorf("list the nftables tables: %w", err)
	}
	return slices.ContainsFunc(tables, func(t *nftables.Table) bool { return t.Name == name }), nil
}

// Kind is the queue statement that the rules use; empty for PlacementNone.
func (i *Installed) Kind() Kind { return i.kind }

// Attach puts the rules into the base chains that Config.Detached has left empty, or
// that were detached.
func (i *Installed) Attach() error {
	return i.Update(func(c *Config) { c.Detached = false })
}

// Detach takes the rules out of the base chains, which stay, all at once. From then
// on no packet is queued, and those that are wait for their verdicts. ErrNotFound where
// somebody has removed the table.
func (i *Installed) Detach() error {
	return i.detach(func(string) bool { return true }, func(c *Config) { c.Detached, c.GateDetached = true, true })
}

// DetachGate is Detach for the gate's chains alone. What they jump to stays, so that
// conntrack stays active: where its hooks go, the kernel drops all that waits in the
// namespace's queues.
func (i *Installed) DetachGate() error {
	return i.detach(gateBase, func(c *Config) { c.GateDetached = true })
}

// DetachVerdicts is Detach for the chains that queue for verdicts: the gate's stay
// as they are.
func (i *Installed) DetachVerdicts() error {
	return i.detach(func(chain string) bool { return !gateBase(chain) }, func(c *Config) { c.Detached = true })
}

func gateBase(chain string) bool { return slices.Contains(gateBases, chain) }

// detach empties base chains, whatever else the table has.
func (i *Installed) detach(which func(chain string) bool, wanted func(*Config)) error {
	i.mu.Lock()
	defer i.mu.Unlock()
	if i.table == "" {
		return nil
	}
	wanted(&i.config)
	have, err := readTable(i.table)
	switch {
	case err != nil, !have.exists && i.config.Empty(): // Sweep has taken it away
	case !have.exists:
		err = fmt.Errorf("%w in this network namespace", ErrNotFound)
	default:
		err = commit(have.empty(i.table, which))
	}
	if err != nil {
		return fmt.Errorf("detach the rules of table inet %s: %w", i.table, err)
	}
	return nil
}

// Remove takes the table away. Packets that still wait in a queue of this
// network namespace are dropped by the kernel.
func (i *Installed) Remove() error {
	if i.table == "" {
		return nil
	}
	err := takeAway(i.table)
	if i.config.Empty() && errors.Is(err, ErrNotFound) {
		return nil // Sweep has taken it away
	}
	return err
}

// Remove takes away a table by its name, whichever process made it. It
// returns ErrNotFound or ErrForeign where it must not.
func Remove(name string) error {
	if _, err := find(name); err != nil {
		return fmt.Errorf("remove table inet %s: %w", name, err)
	}
	return takeAway(name)
}

// takeAway removes a table, whoever has rules in it.
func takeAway(name string) error {
	exists, err := Exists(name)
	if err == nil && !exists {
		err = fmt.Errorf("%w in this network namespace", ErrNotFound)
	}
	if err == nil {
		var messages []netlink.Message
		messages, err = messagesOf(func(conn *nftables.Conn) error {
			conn.DelTable(&nftables.Table{Name: name, Family: family})
			return nil
		})
		if err == nil {
			err = commit(messages)
		}
	}
	if err != nil {
		return fmt.Errorf("remove table inet %s: %w", name, err)
	}
	return nil
}

// found is a table of ours in the kernel.
type found struct {
	table  *nftables.Table
	chains []*nftables.Chain
}

// find looks a table of ours up.
func find(name string) (*found, error) {
	tables, err := listTables()
	if err != nil {
		return nil, fmt.Errorf("list the nftables tables: %w", err)
	}
	at := slices.IndexFunc(tables, func(t *nftables.Table) bool { return t.Name == name })
	if at < 0 {
		return nil, fmt.Errorf("%w in this network namespace", ErrNotFound)
	}
	f := &found{table: tables[at]}

	conn := &nftables.Conn{}
	chains, err := conn.ListChainsOfTableFamily(family)
	if err != nil {
		return nil, fmt.Errorf("list the nftables chains: %w", err)
	}
	ours := false
	for _, c := range chains {
		if c.Table.Name != name {
			continue
		}
		f.chains = append(f.chains, c)
		rules, err := conn.GetRules(f.table, c)
		if err != nil {
			return nil, fmt.Errorf("list the rules of chain %s: %w", c.Name, err)
		}
		ours = ours || slices.ContainsFunc(rules, func(r *nftables.Rule) bool {
			return bytes.Contains(r.UserData, []byte(commentPrefix))
		})
	}
	if !ours {
		return nil, ErrForeign
	}
	return f, nil
}

func listTables() ([]*nftables.Table, error) {
	return (&nftables.Conn{}).ListTablesOfFamily(family)
}

package ruleset

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"slices"
	"sync"

	"github.com/google/nftables"
	"github.com/mdlayher/netlink"

	"verdictd/internal/vocabulary"
)

// Errors to branch on.
var (
	ErrExists   = errors.New("the table exists already")
	ErrNotFound = errors.New("there is no such table")
	ErrForeign  = errors.New("the table was not made by verdictd")
)

// Installed is a table that this process made.
type Installed struct {
	kind   Kind
	table  string // empty: there is none
	config Config

	// Of a table with a gate.
	gate      bool
	can       gateParts
	noSettled error

	mu      sync.Mutex // held while the gate's chains are refilled
	settled *Settled
}

// Install makes the table with all its rules at once, or nothing. With
// PlacementNone and no gate there is nothing to make, and nothing to take away
// later.
func Install(c Config) (*Installed, error) {
	if err := c.validate(); err != nil {
		return nil, fmt.Errorf("rules: %w", err)
	}
	if c.Placement == vocabulary.PlacementNone && c.Gate == nil {
		return &Installed{}, nil
	}
	i := &Installed{table: c.Table, config: c, gate: c.Gate != nil}
	if err := i.install(c); err != nil {
		return nil, fmt.Errorf("install table inet %s: %w", c.Table, err)
	}
	return i, nil
}

func (i *Installed) install(c Config) (err error) {
	if err := probeTables(); err != nil {
		return err
	}
	if err := absent(c.Table); err != nil {
		return err
	}
	if i.kind, err = Probe(); err != nil {
		return err
	}
	if err := probeFeatures(c); err != nil {
		return err
	}
	if c.Gate != nil {
		if i.can, i.noSettled, err = probeGate(); err != nil {
			return err
		}
	}
	conn, err := nftables.New(nftables.WithSockOptions(room))
	if err != nil {
		return err
	}
	if err := newTable(c, i.kind, i.can).create(conn); err != nil {
		return err
	}
	if err := conn.Flush(); err != nil {
		if errors.Is(err, os.ErrExist) {
			err = errors.Join(absent(c.Table), err) // made by another process just now
		}
		return err
	}
	if c.Gate != nil {
		return i.settle(c.Gate)
	}
	return nil
}

// settle notes what Settled returns for a gate.
func (i *Installed) settle(g *Gate) (err error) {
	before := i.settled
	i.settled = nil
	if g.Settled && g.active() && i.can.settled {
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

// SetGate gives the gate's chains other rules, in one transaction, as which they
// change between two packets. Base chains stay, and so no packet that waits in a
// queue is lost. What is listed stays while there is a settled set before and after.
func (i *Installed) SetGate(g Gate) error {
	i.mu.Lock()
	defer i.mu.Unlock()
	failed := func(err error) error { return fmt.Errorf("change the gate of table inet %s: %w", i.table, err) }
	if !i.gate {
		return failed(errors.New("it was installed without one"))
	}
	if err := errors.Join(g.problems()...); err != nil {
		return failed(err)
	}
	conn, err := nftables.New(nftables.WithSockOptions(room))
	if err != nil {
		return failed(err)
	}
	if i.settled != nil && (!g.Settled || !g.active()) {
		// Nobody watches the elements from now on: they would be wrong when the set
		// comes to use again.
		i.settled.flush(conn)
	}
	t := &table{name: i.table}
	t.addGate(&g, i.kind, i.can)
	if err := t.refill(conn); err != nil {
		return failed(err)
	}
	if err := conn.Flush(); err != nil {
		return failed(err)
	}
	return i.settle(&g)
}

// InstallGate is Install for a table of a gate's chains alone. Such a table that is
// there already is taken over: its base chains stay, so that what waits in the
// namespace's queues is not lost.
func InstallGate(c Config) (*Installed, error) {
	i, err := Install(c)
	if !errors.Is(err, ErrExists) {
		return i, err
	}
	failed := func(err error) error { return fmt.Errorf("take over table inet %s: %w", c.Table, err) }
	if err := c.validate(); err != nil {
		return nil, failed(err)
	}
	f, err := find(c.Table)
	if err != nil {
		return nil, failed(err)
	}
	for _, name := range gateBases {
		if !slices.ContainsFunc(f.chains, func(c *nftables.Chain) bool { return c.Name == name }) {
			return nil, failed(fmt.Errorf("it has no chain %s: another version made it; remove it with `nft delete table inet %s`", name, c.Table))
		}
	}
	i = &Installed{table: c.Table, gate: true}
	if i.kind, err = Probe(); err != nil {
		return nil, failed(err)
	}
	if i.can, i.noSettled, err = probeGate(); err != nil {
		return nil, failed(err)
	}
	sets, err := (&nftables.Conn{}).GetSets(f.table)
	if err != nil {
		return nil, failed(err)
	}
	listing := slices.ContainsFunc(sets, func(s *nftables.Set) bool { return s.Name == ipv4.settledName() })
	if listing {
		conn := &nftables.Conn{}
		(&Settled{table: c.Table}).flush(conn) // nobody has watched the elements
		if err := conn.Flush(); err != nil {
			return nil, failed(err)
		}
	}
	return i, i.SetGate(*c.Gate)
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

// absent fails if there is a table of this name.
func absent(name string) error {
	_, err := find(name)
	switch {
	case errors.Is(err, ErrNotFound):
		return nil
	case errors.Is(err, ErrForeign):
		return fmt.Errorf("%w, by another program: choose another name for the table", ErrExists)
	case err != nil:
		return err
	}
	return fmt.Errorf("%w: another verdictd runs in this network namespace, or one was killed before it took the table away; then do so with `verdictd rules remove`", ErrExists)
}

// Kind is the queue statement that the rules use; empty for PlacementNone.
func (i *Installed) Kind() Kind { return i.kind }

// Detach takes the rules out of the base chains, which stay, all at once. From then
// on no packet is queued, and those that are wait for their verdicts.
func (i *Installed) Detach() error { return i.detach(func(string) bool { return true }) }

// Attach puts the rules into the base chains that Config.Detached has left empty, or
// that were detached.
func (i *Installed) Attach() error {
	failed := func(err error) error { return fmt.Errorf("attach the rules of table inet %s: %w", i.table, err) }
	conn, err := nftables.New()
	if err != nil {
		return failed(err)
	}
	t := &table{name: i.table}
	t.addHooks(i.config)
	if err := t.refill(conn); err != nil {
		return failed(err)
	}
	if err := conn.Flush(); err != nil {
		return failed(err)
	}
	return nil
}

// DetachGate is Detach for the gate's chains alone. What they jump to stays, so that
// conntrack stays active: where its hooks go, the kernel drops all that waits in the
// namespace's queues.
func (i *Installed) DetachGate() error {
	return i.detach(func(chain string) bool { return slices.Contains(gateBases, chain) })
}

// DetachVerdicts is Detach for the chains that queue for verdicts: the gate's stay
// as they are.
func (i *Installed) DetachVerdicts() error {
	return i.detach(func(chain string) bool { return !slices.Contains(gateBases, chain) })
}

func (i *Installed) detach(which func(chain string) bool) error {
	if i.table == "" {
		return nil
	}
	f, err := find(i.table)
	if err != nil {
		return fmt.Errorf("detach the rules of table inet %s: %w", i.table, err)
	}
	conn := &nftables.Conn{}
	for _, c := range f.chains {
		if c.Hooknum != nil && which(c.Name) {
			conn.FlushChain(c)
		}
	}
	if err := conn.Flush(); err != nil {
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
	return Remove(i.table)
}

// Remove takes away a table by its name, whichever process made it. It
// returns ErrNotFound or ErrForeign where it must not.
func Remove(name string) error {
	f, err := find(name)
	if err != nil {
		return fmt.Errorf("remove table inet %s: %w", name, err)
	}
	conn := &nftables.Conn{}
	conn.DelTable(f.table)
	if err := conn.Flush(); err != nil {
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
		if c.Name != queueChain && c.Name != gateQueue {
			continue
		}
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

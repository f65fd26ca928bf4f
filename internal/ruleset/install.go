package ruleset

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"slices"

	"github.com/google/nftables"
	"github.com/mdlayher/netlink"
)

// Errors to branch on.
var (
	ErrExists   = errors.New("the table exists already")
	ErrNotFound = errors.New("there is no such table")
	ErrForeign  = errors.New("the table was not made by verdictd")
)

// Installed is a table that this process made.
type Installed struct {
	kind  Kind
	table string // empty: placement none
}

// Install makes the table with all its rules at once, or nothing. With
// PlacementNone there is nothing to make, and nothing to take away later.
func Install(c Config) (*Installed, error) {
	if err := c.validate(); err != nil {
		return nil, fmt.Errorf("rules: %w", err)
	}
	if c.Placement == PlacementNone {
		return &Installed{}, nil
	}
	failed := func(err error) error { return fmt.Errorf("install table inet %s: %w", c.Table, err) }

	if err := probeTables(); err != nil {
		return nil, failed(err)
	}
	if err := absent(c.Table); err != nil {
		return nil, failed(err)
	}
	kind, err := Probe()
	if err != nil {
		return nil, failed(err)
	}
	if err := probeFeatures(c); err != nil {
		return nil, failed(err)
	}

	conn, err := nftables.New(nftables.WithSockOptions(roomForAnswers))
	if err != nil {
		return nil, failed(err)
	}
	if err := newTable(c, kind).create(conn); err != nil {
		return nil, failed(err)
	}
	if err := conn.Flush(); err != nil {
		if errors.Is(err, os.ErrExist) {
			err = errors.Join(absent(c.Table), err) // made by another process just now
		}
		return nil, failed(err)
	}
	return &Installed{kind: kind, table: c.Table}, nil
}

// roomForAnswers enlarges the socket's receive buffer: the kernel acknowledges
// every message of a transaction at once, and there are two for each queue of
// some fan-outs.
func roomForAnswers(conn *netlink.Conn) error { return conn.SetReadBuffer(4 << 20) }

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

// Detach takes the rules out of the base chains, which stay. From then on no
// packet is queued, and those that are wait for their verdicts.
func (i *Installed) Detach() error {
	if i.table == "" {
		return nil
	}
	f, err := find(i.table)
	if err != nil {
		return fmt.Errorf("detach the rules of table inet %s: %w", i.table, err)
	}
	conn := &nftables.Conn{}
	for _, c := range f.chains {
		if c.Hooknum != nil {
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
		if c.Name != queueChain {
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

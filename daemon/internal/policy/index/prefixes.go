package index

import (
	"net/netip"
	"slices"

	"github.com/gaissmai/bart"
)

// Prefixes is the dimension of an address.
type Prefixes struct {
	rules int
	wants map[netip.Prefix]Row
	cares Row
	none  Row
	rows  []Row
	table bart.Fast[int32]
}

// NewPrefixes begins one for n rules.
func NewPrefixes(n int) *Prefixes {
	return &Prefixes{rules: n, wants: map[netip.Prefix]Row{}, cares: NewRow(n)}
}

// Want adds a prefix to those that a rule wants.
func (d *Prefixes) Want(rule int, p netip.Prefix) {
	d.cares.Set(rule)
	p = p.Masked()
	row := d.wants[p]
	if row == nil {
		row = NewRow(d.rules)
		d.wants[p] = row
	}
	row.Set(rule)
}

// Build ends the work on it.
func (d *Prefixes) Build() {
	d.none = others(d.rules, d.cares)
	list := make([]netip.Prefix, 0, len(d.wants))
	for p := range d.wants {
		list = append(list, p)
	}
	// Those that have others in them come first, so that the next one up has all rows
	// above it.
	slices.SortFunc(list, func(a, b netip.Prefix) int { return a.Bits() - b.Bits() })
	var kept rows
	for _, p := range list {
		row := d.wants[p]
		if up, ok := d.table.LookupPrefix(p); ok {
			row.or(kept.list[up])
		} else {
			row.or(d.none)
		}
		d.table.Insert(p, int32(kept.intern(row)))
	}
	d.rows, d.wants = kept.list, nil
}

// Row is an address's.
func (d *Prefixes) Row(a netip.Addr) Row {
	if i, ok := d.table.Lookup(a); ok {
		return d.rows[i]
	}
	return d.none
}

package index

import (
	"slices"

	"verdictd/internal/vocabulary"
)

// Ports is the dimension of a port.
type Ports struct {
	rules  int
	edges  []edge
	cares  Row
	none   Row // of packets without ports
	rows   []Row
	blocks [256]uint16   // by the high byte
	of     [][256]uint16 // by block and the low byte: the row
}

// edge is where a rule's range begins, or ends: behind the last port.
type edge struct {
	port  int
	rule  int
	begin bool
}

// NewPorts begins one for n rules.
func NewPorts(n int) *Ports { return &Ports{rules: n, cares: NewRow(n)} }

// Want adds ports to those that a rule wants; once for each rule.
func (d *Ports) Want(rule int, ranges []vocabulary.PortRange) {
	d.cares.Set(rule)
	for _, r := range vocabulary.MergePorts(ranges) {
		d.edges = append(d.edges, edge{int(r.First), rule, true}, edge{int(r.Last) + 1, rule, false})
	}
}

// Build ends the work on it.
func (d *Ports) Build() {
	d.none = others(d.rules, d.cares)
	slices.SortFunc(d.edges, func(a, b edge) int { return a.port - b.port })
	var kept rows
	now := append(Row(nil), d.none...)
	at := kept.intern(now)
	blocks := map[[256]uint16]uint16{}
	next := 0
	for high := range 256 {
		var block [256]uint16
		for low := range 256 {
			changed := false
			for ; next < len(d.edges) && d.edges[next].port == high<<8|low; next++ {
				changed = true
				if e := d.edges[next]; e.begin {
					now.Set(e.rule)
				} else {
					now.clear(e.rule)
				}
			}
			if changed {
				at = kept.intern(now)
			}
			block[low] = uint16(at)
		}
		i, ok := blocks[block]
		if !ok {
			i = uint16(len(d.of))
			blocks[block] = i
			d.of = append(d.of, block)
		}
		d.blocks[high] = i
	}
	d.rows, d.edges = kept.list, nil
}

// Row is a port's.
func (d *Ports) Row(port uint16) Row { return d.rows[d.of[d.blocks[port>>8]][port&0xff]] }

// None is that of packets without ports.
func (d *Ports) None() Row { return d.none }

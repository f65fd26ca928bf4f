package liverules

import (
	"strings"

	"verdictd/internal/vocabulary"
)

// A chain is one of nftables, or a chain of a legacy table, as the analysis sees
// it.
type chain struct {
	source Source
	family Family
	table  string
	name   string
	base   *base // nil: called by other chains only
	rules  []rule
	// ignored: its rules do not count for whether conntrack is active.
	ignored bool
}

// base makes a chain a base chain.
type base struct {
	hook     vocabulary.Hook
	priority int
}

// A rule has conditions, and does something with packets that meet them all.
type rule struct {
	handle     uint64
	number     int
	conditions []condition

	queue    *QueueStatement
	rewrite  string // Rewrite.Kind, of the destination
	source   string // likewise, of the source
	mangles  bool   // it writes a packet's ports
	notrack  bool
	zone     *zoning
	comment  string
	tracks   bool // it activates connection tracking by being there
	calls    []string
	outcomes outcome
}

// zoning is how a rule puts packets into a conntrack zone.
type zoning struct {
	id        uint16
	computed  bool
	direction string // Zone.Direction
}

// An outcome is what can become of a packet that has met the conditions. A rule
// may have several, for example by a verdict map.
type outcome uint8

const (
	goesOn    outcome = 1 << iota // to the next rule, at once or when a chain called returns
	comesBack                     // to the rule behind the one that called this chain
	handsOver                     // to a chain that comes back in place of this one
	absorbed                      // out of the base chain
)

// A condition is one match of a rule, or an expression that may end it.
type condition struct {
	text string

	// stable: nothing but the packet's headers and its incoming interface
	// decide, so that the same words mean the same anywhere on its way.
	stable bool
	// local: the words name something of the table, such as a set.
	local bool

	// What the analysis understands of it.
	limits      *limits // of the packets that meet it; nil: none are known
	family      Family  // IPv4 or IPv6 only
	established bool    // packets of connections that have been answered, only
	confirmed   bool    // packets whose conntrack entry is confirmed, only

	// spread: packets are spread by a number that is no match, through a map.
	spread bool
}

// matchText renders conditions.
func matchText(conditions []condition) string {
	var words []string
	for _, c := range conditions {
		if c.text != "" {
			words = append(words, c.text)
		}
	}
	return strings.Join(words, " ")
}

// place names a rule of the chain.
func (c *chain) place(r *rule) Place {
	return Place{Source: c.source, Family: c.family, Table: c.table, Chain: c.name, Handle: r.handle, Number: r.number}
}

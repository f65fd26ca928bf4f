package ruleset

import (
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"time"

	"github.com/google/nftables"

	"verdictd/internal/ct"
	"verdictd/internal/vocabulary"
)

// Verdicts has the kernel carry out what the engine writes into the marks of packets, and
// keep verdicts for flows. docs/flow-verdicts.md has the design and its limits.
//
// A packet with a verdict in its mark comes by NF_REPEAT to the base chain that has queued
// it, and from there to the chain judged before it can be queued a second time. Nobody else
// sees the mark. For the same reason marks with which packets come are worth nothing: a
// base chain right before the one that queues takes them off.
type Verdicts struct {
	// Mark are the bits of packets' marks, between queue and rules.
	Mark vocabulary.Marks

	// ConnMark are the bits of conntrack's mark in which the verdict on a flow is kept; 0:
	// none is kept, and nothing here needs conntrack. As many bits as in Mark.
	ConnMark vocabulary.Marks

	// Generation is the policy's, of which kept verdicts are in force. Installed chooses it,
	// whatever is here: see Installed.Generation and Renew.
	Generation uint16
}

// Bounds of what is kept of dropped flows that conntrack does not have.
const (
	droppedSize    = 65536
	droppedTimeout = time.Minute
)

// problems finds what is wrong with it.
func (v *Verdicts) problems(p vocabulary.Placement) (problems []error) {
	if err := v.Mark.Check(); err != nil {
		problems = append(problems, fmt.Errorf("marks of packets: %w", err))
	}
	if v.ConnMark == 0 {
		return problems
	}
	if err := v.ConnMark.Check(); err != nil {
		problems = append(problems, fmt.Errorf("marks of connection tracking: %w", err))
	}
	if v.Mark.Generations() != v.ConnMark.Generations() {
		problems = append(problems, fmt.Errorf("marks of packets %v and of connection tracking %v: use as many bits in both", v.Mark, v.ConnMark))
	}
	if !p.Exposed() {
		problems = append(problems, fmt.Errorf("verdicts for flows with placement %s, where packets have no entry of connection tracking: choose another placement, or leave `flow` out", p))
	}
	return problems
}

// Keeps tells that verdicts on flows are kept.
func (c Config) Keeps() bool { return c.Verdicts != nil && c.Verdicts.ConnMark != 0 }

// Tracks tells that rules for verdicts make connections be tracked, of both families.
func (c Config) Tracks() bool {
	return c.Verdicts != nil && c.Placement.Exposed() && (c.Keeps() || c.passesResets())
}

// Tracks tells that rules for verdicts are left over which make connections be tracked.
func (c *Change) Tracks() bool {
	return slices.Contains(c.Leftovers, listChain) || slices.Contains(c.Leftovers, resetsChain)
}

// Generation is the one whose verdicts on flows are in force; 0 where none are kept. The
// engine writes it into marks. With another one a verdict is for the packet alone.
func (i *Installed) Generation() uint16 {
	i.mu.Lock()
	defer i.mu.Unlock()
	if i.table == "" || !i.config.Keeps() {
		return 0
	}
	return i.generation
}

// Renew has all verdicts on flows void, in one transaction, and returns the generation from
// then on. It is to be called before packets are judged by another policy; the engine goes
// on with the one before until it has that policy, and these verdicts are for packets alone.
//
// It takes as long as the kernel takes to walk through conntrack's table.
func (i *Installed) Renew() (uint16, error) {
	i.mu.Lock()
	defer i.mu.Unlock()
	if i.table == "" || !i.config.Keeps() {
		return 0, nil
	}
	before := i.generation
	err := i.choose(i.table, i.config.Verdicts, before)
	if err == nil {
		_, err = i.bring(i.withGeneration(i.config), true)
	}
	if err != nil {
		i.generation = before
		return before, fmt.Errorf("void the verdicts on flows of table inet %s: %w", i.table, err)
	}
	return i.generation, nil
}

// withGeneration is a configuration with the generation in force.
func (i *Installed) withGeneration(c Config) Config {
	if c.Verdicts != nil {
		v := *c.Verdicts
		v.Generation = 0
		if c.Keeps() {
			v.Generation = i.generation
		}
		c.Verdicts = &v
	}
	return c
}

// begin chooses a generation where this process has none: the one behind that of the table
// which another process has left.
func (i *Installed) begin(c *Config) error {
	if !c.Keeps() || i.generation != 0 && i.config.Keeps() && i.config.Verdicts.ConnMark == c.Verdicts.ConnMark {
		return nil
	}
	if err := c.Verdicts.alone(c.Table); err != nil {
		return err
	}
	have, err := readTable(c.Table)
	if err != nil {
		return err
	}
	return i.choose(c.Table, c.Verdicts, max(have.generation(), i.generation))
}

// choose takes the next generation. Flows may still have it in their marks, from a round
// before or from a table that is gone: it is in force only when none has.
func (i *Installed) choose(table string, v *Verdicts, before uint16) error {
	next := v.ConnMark.Next(before)
	_, err := ct.ClearMarks(uint32(v.ConnMark), uint32(v.ConnMark)&^v.ConnMark.Verdicts(), v.ConnMark.Value(vocabulary.MarkNone, next))
	if err == nil {
		err = flush(table, func(set string) bool { return set == ipv4.droppedName() || set == ipv6.droppedName() })
	}
	if err == nil {
		i.generation = next
	}
	return err
}

var generationText = regexp.MustCompile(`generation (\d+)`)

// generation is what a table's rules keep verdicts of; 0: none.
func (c *contents) generation() uint16 {
	one, ok := c.chains[judgedChain]
	if !ok {
		return 0
	}
	for _, r := range one.rules {
		if found := generationText.FindStringSubmatch(r.text); found != nil {
			n, _ := strconv.ParseUint(found[1], 10, 16)
			return uint16(n)
		}
	}
	return 0
}

// droppedName is the name of the map of a family's dropped flows that conntrack does not
// have: a packet that is dropped takes its unconfirmed entry with it.
func (f *ipFamily) droppedName() string { return "dropped-" + f.name }

// droppedKey is that of the map: addresses, ports, protocol, as the hook shows them.
func (f *ipFamily) droppedKey() nftables.SetDatatype {
	return nftables.MustConcatSetType(f.address, f.address, nftables.TypeInetService, nftables.TypeInetService, nftables.TypeInetProto)
}

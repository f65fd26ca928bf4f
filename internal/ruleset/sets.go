package ruleset

import (
	"crypto/sha256"
	"fmt"
	"slices"
	"strings"

	"github.com/google/nftables"
	"github.com/google/nftables/binaryutil"
	"github.com/google/nftables/expr"
	"golang.org/x/sys/unix"

	"verdictd/internal/vocabulary"
)

// Two kinds of sets are not what they should be in the moment of a transaction that
// makes or deletes them:
//
//   - A set of intervals that is new has none for packets until the kernel has done all
//     of the transaction, while the rules that use it count already: nf_tables_commit
//     begins the generation and has each set's commit function called at its end, and
//     a lookup knows what that function has published alone (nft_rbtree_commit, since
//     the lookup uses an array; nft_pipapo_commit).
//   - A map that is deleted has no elements for a packet that is in the midst of the
//     rules before, as these elements are not of the new generation (nft_map_deactivate).
//
// A packet that comes then matches nothing: it passes by the gate, or unjudged. So both
// have names that tell their contents, and never change: a new one is made in a
// transaction before, and one of before is deleted in a later one.
const (
	portsPrefix  = "ports-"
	queuesPrefix = "queues-"
)

// longestSetName is below the kernel's bound (NFT_SET_MAXNAMELEN, 256).
const longestSetName = 128

// addPortSet makes a set of ports, or finds the one with the same ports.
func (t *table) addPortSet(ranges []vocabulary.PortRange) *nftables.Set {
	ranges = vocabulary.MergePorts(ranges)
	name := portSetName(ranges)
	if i := slices.IndexFunc(t.sets, func(s set) bool { return s.Name == name }); i >= 0 {
		return t.sets[i].Set
	}
	s := t.addSet(name, nftables.TypeInetService, portIntervals(ranges))
	s.Interval, s.Constant = true, true
	return s
}

// portSetName tells the ports, or where they are too many a sum of them.
func portSetName(ranges []vocabulary.PortRange) string {
	var list []string
	for _, r := range ranges {
		list = append(list, rangeText(uint32(r.First), uint32(r.Last)))
	}
	name := portsPrefix + strings.Join(list, ".")
	if len(name) > longestSetName {
		name = fmt.Sprintf("%s%x", portsPrefix, sha256.Sum256([]byte(name)))
	}
	return name
}

// portIntervals are the elements of an interval set: where each begins and, unless
// that is past the last port, where it has ended.
func portIntervals(ranges []vocabulary.PortRange) (elements []nftables.SetElement) {
	for _, r := range ranges {
		elements = append(elements, nftables.SetElement{Key: []byte{byte(r.First >> 8), byte(r.First)}})
		if end := r.Last + 1; end != 0 {
			elements = append(elements, nftables.SetElement{Key: []byte{byte(end >> 8), byte(end)}, IntervalEnd: true})
		}
	}
	return elements
}

// addQueueMap makes the map from numbers to the chains of queues.
func (t *table) addQueueMap(c *Config, chains []chain) *nftables.Set {
	var targets []nftables.SetElement
	for i := range chains {
		targets = append(targets, nftables.SetElement{
			Key:         binaryutil.NativeEndian.PutUint32(uint32(i)),
			VerdictData: &expr.Verdict{Kind: expr.VerdictGoto, Chain: chains[i].name},
		})
	}
	name := fmt.Sprintf("%s%d-%d", queuesPrefix, c.FirstQueue, c.FirstQueue+c.Queues-1)
	m := t.addSet(name, nftables.TypeInteger, targets)
	m.IsMap, m.DataType, m.KeyByteOrder = true, nftables.TypeVerdict, binaryutil.NativeEndian
	return m
}

// intervals makes sets of intervals in a transaction before that of the rules that use
// them, and for a table that is not there all of it but for what base chains have.
func (c *comparison) intervals() {
	var missing []string
	for _, key := range sorted(c.want.sets) {
		if s := c.want.sets[key]; s.intervals && !s.anonymous && c.have.sets[key] == nil {
			missing = append(missing, key)
		}
	}
	switch {
	case len(missing) == 0:
	case c.have.exists:
		for _, key := range missing {
			c.differs("set %s is missing", key)
			c.d.before = append(c.d.before, c.want.sets[key].raw...)
		}
	default:
		c.sets()
		c.chains()
		for name, one := range c.want.chains {
			if one.base != "" {
				delete(c.dirtyChains, name)
			}
		}
		c.write()
		c.d.before, c.d.messages = c.d.messages, nil
	}
}

// unused deletes named sets that no rule uses any more since a transaction before this
// one. Those whose flows come and go stay, as an element may be on its way to them.
func (c *comparison) unused() {
	used := map[string]bool{}
	for _, one := range c.have.chains {
		for _, r := range one.rules {
			for _, key := range r.sets {
				used[key] = true
			}
		}
	}
	for _, key := range sorted(c.have.sets) {
		if s := c.have.sets[key]; c.want.sets[key] == nil && !s.anonymous && !s.changing && !used[key] {
			c.deleted[key] = true
			c.d.messages = append(c.d.messages, c.message(unix.NFT_MSG_DELSET, text(unix.NFTA_SET_NAME, key)))
		}
	}
}

package ruleset

import (
	"fmt"
	"slices"

	"github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"
)

// A Change is what has to be done, or was done, to a table.
type Change struct {
	// Made: the table was not there at all.
	Made bool
	// Differences says in words what was not as it should be; none: all was.
	Differences []string
	// Leftovers are chains that nothing uses any more. They are empty where packets
	// would come to them, and are there until Sweep.
	Leftovers []string
}

// Any reports whether something was not as it should be.
func (c *Change) Any() bool { return len(c.Differences) > 0 }

// difference is a Change and how to get there.
type difference struct {
	Change
	// before has to be committed alone, and the table read again. It changes nothing for
	// packets.
	before []netlink.Message
	// messages are the transaction.
	messages []netlink.Message
	// sweep takes away what is left over.
	sweep []netlink.Message
}

// A comparison of a table with what it should be.
type comparison struct {
	table      string
	have, want *contents
	d          difference

	dirtySets, dirtyChains, deleted map[string]bool
}

// compare finds how to bring a table from what it has to what it should.
func compare(table string, have, want *contents) *difference {
	c := &comparison{table: table, have: have, want: want, dirtySets: map[string]bool{}, dirtyChains: map[string]bool{}, deleted: map[string]bool{}}
	if !have.exists && !want.exists {
		return &c.d
	}
	c.tableItself()
	if len(c.d.before) == 0 {
		c.intervals()
	}
	if len(c.d.before) == 0 {
		c.sets()
		c.chains()
		c.write()
		c.leftovers()
	}
	return &c.d
}

func (c *comparison) differs(format string, args ...any) {
	c.d.Differences = append(c.d.Differences, fmt.Sprintf(format, args...))
}

// message makes one that changes the table.
func (c *comparison) message(kind uint16, list ...netlink.Attribute) netlink.Message {
	return tableMessage(c.table, kind, list...)
}

func (c *comparison) flush(chain string) netlink.Message {
	return c.message(unix.NFT_MSG_DELRULE, text(unix.NFTA_RULE_CHAIN, chain))
}

// empty takes the rules out of base chains.
func (c *contents) empty(table string, which func(chain string) bool) (messages []netlink.Message) {
	for _, name := range sorted(c.chains) {
		if one := c.chains[name]; one.base != "" && len(one.rules) > 0 && which(name) {
			messages = append(messages, tableMessage(table, unix.NFT_MSG_DELRULE, text(unix.NFTA_RULE_CHAIN, name)))
		}
	}
	return messages
}

// tableItself wakes up a table, and gives base chains another name of which the hook
// is another one: a chain cannot be moved, and must not be deleted while packets wait.
func (c *comparison) tableItself() {
	switch {
	case !c.have.exists:
		c.d.Made = true
		c.differs("the table is missing")
		return
	case !c.want.exists:
		return
	case c.have.flags&unix.NFT_TABLE_F_DORMANT != 0:
		c.differs("the table is dormant")
		c.d.before = append(c.d.before, c.message(unix.NFT_MSG_NEWTABLE, netlink.Attribute{Type: unix.NFTA_TABLE_FLAGS, Data: make([]byte, 4)}))
	}
	for _, name := range sorted(c.want.chains) {
		w, h := c.want.chains[name], c.have.chains[name]
		if before := c.have.chains[name+unmarkSuffix]; h == nil && w.base != "" && before != nil {
			// What is called right before it has to be added behind it.
			c.differs("chain %s is missing behind %s", name, before.name)
			c.d.before = append(c.d.before, c.rename(before))
		}
		if h == nil || h.base == w.base {
			continue
		}
		c.differs("chain %s is not %s but %s", name, baseText(w.base), baseText(h.base))
		c.d.before = append(c.d.before, c.rename(h))
	}
}

func baseText(base string) string {
	if base == "" {
		return "without a hook"
	}
	return base
}

// rename gives a chain a name that nothing else has, its handle's.
func (c *comparison) rename(h *chainContents) netlink.Message {
	handle := make([]byte, 8)
	for i := range handle {
		handle[i] = byte(h.handle >> (56 - 8*i))
	}
	return c.message(unix.NFT_MSG_NEWCHAIN,
		netlink.Attribute{Type: unix.NFTA_CHAIN_HANDLE, Data: handle},
		text(unix.NFTA_CHAIN_NAME, fmt.Sprintf("former-%d", h.handle)))
}

// sets finds those that have to be made again. What is listed in one whose elements
// come and go stays.
func (c *comparison) sets() {
	for key, w := range c.want.sets {
		if w.anonymous {
			continue // goes with its rule
		}
		h, ok := c.have.sets[key]
		if ok && h.text() == w.text() {
			continue
		}
		c.dirtySets[key] = true
		switch {
		case !c.have.exists:
		case ok:
			c.differs("set %s has other contents", key)
		default:
			c.differs("set %s is missing", key)
		}
	}
}

// chains finds those whose rules have to be written again.
func (c *comparison) chains() {
	for _, name := range sorted(c.want.chains) {
		w, h := c.want.chains[name], c.have.chains[name]
		if h == nil {
			c.dirtyChains[name] = true
			if c.have.exists {
				c.differs("chain %s is missing", name)
			}
			continue
		}
		if h.policy != w.policy {
			c.differs("chain %s has another policy", name)
		}
		if same := slices.EqualFunc(h.rules, w.rules, func(a, b ruleContents) bool { return a.text == b.text }); !same {
			c.differs("chain %s has %s", name, ruleDifference(h.rules, w.rules))
			c.dirtyChains[name] = true
		}
	}
	for name, h := range c.have.chains {
		uses := slices.ContainsFunc(h.rules, func(r ruleContents) bool {
			return slices.ContainsFunc(r.sets, func(key string) bool { return c.dirtySets[key] })
		})
		if uses {
			c.dirtyChains[name] = true
		}
		if w := c.want.chains[name]; w == nil && h.base != "" && len(h.rules) > 0 {
			c.differs("chain %s is not wanted", name)
			c.dirtyChains[name] = true
		}
	}
	for name, w := range c.want.chains {
		// A set that is made again is another one to the rules that use it.
		if c.have.chains[name] != nil && slices.ContainsFunc(w.rules, func(r ruleContents) bool {
			return slices.ContainsFunc(r.sets, func(key string) bool { return c.dirtySets[key] })
		}) {
			c.dirtyChains[name] = true
		}
	}
}

// ruleDifference tells in words how rules differ.
func ruleDifference(have, want []ruleContents) string {
	switch {
	case len(have) == 0:
		return "no rules"
	case len(have) < len(want):
		return fmt.Sprintf("%d rules in place of %d", len(have), len(want))
	case len(have) > len(want):
		return fmt.Sprintf("%d rules in place of %d", len(have), len(want))
	}
	for i := range have {
		if have[i].text != want[i].text {
			return fmt.Sprintf("another rule %d", i+1)
		}
	}
	return "the same rules"
}

// write puts the transaction together: rules go before the sets that they use, and
// sets and chains come before the rules that use them.
func (c *comparison) write() {
	add := func(m ...netlink.Message) { c.d.messages = append(c.d.messages, m...) }
	if !c.have.exists {
		add(c.want.definition...)
	}
	for _, name := range sorted(c.have.chains) {
		if c.dirtyChains[name] && len(c.have.chains[name].rules) > 0 {
			add(c.flush(name))
		}
	}
	for _, key := range sorted(c.have.sets) {
		if c.dirtySets[key] {
			add(c.message(unix.NFT_MSG_DELSET, text(unix.NFTA_SET_NAME, key)))
		}
	}
	for _, name := range sorted(c.want.chains) {
		w, h := c.want.chains[name], c.have.chains[name]
		switch {
		case h == nil:
			add(w.definition)
		case h.policy != w.policy:
			add(c.message(unix.NFT_MSG_NEWCHAIN, text(unix.NFTA_CHAIN_NAME, name),
				netlink.Attribute{Type: unix.NFTA_CHAIN_POLICY, Data: []byte{0, 0, 0, byte(w.policy)}}))
		}
	}
	used := map[string]bool{}
	for name := range c.dirtyChains {
		if w := c.want.chains[name]; w != nil {
			for _, r := range w.rules {
				for _, key := range r.sets {
					used[key] = true
				}
			}
		}
	}
	for _, key := range sorted(c.want.sets) {
		if s := c.want.sets[key]; c.dirtySets[key] || s.anonymous && used[key] {
			add(s.raw...)
		}
	}
	for _, name := range sorted(c.want.chains) {
		if !c.dirtyChains[name] {
			continue
		}
		for _, r := range c.want.chains[name].rules {
			add(r.raw)
		}
	}
	if len(c.d.messages) > 0 {
		c.unused()
	}
}

// leftovers are what nobody wants any more. Where a base chain goes, or the last rule
// that keeps conntrack active, the kernel drops all that waits in any queue of the
// namespace: they stay, without rules in base chains, until nothing waits.
func (c *comparison) leftovers() {
	add := func(m netlink.Message) { c.d.sweep = append(c.d.sweep, m) }
	var chains, sets []string
	for _, name := range sorted(c.have.chains) {
		if c.want.chains[name] == nil {
			chains = append(chains, name)
		}
	}
	for _, key := range sorted(c.have.sets) {
		if s := c.have.sets[key]; c.want.sets[key] == nil && !s.anonymous && !c.deleted[key] {
			sets = append(sets, key)
		}
	}
	c.d.Leftovers = append(slices.Clone(chains), sets...)
	if c.have.exists && !c.want.exists {
		c.d.Leftovers = append(c.d.Leftovers, "the table")
		add(c.message(unix.NFT_MSG_DELTABLE))
		return
	}
	for _, name := range chains {
		add(c.flush(name))
	}
	for _, key := range sets {
		add(c.message(unix.NFT_MSG_DELSET, text(unix.NFTA_SET_NAME, key)))
	}
	for _, name := range chains {
		add(c.message(unix.NFT_MSG_DELCHAIN, text(unix.NFTA_CHAIN_NAME, name)))
	}
}

func sorted[T any](m map[string]T) []string {
	keys := make([]string, 0, len(m))
	for k := range m {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	return keys
}

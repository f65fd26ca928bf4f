package ruleset

import (
	"encoding/binary"
	"fmt"
	"slices"
	"strings"

	"github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"

	"verdictd/internal/nfnl"
)

// contents is what is in a table. The same code makes it of the messages that would
// install a table and of those with which the kernel describes one, so that both can
// be compared attribute by attribute: nothing in a rule is left out because it is not
// known here.
type contents struct {
	exists bool
	flags  uint32
	chains map[string]*chainContents
	sets   map[string]*setContents

	definition []netlink.Message // of the table itself
}

// chainContents is a chain; base is empty for one that has no hook.
type chainContents struct {
	name   string
	base   string
	policy uint32
	rules  []ruleContents
	handle uint64

	definition netlink.Message
}

type ruleContents struct {
	text string   // canonical, with what anonymous sets have
	sets []string // keys of those that it uses
	ours bool     // by its comment
	raw  netlink.Message
}

// setContents is a set or a map.
type setContents struct {
	name       string
	anonymous  bool
	changing   bool // its elements come and go by themselves
	intervals  bool
	definition string
	elements   []string

	raw []netlink.Message
}

// text is what a set has, in an order of its own.
func (s *setContents) text() string {
	if s.changing {
		return s.definition
	}
	slices.Sort(s.elements)
	return s.definition + " {" + strings.Join(s.elements, ", ") + "}"
}

func newContents() *contents {
	return &contents{chains: map[string]*chainContents{}, sets: map[string]*setContents{}}
}

// setElemKeyEnd is NFTA_SET_ELEM_KEY_END.
const setElemKeyEnd = 10

// add reads messages: NEWTABLE, NEWCHAIN, NEWSET, NEWSETELEM and NEWRULE of one table,
// sets before the rules that use them.
func (c *contents) add(messages []netlink.Message) error {
	for _, m := range messages {
		if len(m.Data) < nfgenmsgLength {
			return fmt.Errorf("a message of %d bytes of nftables", len(m.Data))
		}
		a := attributesOf(m.Data[nfgenmsgLength:])
		switch messageOf(m) {
		case unix.NFT_MSG_NEWTABLE:
			c.exists, c.flags = true, a.u32(unix.NFTA_TABLE_FLAGS)
			c.definition = append(c.definition, m)
		case unix.NFT_MSG_NEWCHAIN:
			c.addChain(a, m)
		case unix.NFT_MSG_NEWSET:
			c.addSet(a, m)
		case unix.NFT_MSG_NEWSETELEM:
			c.addElements(a, m)
		case unix.NFT_MSG_NEWRULE:
			c.addRule(a, m)
		}
	}
	return nil
}

func (c *contents) addChain(a attributes, m netlink.Message) {
	one := &chainContents{name: a.text(unix.NFTA_CHAIN_NAME), definition: m, handle: a.u64(unix.NFTA_CHAIN_HANDLE)}
	if hook, ok := a[unix.NFTA_CHAIN_HOOK]; ok {
		h := attributesOf(hook)
		one.base = fmt.Sprintf("%s hook %d priority %d", a.text(unix.NFTA_CHAIN_TYPE), h.u32(unix.NFTA_HOOK_HOOKNUM), int32(h.u32(unix.NFTA_HOOK_PRIORITY)))
		one.policy = a.u32(unix.NFTA_CHAIN_POLICY)
	}
	c.chains[one.name] = one
}

// setKey names a set: anonymous ones that are not in the kernel yet have an id only.
func setKey(name string, id uint32) string {
	if strings.Contains(name, "%") {
		return fmt.Sprintf("%s %d", name, id)
	}
	return name
}

func (c *contents) addSet(a attributes, m netlink.Message) {
	name := a.text(unix.NFTA_SET_NAME)
	flags := a.u32(unix.NFTA_SET_FLAGS)
	s := &setContents{
		name: name, raw: []netlink.Message{m},
		anonymous: flags&unix.NFT_SET_ANONYMOUS != 0,
		changing:  flags&unix.NFT_SET_TIMEOUT != 0,
		intervals: flags&unix.NFT_SET_INTERVAL != 0,
	}
	s.definition = fmt.Sprintf("flags %#x key %#x of %d data %#x", flags, a.u32(unix.NFTA_SET_KEY_TYPE), a.u32(unix.NFTA_SET_KEY_LEN), a.u32(unix.NFTA_SET_DATA_TYPE))
	if s.changing {
		size := attributesOf(a[unix.NFTA_SET_DESC]).u32(unix.NFTA_SET_DESC_SIZE)
		s.definition += fmt.Sprintf(" timeout %d size %d", a.u64(unix.NFTA_SET_TIMEOUT), size)
	}
	c.sets[setKey(name, a.u32(unix.NFTA_SET_ID))] = s
}

func (c *contents) addElements(a attributes, m netlink.Message) {
	s, ok := c.sets[setKey(a.text(unix.NFTA_SET_ELEM_LIST_SET), a.u32(unix.NFTA_SET_ELEM_LIST_SET_ID))]
	if !ok {
		return
	}
	s.raw = append(s.raw, m)
	if s.changing {
		return
	}
	for list := nfnl.Attributes(a[unix.NFTA_SET_ELEM_LIST_ELEMENTS]); ; {
		_, data, ok := list.Next()
		if !ok {
			return
		}
		e := attributesOf(data)
		text := dataText(e[unix.NFTA_SET_ELEM_KEY])
		if end, ok := e[setElemKeyEnd]; ok {
			text += "-" + dataText(end)
		}
		if value, ok := e[unix.NFTA_SET_ELEM_DATA]; ok {
			text += ":" + dataText(value)
		}
		if flags := e.u32(unix.NFTA_SET_ELEM_FLAGS); flags != 0 {
			text += fmt.Sprintf(" flags %d", flags)
		}
		s.elements = append(s.elements, text)
	}
}

func (c *contents) addRule(a attributes, m netlink.Message) {
	in, ok := c.chains[a.text(unix.NFTA_RULE_CHAIN)]
	if !ok {
		return
	}
	r := ruleContents{raw: m}
	var words []string
	for list := nfnl.Attributes(a[unix.NFTA_RULE_EXPRESSIONS]); ; {
		_, data, ok := list.Next()
		if !ok {
			break
		}
		e := attributesOf(data)
		words = append(words, c.expression(e.text(unix.NFTA_EXPR_NAME), e[unix.NFTA_EXPR_DATA], &r))
	}
	comment := string(a[unix.NFTA_RULE_USERDATA])
	r.ours = strings.Contains(comment, commentPrefix)
	r.text = strings.Join(words, "; ") + fmt.Sprintf(" %q", comment)
	in.rules = append(in.rules, r)
}

// Attributes of expressions that need more than to be written down as they are.
var (
	registersOf = map[string][]uint16{
		"payload": {unix.NFTA_PAYLOAD_DREG, unix.NFTA_PAYLOAD_SREG}, "cmp": {unix.NFTA_CMP_SREG},
		"bitwise": {unix.NFTA_BITWISE_SREG, unix.NFTA_BITWISE_DREG}, "lookup": {unix.NFTA_LOOKUP_SREG, unix.NFTA_LOOKUP_DREG},
		"meta": {unix.NFTA_META_DREG, unix.NFTA_META_SREG}, "ct": {unix.NFTA_CT_DREG, unix.NFTA_CT_SREG},
		"immediate": {unix.NFTA_IMMEDIATE_DREG}, "numgen": {unix.NFTA_NG_DREG}, "hash": {unix.NFTA_HASH_SREG, unix.NFTA_HASH_DREG},
		"dynset": {unix.NFTA_DYNSET_SREG_KEY, unix.NFTA_DYNSET_SREG_DATA},
	}
	dataOf = map[string][]uint16{
		"cmp": {unix.NFTA_CMP_DATA}, "bitwise": {unix.NFTA_BITWISE_MASK, unix.NFTA_BITWISE_XOR}, "immediate": {unix.NFTA_IMMEDIATE_DATA},
	}
	setNameOf = map[string]uint16{"lookup": unix.NFTA_LOOKUP_SET, "dynset": unix.NFTA_DYNSET_SET_NAME}
	setIDOf   = map[string]uint16{"lookup": unix.NFTA_LOOKUP_SET_ID, "dynset": unix.NFTA_DYNSET_SET_ID}
)

// expression writes an expression down, and notes the set that it uses.
func (c *contents) expression(name string, data []byte, r *ruleContents) string {
	if name == "counter" {
		return name // what it has counted is no difference
	}
	a := attributesOf(data)
	var words []string
	for _, kind := range a.kinds() {
		value := a[kind]
		word := fmt.Sprintf("%x", value)
		switch {
		case slices.Contains(registersOf[name], kind) && len(value) == 4:
			word = fmt.Sprintf("r%d", number(binary.BigEndian.Uint32(value)))
		case slices.Contains(dataOf[name], kind):
			word = dataText(value)
		case setNameOf[name] == kind && kind != 0:
			key := setKey(a.text(kind), a.u32(setIDOf[name]))
			r.sets = append(r.sets, key)
			word = "@" + a.text(kind)
			if s, ok := c.sets[key]; ok && s.anonymous {
				word = s.text()
			}
		case setIDOf[name] == kind && kind != 0:
			continue // known in the transaction alone
		case isDefault(value):
			continue // the kernel says the same by leaving it out, or the other way round
		}
		words = append(words, fmt.Sprintf("%d=%s", kind, word))
	}
	return name + " " + strings.Join(words, " ")
}

// isDefault tells numbers that are 0.
func isDefault(value []byte) bool {
	return len(value) <= 8 && !slices.ContainsFunc(value, func(b byte) bool { return b != 0 })
}

// dataText writes down what a register can hold: a value, or a verdict.
func dataText(data []byte) string {
	a := attributesOf(data)
	if v, ok := a[unix.NFTA_DATA_VERDICT]; ok {
		w := attributesOf(v)
		return strings.TrimSpace(fmt.Sprintf("verdict %d %s", int32(w.u32(unix.NFTA_VERDICT_CODE)), w.text(unix.NFTA_VERDICT_CHAIN)))
	}
	return fmt.Sprintf("%x", a[unix.NFTA_DATA_VALUE])
}

// attributes are a message's by their kind.
type attributes map[uint16][]byte

func attributesOf(b []byte) attributes {
	a := attributes{}
	for list := nfnl.Attributes(b); ; {
		kind, data, ok := list.Next()
		if !ok {
			return a
		}
		a[kind] = data
	}
}

func (a attributes) kinds() []uint16 {
	var kinds []uint16
	for kind := range a {
		kinds = append(kinds, kind)
	}
	slices.Sort(kinds)
	return kinds
}

func (a attributes) text(kind uint16) string { return unix.ByteSliceToString(a[kind]) }

func (a attributes) u32(kind uint16) uint32 {
	if len(a[kind]) != 4 {
		return 0
	}
	return binary.BigEndian.Uint32(a[kind])
}

func (a attributes) u64(kind uint16) uint64 {
	if len(a[kind]) != 8 {
		return 0
	}
	return binary.BigEndian.Uint64(a[kind])
}

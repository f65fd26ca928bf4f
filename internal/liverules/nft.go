package liverules

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"

	"verdictd/internal/kernelfacts"
	"verdictd/internal/vocabulary"
)

// The netlink messages are decoded here rather than by a library, because those
// there are leave out what they do not know: an expression whose absence makes
// a match look unconditional, the register of a queue's number, tproxy.

const (
	nfgenmsgLen = 4
	// messageBuffer holds any datagram of a dump, which has 32 KiB at most.
	messageBuffer = 64 << 10
	anonymousSet  = 1 << 0 // NFT_SET_ANONYMOUS
	intervalSet   = 1 << 2 // NFT_SET_INTERVAL
	timeoutSet    = 1 << 4 // NFT_SET_TIMEOUT
	evalSet       = 1 << 5 // NFT_SET_EVAL
	dormantTable  = 1      // NFT_TABLE_F_DORMANT
	verdictType   = 0xffffff00
)

// errChanged: the rules changed between two dumps.
var errChanged = errors.New("the rules keep changing")

// readNFTables reads the tables of all families, and what in them activates conntrack
// besides rules.
func readNFTables() (chains []*chain, keepers []keeper, err error) {
	if notLoaded("nf_tables") {
		return nil, nil, nil
	}
	conn, err := netlink.Dial(unix.NETLINK_NETFILTER, &netlink.Config{MessageBufferSize: messageBuffer})
	if err != nil {
		return nil, nil, fmt.Errorf("open a netlink socket: %w", err)
	}
	defer func() { err = errors.Join(err, conn.Close()) }()
	for attempt := 1; ; attempt++ {
		d := &dumper{conn: conn}
		chains, err := d.chains()
		switch {
		case err == nil:
			return chains, d.keepers, nil
		case errors.Is(err, unix.EINVAL):
			return nil, nil, nil // the kernel has no nf_tables
		case errors.Is(err, errChanged) && attempt < changes:
			continue
		case errors.Is(err, os.ErrPermission):
			return nil, nil, fmt.Errorf("needs CAP_NET_ADMIN in the network namespace: %w", err)
		}
		return nil, nil, err
	}
}

// notLoaded tells of a module that it is one, and is not in the kernel: asking it
// something would load it.
func notLoaded(module string) bool {
	if _, err := os.Stat(filepath.Join("/sys/module", module)); err == nil {
		return false
	}
	release, err := kernelfacts.Release()
	if err != nil {
		return false
	}
	modules, err := os.ReadFile(filepath.Join("/lib/modules", release, "modules.dep"))
	return err == nil && strings.Contains(string(modules), "/"+module+".ko")
}

// A dumper reads one state of the rules.
type dumper struct {
	conn *netlink.Conn
	// generation is the state's number: each message of a dump has its lower 16
	// bits (nfgenmsg.res_id).
	generation *uint16
	// keepers are those found so far.
	keepers []keeper
}

// object is what a dump has of one thing.
type object struct {
	family Family
	attributes
}

// dump asks for all objects of a kind. A filter is attributes; none: in all
// tables of all families.
func (d *dumper) dump(message uint16, family uint8, filter []byte) ([]object, error) {
	answers, err := d.conn.Execute(netlink.Message{
		Header: netlink.Header{
			Type:  netlink.HeaderType(unix.NFNL_SUBSYS_NFTABLES<<8 | message),
			Flags: netlink.Request | netlink.Dump,
		},
		Data: append([]byte{family, unix.NFNETLINK_V0, 0, 0}, filter...),
	})
	if err != nil {
		return nil, err
	}
	var objects []object
	for _, a := range answers {
		if len(a.Data) < nfgenmsgLen {
			return nil, fmt.Errorf("a message of %d bytes: %w", len(a.Data), errMalformed)
		}
		generation := binary.BigEndian.Uint16(a.Data[2:])
		if a.Header.Flags&netlink.DumpInterrupted != 0 || d.generation != nil && *d.generation != generation {
			return nil, errChanged
		}
		d.generation = &generation
		attributes, err := parseAttributes(a.Data[nfgenmsgLen:])
		if err != nil {
			return nil, err
		}
		objects = append(objects, object{familyOf(a.Data[0]), attributes})
	}
	return objects, nil
}

var familyNumbers = map[Family]uint8{
	IPv4: unix.NFPROTO_IPV4, IPv6: unix.NFPROTO_IPV6, Inet: unix.NFPROTO_INET,
	Bridge: unix.NFPROTO_BRIDGE, NetDev: unix.NFPROTO_NETDEV, ARP: unix.NFPROTO_ARP,
}

func familyOf(number uint8) Family {
	for f, n := range familyNumbers {
		if n == number {
			return f
		}
	}
	return Family(fmt.Sprintf("family %d", number))
}

// chains reads and decodes everything.
func (d *dumper) chains() ([]*chain, error) {
	tables, err := d.dump(unix.NFT_MSG_GETTABLE, unix.NFPROTO_UNSPEC, nil)
	if err != nil {
		return nil, fmt.Errorf("list the tables: %w", err)
	}
	dormant := map[tableKey]bool{}
	for _, t := range tables {
		dormant[tableKey{t.family, t.text(unix.NFTA_TABLE_NAME)}] = t.u32(unix.NFTA_TABLE_FLAGS)&dormantTable != 0
	}
	objects, err := d.dump(unix.NFT_MSG_GETCHAIN, unix.NFPROTO_UNSPEC, nil)
	if err != nil {
		return nil, fmt.Errorf("list the chains: %w", err)
	}
	var chains []*chain
	byName := map[chainKey]*chain{}
	for _, o := range objects {
		c := decodeChain(o)
		if dormant[tableKey{c.family, c.table}] {
			c.base = nil // its hooks are not registered
		}
		chains = append(chains, c)
		byName[chainKey{NFTables, c.family, c.table, c.name}] = c
	}
	sets, err := d.sets()
	if err != nil {
		return nil, err
	}
	objects, err = d.dump(unix.NFT_MSG_GETRULE, unix.NFPROTO_UNSPEC, nil)
	if err != nil {
		return nil, fmt.Errorf("list the rules: %w", err)
	}
	d.withoutDynamic(objects, sets)
	if err := d.objects(); err != nil {
		return nil, err
	}
	for _, o := range objects {
		table, name := o.text(unix.NFTA_RULE_TABLE), o.text(unix.NFTA_RULE_CHAIN)
		c, ok := byName[chainKey{NFTables, o.family, table, name}]
		if !ok {
			continue // nftables allows none
		}
		r, err := decodeRule(o, sets[tableKey{o.family, table}])
		if err != nil {
			return nil, fmt.Errorf("decode rule %d of chain %s of table %s %s: %w", r.handle, name, o.family, table, err)
		}
		r.number = len(c.rules) + 1
		c.rules = append(c.rules, r)
	}
	return chains, nil
}

type tableKey struct {
	family Family
	name   string
}

func decodeChain(o object) *chain {
	c := &chain{
		source: NFTables, family: o.family,
		table: o.text(unix.NFTA_CHAIN_TABLE), name: o.text(unix.NFTA_CHAIN_NAME),
	}
	if hook, err := o.nested(unix.NFTA_CHAIN_HOOK); err == nil && hook != nil {
		c.base = &base{hookOf(o.family, hook.u32(unix.NFTA_HOOK_HOOKNUM)), int(int32(hook.u32(unix.NFTA_HOOK_PRIORITY)))}
	}
	return c
}

// hookOf names a hook; the numbers depend on the family.
func hookOf(f Family, number uint32) vocabulary.Hook {
	hooks := append(vocabulary.Hooks(), vocabulary.HookIngress)
	switch f {
	case NetDev:
		hooks = []vocabulary.Hook{vocabulary.HookIngress, vocabulary.HookEgress}
	case ARP:
		hooks = []vocabulary.Hook{vocabulary.HookInput, vocabulary.HookOutput, vocabulary.HookForward}
	}
	if int(number) < len(hooks) {
		return hooks[number]
	}
	return vocabulary.Hook(fmt.Sprintf("hook %d", number))
}

// set is what a rule's lookup in it says.
type set struct {
	name      string
	anonymous bool
	keyLength int
	interval  bool // the elements are where ranges begin and end
	verdicts  bool // a verdict map
	elements  []element
	// whole: elements are all that there are, until somebody changes the rules.
	whole bool
}

type element struct {
	key     []byte
	last    []byte // of a range in a concatenation; nil: key alone
	plain   bool   // no range, no catch-all
	end     bool   // of a range, which has not this key itself
	all     bool   // whatever is in no other element
	verdict *verdict
}

// The types of keys of which the elements matter: nft writes those of a
// concatenation into 6 bits each.
const (
	protocolType   = 12 // TYPE_INET_PROTOCOL
	portType       = 13 // TYPE_INET_SERVICE
	typeBits       = 6
	typeMask       = 1<<typeBits - 1
	mostConcatened = 5
)

// matters: the set has protocols and ports alone.
func matters(keyType uint32) bool {
	for n := 0; keyType != 0 && n < mostConcatened; n++ {
		if t := keyType & typeMask; t != protocolType && t != portType {
			return false
		}
		if keyType >>= typeBits; keyType == 0 {
			return true
		}
	}
	return false
}

// sets reads all sets, with the elements of those that a rule's meaning or its
// words depend on.
func (d *dumper) sets() (map[tableKey]map[string]set, error) {
	objects, err := d.dump(unix.NFT_MSG_GETSET, unix.NFPROTO_UNSPEC, nil)
	if err != nil {
		return nil, fmt.Errorf("list the sets: %w", err)
	}
	sets := map[tableKey]map[string]set{}
	for _, o := range objects {
		key := tableKey{o.family, o.text(unix.NFTA_SET_TABLE)}
		s := set{
			name:      o.text(unix.NFTA_SET_NAME),
			anonymous: o.u32(unix.NFTA_SET_FLAGS)&anonymousSet != 0,
			interval:  o.u32(unix.NFTA_SET_FLAGS)&intervalSet != 0,
			keyLength: int(o.u32(unix.NFTA_SET_KEY_LEN)),
			verdicts:  o.u32(unix.NFTA_SET_DATA_TYPE) == verdictType,
		}
		if err := d.keptBySet(o); err != nil {
			return nil, fmt.Errorf("set %s of table %s %s: %w", s.name, key.family, key.name, err)
		}
		steady := o.u32(unix.NFTA_SET_FLAGS)&(timeoutSet|evalSet) == 0
		s.whole = steady && (s.anonymous || matters(o.u32(unix.NFTA_SET_KEY_TYPE)))
		if s.anonymous || s.verdicts || s.whole {
			if s.elements, err = d.elements(key, s.name); err != nil {
				return nil, fmt.Errorf("list the elements of set %s of table %s %s: %w", s.name, key.family, key.name, err)
			}
		}
		if sets[key] == nil {
			sets[key] = map[string]set{}
		}
		sets[key][s.name] = s
	}
	return sets, nil
}

// elements reads those of one set, which may come in several messages.
func (d *dumper) elements(t tableKey, name string) ([]element, error) {
	filter, err := netlink.MarshalAttributes([]netlink.Attribute{
		{Type: unix.NFTA_SET_ELEM_LIST_TABLE, Data: append([]byte(t.name), 0)},
		{Type: unix.NFTA_SET_ELEM_LIST_SET, Data: append([]byte(name), 0)},
	})
	if err != nil {
		return nil, err
	}
	objects, err := d.dump(unix.NFT_MSG_GETSETELEM, familyNumbers[t.family], filter)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil, errChanged
	case err != nil:
		return nil, err
	}
	var elements []element
	for _, o := range objects {
		list, err := parseList(o.get(unix.NFTA_SET_ELEM_LIST_ELEMENTS))
		if err != nil {
			return nil, err
		}
		for _, b := range list {
			e, err := decodeElement(b)
			if err != nil {
				return nil, err
			}
			elements = append(elements, e)
		}
	}
	return elements, nil
}

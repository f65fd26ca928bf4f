package netlab

import (
	"errors"
	"fmt"

	"github.com/google/nftables"
	"github.com/google/nftables/binaryutil"
	"github.com/google/nftables/expr"
	"golang.org/x/sys/unix"
)

// FilterTable is the nftables table (family inet) of [NetNS.DropAtRandom].
const FilterTable = "filter-at-random"

// A Hook is where [NetNS.DropAtRandom] may drop.
type Hook = nftables.ChainHook

// The hooks on a packet's way behind those where it is queued.
var (
	HookOutput      = nftables.ChainHookOutput
	HookPostrouting = nftables.ChainHookPostrouting
	HookInput       = nftables.ChainHookInput
	HookForward     = nftables.ChainHookForward
)

// A Filter is a rule that drops packets at random, and counts them.
type Filter struct {
	ns    *NetNS
	table *nftables.Table
	chain *nftables.Chain
}

// DropAtRandom makes a hook of the namespace, at filter priority (0), drop one
// of so many UDP packets to a port, chosen at random.
func (n *NetNS) DropAtRandom(hook *Hook, port uint16, oneOf uint32) (*Filter, error) {
	conn, err := nftables.New(nftables.WithNetNSFd(int(n.file.Fd())))
	if err != nil {
		return nil, fmt.Errorf("open nftables in %s: %w", n.Path(), err)
	}
	f := &Filter{ns: n, table: conn.AddTable(&nftables.Table{Name: FilterTable, Family: nftables.TableFamilyINet})}
	f.chain = conn.AddChain(&nftables.Chain{
		Name: "drop", Table: f.table, Type: nftables.ChainTypeFilter, Hooknum: hook, Priority: nftables.ChainPriorityFilter,
	})
	const destinationPort = 2 // offset in the UDP header
	conn.AddRule(&nftables.Rule{Table: f.table, Chain: f.chain, Exprs: []expr.Any{
		&expr.Meta{Key: expr.MetaKeyL4PROTO, Register: 1},
		&expr.Cmp{Op: expr.CmpOpEq, Register: 1, Data: []byte{unix.IPPROTO_UDP}},
		&expr.Payload{DestRegister: 1, Base: expr.PayloadBaseTransportHeader, Offset: destinationPort, Len: 2},
		&expr.Cmp{Op: expr.CmpOpEq, Register: 1, Data: binaryutil.BigEndian.PutUint16(port)},
		&expr.Numgen{Register: 1, Modulus: oneOf, Type: unix.NFT_NG_RANDOM},
		&expr.Cmp{Op: expr.CmpOpEq, Register: 1, Data: make([]byte, 4)},
		&expr.Counter{},
		&expr.Verdict{Kind: expr.VerdictDrop},
	}})
	if err := conn.Flush(); err != nil {
		return nil, fmt.Errorf("drop packets at random (needs CONFIG_NFT_NUMGEN): %w", err)
	}
	return f, nil
}

// Dropped is how many packets the rule has dropped.
func (f *Filter) Dropped() (uint64, error) {
	conn, err := nftables.New(nftables.WithNetNSFd(int(f.ns.file.Fd())))
	if err != nil {
		return 0, fmt.Errorf("open nftables in %s: %w", f.ns.Path(), err)
	}
	rules, err := conn.GetRules(f.table, f.chain)
	if err != nil {
		return 0, fmt.Errorf("read the counter of table inet %s: %w", FilterTable, err)
	}
	for _, r := range rules {
		for _, e := range r.Exprs {
			if c, ok := e.(*expr.Counter); ok {
				return c.Packets, nil
			}
		}
	}
	return 0, errors.New("read the counter of table inet " + FilterTable + ": the rule is gone")
}

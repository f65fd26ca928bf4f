package netlab

import (
	"fmt"

	"github.com/google/nftables"
	"github.com/google/nftables/expr"
)

// AnchorTable is the nftables table (family inet) of [NetNS.ActivateConntrack].
const AnchorTable = "anchor"

// ActivateConntrack makes the namespace track connections of IPv4 and IPv6. A
// kernel registers the hooks for that only while some rule needs them (since
// 4.11), so a rule with `ct state` is put into a table of its own, in a chain
// that no packet runs through. Removing the table ends it.
func (n *NetNS) ActivateConntrack() error {
	conn, err := nftables.New(nftables.WithNetNSFd(int(n.file.Fd())))
	if err != nil {
		return fmt.Errorf("open nftables in %s: %w", n.Path(), err)
	}
	table := conn.AddTable(&nftables.Table{Name: AnchorTable, Family: nftables.TableFamilyINet})
	chain := conn.AddChain(&nftables.Chain{Name: "conntrack", Table: table})
	conn.AddRule(&nftables.Rule{
		Table: table,
		Chain: chain,
		Exprs: []expr.Any{&expr.Ct{Key: expr.CtKeySTATE, Register: 1}},
	})
	if err := conn.Flush(); err != nil {
		return fmt.Errorf("activate conntrack by a `ct state` rule in table inet %s (needs CONFIG_NFT_CT and CONFIG_NF_TABLES_INET): %w", AnchorTable, err)
	}
	return nil
}

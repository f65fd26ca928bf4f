package netlab

import (
	"fmt"

	"github.com/google/nftables"
	"github.com/google/nftables/expr"
	"golang.org/x/sys/unix"
)

// MasqueradeTable is the nftables table (families ip and ip6) of [NetNS.Masquerade].
const MasqueradeTable = "masquerade"

// Masquerade makes the namespace translate the source address of all that
// leaves through the interface, and the source port to one drawn at random: a
// packet that is taken for a new flow by mistake then shows by its port.
//
// The tables are those of one family each, which older kernels have too (inet
// has nat chains since 5.2). The chain in PREROUTING is for kernels before 4.18,
// which translate replies only where one is registered (nft(8), NAT statements).
func (n *NetNS) Masquerade(link string) error {
	conn, err := nftables.New(nftables.WithNetNSFd(int(n.file.Fd())))
	if err != nil {
		return fmt.Errorf("open nftables in %s: %w", n.Path(), err)
	}
	for _, family := range []nftables.TableFamily{nftables.TableFamilyIPv4, nftables.TableFamilyIPv6} {
		table := conn.AddTable(&nftables.Table{Name: MasqueradeTable, Family: family})
		conn.AddChain(&nftables.Chain{
			Name: "prerouting", Table: table, Type: nftables.ChainTypeNAT,
			Hooknum: nftables.ChainHookPrerouting, Priority: nftables.ChainPriorityNATDest,
		})
		out := conn.AddChain(&nftables.Chain{
			Name: "postrouting", Table: table, Type: nftables.ChainTypeNAT,
			Hooknum: nftables.ChainHookPostrouting, Priority: nftables.ChainPriorityNATSource,
		})
		name := make([]byte, unix.IFNAMSIZ)
		copy(name, link)
		conn.AddRule(&nftables.Rule{Table: table, Chain: out, Exprs: []expr.Any{
			&expr.Meta{Key: expr.MetaKeyOIFNAME, Register: 1},
			&expr.Cmp{Op: expr.CmpOpEq, Register: 1, Data: name},
			&expr.Counter{},
			&expr.Masq{FullyRandom: true},
		}})
	}
	if err := conn.Flush(); err != nil {
		return fmt.Errorf("masquerade what leaves through %s (needs CONFIG_NFT_NAT and CONFIG_NFT_MASQ): %w", link, err)
	}
	return nil
}

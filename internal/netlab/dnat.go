package netlab

import (
	"fmt"
	"net/netip"

	"github.com/google/nftables"
	"github.com/google/nftables/expr"
	"golang.org/x/sys/unix"
)

// DNATTable is the nftables table (family ip or ip6) of [NetNS.RedirectTo].
const DNATTable = "dnat"

// RedirectTo makes the namespace translate the destination address of what goes to one address, whether it comes in or
// is sent here, to another one: of several, one that is drawn at random for each conntrack entry. Ports stay as they
// are. It is for one address of each family.
//
// The chains at the other two hooks are empty, for kernels before 4.18, which translate replies only where one is
// registered (nft(8), NAT statements).
func (n *NetNS) RedirectTo(from netip.Addr, to ...netip.Addr) error {
	conn, err := nftables.New(nftables.WithNetNSFd(int(n.file.Fd())))
	if err != nil {
		return fmt.Errorf("open nftables in %s: %w", n.Path(), err)
	}
	const destination4, destination6 = 16, 24 // offsets in the IP headers
	family, nfproto, offset := nftables.TableFamilyIPv4, uint32(unix.NFPROTO_IPV4), uint32(destination4)
	if from.Is6() {
		family, nfproto, offset = nftables.TableFamilyIPv6, unix.NFPROTO_IPV6, destination6
	}
	table := conn.AddTable(&nftables.Table{Name: DNATTable, Family: family})
	for _, chain := range []struct {
		name       string
		hook       *nftables.ChainHook
		priority   *nftables.ChainPriority
		translates bool
	}{
		{"prerouting", nftables.ChainHookPrerouting, nftables.ChainPriorityNATDest, true},
		{"output", nftables.ChainHookOutput, nftables.ChainPriorityNATDest, true},
		{"input", nftables.ChainHookInput, nftables.ChainPriorityNATSource, false},
		{"postrouting", nftables.ChainHookPostrouting, nftables.ChainPriorityNATSource, false},
	} {
		c := conn.AddChain(&nftables.Chain{
			Name: chain.name, Table: table, Type: nftables.ChainTypeNAT, Hooknum: chain.hook, Priority: chain.priority,
		})
		if !chain.translates {
			continue
		}
		for i, backend := range to {
			rule := []expr.Any{
				&expr.Payload{DestRegister: 1, Base: expr.PayloadBaseNetworkHeader, Offset: offset, Len: uint32(from.BitLen() / 8)},
				&expr.Cmp{Op: expr.CmpOpEq, Register: 1, Data: from.AsSlice()},
			}
			if left := len(to) - i; left > 1 {
				// This one's share of what no rule before has taken.
				rule = append(rule,
					&expr.Numgen{Register: 1, Modulus: uint32(left), Type: unix.NFT_NG_RANDOM},
					&expr.Cmp{Op: expr.CmpOpEq, Register: 1, Data: make([]byte, 4)})
			}
			conn.AddRule(&nftables.Rule{Table: table, Chain: c, Exprs: append(rule,
				&expr.Counter{},
				&expr.Immediate{Register: 1, Data: backend.AsSlice()},
				&expr.NAT{Type: expr.NATTypeDestNAT, Family: nfproto, RegAddrMin: 1, RegAddrMax: 1},
			)})
		}
	}
	if err := conn.Flush(); err != nil {
		return fmt.Errorf("translate destination %s to %v (needs CONFIG_NFT_NAT): %w", from, to, err)
	}
	return nil
}

package ruleset

import (
	"github.com/google/nftables"
	"github.com/google/nftables/expr"
	"golang.org/x/sys/unix"

	"verdictd/internal/packet"
)

// An ipFamily is what IPv4 and IPv6 differ in.
type ipFamily struct {
	name    string
	keyword string // nft's
	number  byte   // NFPROTO
	version byte   // a packet's, and a key's
	address nftables.SetDatatype
	addresses

	// together: one load for both addresses is cheaper than one for each. Loads of
	// 4 bytes and less have a way of their own in the kernel.
	together bool
}

var (
	ipv4 = &ipFamily{"ipv4", "ip", unix.NFPROTO_IPV4, 4, nftables.TypeIPAddr, addressesIPv4, false}
	ipv6 = &ipFamily{"ipv6", "ip6", unix.NFPROTO_IPV6, 6, nftables.TypeIP6Addr, addressesIPv6, true}

	families = []*ipFamily{ipv4, ipv6}
)

// settledName is the name of the family's settled set.
func (f *ipFamily) settledName() string { return "settled-" + f.name }

// keyType is that of the settled set: a UDP flow's addresses and ports as they are
// on the wire.
func (f *ipFamily) keyType() nftables.SetDatatype {
	return nftables.MustConcatSetType(f.address, f.address, nftables.TypeInetService, nftables.TypeInetService)
}

// registers of a key's parts.
func (f *ipFamily) part(i uint32) uint32 {
	if i < 2 {
		return register + i*f.length/8
	}
	return register + f.length/4 + i - 2
}

// load loads a packet's key. For what has no ports, as fragments, the rule ends.
func (f *ipFamily) load() []expr.Any {
	if !f.together {
		return f.loadParts(0, 1)
	}
	return []expr.Any{
		&expr.Payload{Base: expr.PayloadBaseNetworkHeader, Offset: f.offset, Len: f.length, DestRegister: register},
		portInto(sourcePort, f.part(2)),
		portInto(destinationPort, f.part(3)),
	}
}

// loadReverse loads the key of the packet's answer.
func (f *ipFamily) loadReverse() []expr.Any { return f.loadParts(1, 0) }

// loadParts loads each part alone; source and destination are where they go.
func (f *ipFamily) loadParts(source, destination uint32) []expr.Any {
	half := f.length / 2
	return []expr.Any{
		&expr.Payload{Base: expr.PayloadBaseNetworkHeader, Offset: f.offset, Len: half, DestRegister: f.part(source)},
		&expr.Payload{Base: expr.PayloadBaseNetworkHeader, Offset: f.offset + half, Len: half, DestRegister: f.part(destination)},
		portInto(sourcePort, f.part(2+source)),
		portInto(destinationPort, f.part(2+destination)),
	}
}

func portInto(offset, into uint32) expr.Any {
	return &expr.Payload{Base: expr.PayloadBaseTransportHeader, Offset: offset, Len: portLength, DestRegister: into}
}

// element is the set's key for a flow's packets in the direction of k, or in the
// other. Behind each port are two bytes, as a register has four.
func (f *ipFamily) element(k *packet.Key, reverse bool) []byte {
	size := int(f.length / 2)
	source, destination := k[4:4+size], k[20:20+size]
	sport, dport := k[36:38], k[38:40]
	if reverse {
		source, destination, sport, dport = destination, source, dport, sport
	}
	key := make([]byte, 0, 40)
	key = append(append(key, source...), destination...)
	key = append(append(key, sport...), 0, 0)
	return append(append(key, dport...), 0, 0)
}

package ruleset

import (
	"encoding/binary"

	"github.com/google/nftables"
	"github.com/google/nftables/binaryutil"
	"github.com/google/nftables/expr"
	"golang.org/x/sys/unix"
)

// register is the register that matches use; wider values occupy those after
// it, 4 bytes each.
const register = unix.NFT_REG32_00

// Bits of an entry's status (enum ip_conntrack_status).
const (
	statusConfirmed = 1 << 3
	statusTemplate  = 1 << 11
)

// States of a packet (enum nft_ct_state's bits): without anything of conntrack's,
// which before its lookup is what most packets are, and not to be tracked.
const (
	stateInvalid   = 1 << 0
	stateUntracked = 1 << 6
)

// entryStatus matches packets with a conntrack entry whose status has one of the
// bits, or (cmp is CmpOpEq) none. Without an entry a packet never matches.
func entryStatus(cmp expr.CmpOp, bits uint32) []expr.Any {
	return []expr.Any{
		&expr.Ct{Key: expr.CtKeySTATUS, Register: register},
		&expr.Bitwise{
			SourceRegister: register,
			DestRegister:   register,
			Len:            4,
			Mask:           binaryutil.NativeEndian.PutUint32(bits),
			Xor:            make([]byte, 4),
		},
		&expr.Cmp{Op: cmp, Register: register, Data: make([]byte, 4)},
	}
}

// loopbackIndex is that of lo in every namespace (LOOPBACK_IFINDEX). Numbers are
// compared faster than names.
const loopbackIndex = 1

// fromLoopback matches packets that came in through the loopback interface.
func fromLoopback() []expr.Any {
	return []expr.Any{
		&expr.Meta{Key: expr.MetaKeyIIF, Register: register},
		&expr.Cmp{Op: expr.CmpOpEq, Register: register, Data: binaryutil.NativeEndian.PutUint32(loopbackIndex)},
	}
}

// comesTracked matches, before conntrack's lookup, packets that come with anything of
// conntrack's.
func comesTracked() []expr.Any {
	return []expr.Any{
		&expr.Ct{Key: expr.CtKeySTATE, Register: register},
		&expr.Cmp{Op: expr.CmpOpNeq, Register: register, Data: binaryutil.NativeEndian.PutUint32(stateInvalid)},
	}
}

// stateIs matches packets in a state.
func stateIs(state uint32) []expr.Any {
	return []expr.Any{
		&expr.Ct{Key: expr.CtKeySTATE, Register: register},
		&expr.Cmp{Op: expr.CmpOpEq, Register: register, Data: binaryutil.NativeEndian.PutUint32(state)},
	}
}

// zone compares the zone of a packet's entry or template. Without any a packet
// never matches.
func zone(op expr.CmpOp, id uint16) []expr.Any {
	return []expr.Any{
		&expr.Ct{Key: expr.CtKeyZONE, Register: register},
		&expr.Cmp{Op: op, Register: register, Data: binaryutil.NativeEndian.PutUint16(id)},
	}
}

// everyNth matches one packet in n.
func everyNth(n uint16) []expr.Any {
	return []expr.Any{turn(n), &expr.Cmp{Op: expr.CmpOpEq, Register: register, Data: make([]byte, 4)}}
}

// isProtocol compares the protocol behind IPv6's extension headers.
func isProtocol(op expr.CmpOp, protocol uint8) []expr.Any {
	return []expr.Any{
		&expr.Meta{Key: expr.MetaKeyL4PROTO, Register: register},
		&expr.Cmp{Op: op, Register: register, Data: []byte{protocol}},
	}
}

// isUDP matches UDP of one family.
func isUDP(f *ipFamily) []expr.Any {
	return append(isFamily(f.number), isProtocol(expr.CmpOpEq, unix.IPPROTO_UDP)...)
}

// isFamily matches one address family.
func isFamily(protocol byte) []expr.Any {
	return []expr.Any{
		&expr.Meta{Key: expr.MetaKeyNFPROTO, Register: register},
		&expr.Cmp{Op: expr.CmpOpEq, Register: register, Data: []byte{protocol}},
	}
}

// protocolIn matches packets by their protocol behind IPv6's extension headers.
func protocolIn(set *nftables.Set, invert bool) []expr.Any {
	return []expr.Any{
		&expr.Meta{Key: expr.MetaKeyL4PROTO, Register: register},
		lookup(set, invert),
	}
}

// Offsets of the ports in the headers of portProtocols.
const (
	sourcePort      = 0
	destinationPort = 2
	portLength      = 2
	portsLength     = 2 * portLength
)

// portIn matches the port at an offset of the transport header.
func portIn(set *nftables.Set, offset uint32) []expr.Any {
	return []expr.Any{
		portInto(offset, register),
		lookup(set, false),
	}
}

func lookup(set *nftables.Set, invert bool) expr.Any {
	return &expr.Lookup{SourceRegister: register, SetName: set.Name, SetID: set.ID, Invert: invert}
}

// addresses is where the two addresses are in a family's header.
type addresses struct{ offset, length uint32 }

var (
	addressesIPv4 = addresses{12, 2 * 4}
	addressesIPv6 = addresses{8, 2 * 16}
)

// loadFlow loads both addresses and both ports. For a fragment but the first
// the rule ends here: it has no ports.
func loadFlow(a addresses) []expr.Any {
	return []expr.Any{
		&expr.Payload{Base: expr.PayloadBaseNetworkHeader, Offset: a.offset, Len: a.length, DestRegister: register},
		&expr.Payload{Base: expr.PayloadBaseTransportHeader, Offset: sourcePort, Len: portsLength, DestRegister: register + a.length/4},
	}
}

// hashFlow hashes what loadFlow loaded to a number below n, with a seed that the
// kernel draws.
func hashFlow(a addresses, n uint16) expr.Any {
	return &expr.Hash{
		SourceRegister: register,
		DestRegister:   register,
		Length:         a.length + portsLength,
		Modulus:        uint32(n),
		Type:           expr.HashTypeJenkins,
	}
}

// turn counts the packets modulo n.
func turn(n uint16) expr.Any {
	return &expr.Numgen{Register: register, Modulus: uint32(n), Type: unix.NFT_NG_INCREMENTAL}
}

// goByNumber continues in the chain that a map has for the number loaded.
func goByNumber(m *nftables.Set) expr.Any {
	return &expr.Lookup{
		SourceRegister: register,
		DestRegister:   unix.NFT_REG_VERDICT,
		IsDestRegSet:   true,
		SetName:        m.Name,
		SetID:          m.ID,
	}
}

func ports(list []uint16) []nftables.SetElement {
	elements := make([]nftables.SetElement, len(list))
	for i, p := range list {
		elements[i].Key = binary.BigEndian.AppendUint16(nil, p)
	}
	return elements
}

func protocols(list []uint8) []nftables.SetElement {
	elements := make([]nftables.SetElement, len(list))
	for i, p := range list {
		elements[i].Key = []byte{p}
	}
	return elements
}

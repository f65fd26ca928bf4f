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

// hasMark matches packets whose mark has one of the bits.
func hasMark(bits uint32) []expr.Any {
	return []expr.Any{
		&expr.Meta{Key: expr.MetaKeyMARK, Register: register},
		&expr.Bitwise{
			SourceRegister: register,
			DestRegister:   register,
			Len:            4,
			Mask:           binaryutil.NativeEndian.PutUint32(bits),
			Xor:            make([]byte, 4),
		},
		&expr.Cmp{Op: expr.CmpOpNeq, Register: register, Data: make([]byte, 4)},
	}
}

// Bits of an entry's status (enum ip_conntrack_status).
const (
	statusConfirmed = 1 << 3
	statusDstNAT    = 1 << 5
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

// fromLoopback matches packets that came in through the loopback interface.
func fromLoopback() []expr.Any {
	name := make([]byte, unix.IFNAMSIZ)
	copy(name, "lo")
	return []expr.Any{
		&expr.Meta{Key: expr.MetaKeyIIFNAME, Register: register},
		&expr.Cmp{Op: expr.CmpOpEq, Register: register, Data: name},
	}
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
		&expr.Payload{Base: expr.PayloadBaseTransportHeader, Offset: offset, Len: portLength, DestRegister: register},
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

// hashFlow hashes what loadFlow loaded to a number below n. The kernel draws a
// seed instead of 0.
func hashFlow(a addresses, n uint16, seed uint32) expr.Any {
	return &expr.Hash{
		SourceRegister: register,
		DestRegister:   register,
		Length:         a.length + portsLength,
		Modulus:        uint32(n),
		Seed:           seed,
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

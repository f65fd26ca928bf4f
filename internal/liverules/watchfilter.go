package liverules

import (
	"encoding/binary"

	"golang.org/x/net/bpf"
)

// filteredMessages is how many messages of a datagram the filter looks at; a datagram with more is received. There
// is room in one for 28 flows that are listed as settled (NLMSG_GOODSIZE). A filter for more than 63 would be too
// large for kernels on which net.core.optmem_max is 20,480 bytes, as it long was.
const filteredMessages = 40

// withoutElements is a filter by which the kernel keeps datagrams from the socket that have elements of sets and
// nothing else. A transaction is announced object by object, many in a datagram, and elements may be millions. Where
// chains are behind them the datagram is received.
func withoutElements() ([]bpf.RawInstruction, error) {
	const all = 0xffffffff
	low, high := uint32(0), uint32(1) // bytes of nlmsghdr.nlmsg_len, which has no more of them here
	if networkOrder(1) == 1 {
		low, high = 3, 2
	}
	program := []bpf.Instruction{bpf.LoadConstant{Dst: bpf.RegX}}
	for range filteredMessages {
		program = append(program,
			// nlmsghdr.nlmsg_type; at the datagram's end, where there is none, the filter returns 0
			bpf.LoadIndirect{Off: 4, Size: 2},
			bpf.JumpIf{Cond: bpf.JumpEqual, Val: networkOrder(newElement), SkipTrue: 2},
			bpf.JumpIf{Cond: bpf.JumpEqual, Val: networkOrder(deleteElement), SkipTrue: 1},
			bpf.RetConstant{Val: all},
			// the next one, which is aligned (NLMSG_ALIGN)
			bpf.LoadIndirect{Off: high, Size: 1}, bpf.ALUOpConstant{Op: bpf.ALUOpShiftLeft, Val: 8}, bpf.StoreScratch{Src: bpf.RegA},
			bpf.LoadIndirect{Off: low, Size: 1},
			bpf.StoreScratch{Src: bpf.RegX, N: 1}, bpf.LoadScratch{Dst: bpf.RegX}, bpf.ALUOpX{Op: bpf.ALUOpAdd},
			bpf.ALUOpConstant{Op: bpf.ALUOpAdd, Val: 3}, bpf.ALUOpConstant{Op: bpf.ALUOpAnd, Val: ^uint32(3)},
			bpf.LoadScratch{Dst: bpf.RegX, N: 1}, bpf.ALUOpX{Op: bpf.ALUOpAdd}, bpf.TAX{},
		)
	}
	return bpf.Assemble(append(program, bpf.RetConstant{Val: all}))
}

// networkOrder is how a filter sees a number of 16 bits that the kernel wrote.
func networkOrder(n uint16) uint32 {
	var b [2]byte
	binary.NativeEndian.PutUint16(b[:], n)
	return uint32(binary.BigEndian.Uint16(b[:]))
}

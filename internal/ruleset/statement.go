package ruleset

import (
	"encoding/binary"
	"fmt"

	"github.com/google/nftables/expr"
	"github.com/google/nftables/xt"
)

// Kind is which queue statement a kernel has.
type Kind string

// The kinds, the one preferred where both exist first.
const (
	KindNative Kind = "native" // nftables' queue expression
	KindXT     Kind = "xt"     // xtables' NFQUEUE target through nft_compat
)

// queueRange is what a queue statement says, whichever kind it is.
type queueRange struct {
	first, total uint16

	// bypass lets packets pass while nobody listens.
	bypass bool

	// cpu picks the queue by CPU number instead of by a hash of the addresses.
	cpu bool
}

// The NFQUEUE target, revision 3, and its struct xt_NFQ_info_v3 (since 3.10,
// 8746ddcf12bb): queuenum, queues_total, flags, each 16 bits in host order,
// rounded up to XT_ALIGN's 8 bytes. The flags (NFQ_FLAG_BYPASS,
// NFQ_FLAG_CPU_FANOUT) have the values that the queue expression's have.
const (
	targetName     = "NFQUEUE"
	targetRevision = 3
	targetSize     = 8
)

// queueStatement renders a range for the kind of statement that the kernel has.
func queueStatement(kind Kind, q queueRange) expr.Any {
	var flags expr.QueueFlag
	if q.bypass {
		flags |= expr.QueueFlagBypass
	}
	if q.cpu {
		flags |= expr.QueueFlagFanout
	}
	if kind == KindNative {
		return &expr.Queue{Num: q.first, Total: q.total, Flag: flags}
	}
	info := make(xt.Unknown, targetSize)
	binary.NativeEndian.PutUint16(info[0:], q.first)
	binary.NativeEndian.PutUint16(info[2:], q.total)
	binary.NativeEndian.PutUint16(info[4:], uint16(flags))
	return &expr.Target{Name: targetName, Rev: targetRevision, Info: &info}
}

// parseQueueStatement is queueStatement's inverse. It is false for an
// expression that is no queue statement of ours.
func parseQueueStatement(e expr.Any) (Kind, queueRange, bool) {
	var kind Kind
	var q queueRange
	var flags expr.QueueFlag
	switch e := e.(type) {
	case *expr.Queue:
		kind, q.first, q.total, flags = KindNative, e.Num, e.Total, e.Flag
	case *expr.Target:
		info, ok := e.Info.(*xt.Unknown)
		if !ok || e.Name != targetName || e.Rev != targetRevision || len(*info) < targetSize {
			return "", queueRange{}, false
		}
		kind = KindXT
		q.first = binary.NativeEndian.Uint16((*info)[0:])
		q.total = binary.NativeEndian.Uint16((*info)[2:])
		flags = expr.QueueFlag(binary.NativeEndian.Uint16((*info)[4:]))
	default:
		return "", queueRange{}, false
	}
	q.bypass = flags&expr.QueueFlagBypass != 0
	q.cpu = flags&expr.QueueFlagFanout != 0
	return kind, q, true
}

// String is nft's notation.
func (q queueRange) String() string {
	flags := ""
	if q.bypass {
		flags = "flags bypass "
	}
	if q.cpu {
		flags = "flags fanout "
		if q.bypass {
			flags = "flags bypass,fanout "
		}
	}
	if q.total <= 1 {
		return fmt.Sprintf("queue %sto %d", flags, q.first)
	}
	return fmt.Sprintf("queue %sto %d-%d", flags, q.first, int(q.first)+int(q.total)-1)
}

package vocabulary

import (
	"cmp"
	"fmt"
	"slices"
)

// PortRange has the ports from First to Last, both included.
type PortRange struct {
	First uint16 `json:"first"`
	Last  uint16 `json:"last"`
}

// String is nft's notation.
func (r PortRange) String() string {
	if r.First == r.Last {
		return fmt.Sprint(r.First)
	}
	return fmt.Sprintf("%d-%d", r.First, r.Last)
}

// MergePorts sorts ranges and joins those that touch.
func MergePorts(ranges []PortRange) []PortRange {
	merged := []PortRange{}
	sorted := slices.SortedFunc(slices.Values(ranges), func(a, b PortRange) int {
		return cmp.Or(cmp.Compare(a.First, b.First), cmp.Compare(a.Last, b.Last))
	})
	for _, r := range sorted {
		if n := len(merged); n > 0 && int(r.First) <= int(merged[n-1].Last)+1 {
			merged[n-1].Last = max(merged[n-1].Last, r.Last)
			continue
		}
		merged = append(merged, r)
	}
	return merged
}

// Ports are those from first to last.
func Ports(first, last uint16) PortRange { return PortRange{First: first, Last: last} }

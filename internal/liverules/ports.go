package liverules

import (
	"cmp"
	"fmt"
	"slices"
)

// PortRange has the ports from First to Last.
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

// portSet is ranges as MergePorts leaves them; nil stands for no limit at all.
type portSet []PortRange

// and has the ports of both.
func (s portSet) and(other portSet) portSet {
	if s == nil {
		return other
	}
	if other == nil {
		return s
	}
	both := portSet{}
	for _, a := range s {
		for _, b := range other {
			if first, last := max(a.First, b.First), min(a.Last, b.Last); first <= last {
				both = append(both, PortRange{first, last})
			}
		}
	}
	return both
}

// complement has all other ports; of no limit there is none.
func (s portSet) complement() portSet {
	if s == nil {
		return nil
	}
	others := portSet{}
	next := 0
	for _, r := range s {
		if next < int(r.First) {
			others = append(others, PortRange{uint16(next), r.First - 1})
		}
		next = int(r.Last) + 1
	}
	if next <= 0xffff {
		others = append(others, PortRange{uint16(next), 0xffff})
	}
	return others
}

func (s portSet) count() (n int) {
	for _, r := range s {
		n += int(r.Last) - int(r.First) + 1
	}
	return n
}

package liverules

import (
	"verdictd/internal/vocabulary"
)

// portSet is ranges as vocabulary.MergePorts leaves them; nil stands for no limit at all.
type portSet []vocabulary.PortRange

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
				both = append(both, vocabulary.Ports(first, last))
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
			others = append(others, vocabulary.Ports(uint16(next), r.First-1))
		}
		next = int(r.Last) + 1
	}
	if next <= 0xffff {
		others = append(others, vocabulary.Ports(uint16(next), 0xffff))
	}
	return others
}

func (s portSet) count() (n int) {
	for _, r := range s {
		n += int(r.Last) - int(r.First) + 1
	}
	return n
}

package sets

import (
	"net/netip"
	"time"

	"github.com/gaissmai/bart"

	"verdictd/internal/vocabulary"
)

// Info is about a set.
type Info struct {
	// Entries, each once. Ports count by lines.
	Entries int
	// Loaded is when the set was built.
	Loaded time.Time
}

// Prefixes is a set of IPv4 and IPv6 prefixes.
type Prefixes struct {
	Info
	table *bart.Lite
}

// Contains reports whether a prefix has the address.
func (s *Prefixes) Contains(a netip.Addr) bool { return s.table.Contains(a) }

// Find returns the longest prefix that has the address.
func (s *Prefixes) Find(a netip.Addr) (p netip.Prefix, ok bool) {
	return s.table.LookupPrefixLPM(netip.PrefixFrom(a, a.BitLen()))
}

// PrefixesBuilder makes Prefixes. It is made by NewPrefixes.
type PrefixesBuilder struct{ table *bart.Lite }

// NewPrefixes begins a set.
func NewPrefixes() *PrefixesBuilder { return &PrefixesBuilder{table: new(bart.Lite)} }

// Add takes a prefix, or an address for itself.
func (b *PrefixesBuilder) Add(entry []byte) error {
	p, err := vocabulary.ParsePrefix(entry)
	if err != nil {
		return err
	}
	b.table.Insert(p)
	return nil
}

// Len is how many prefixes there are.
func (b *PrefixesBuilder) Len() int { return b.table.Size() }

// Build ends the work on the set.
func (b *PrefixesBuilder) Build(now time.Time) *Prefixes {
	s := &Prefixes{Info: Info{Entries: b.Len(), Loaded: now}, table: b.table}
	b.table = nil
	return s
}

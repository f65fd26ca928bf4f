package sets

import (
	"errors"
	"fmt"
	"net/netip"
	"time"

	"github.com/gaissmai/bart"
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

// PrefixesBuilder makes Prefixes. It is made by NewPrefixes.
type PrefixesBuilder struct{ table *bart.Lite }

// NewPrefixes begins a set.
func NewPrefixes() *PrefixesBuilder { return &PrefixesBuilder{table: new(bart.Lite)} }

// Add takes a prefix, or an address for itself.
func (b *PrefixesBuilder) Add(entry []byte) error {
	text := string(entry)
	p, err := netip.ParsePrefix(text)
	if err != nil {
		a, errAddr := netip.ParseAddr(text)
		if errAddr != nil {
			return errors.New(`is no prefix: write it like "192.0.2.0/24", "2001:db8::/32" or "192.0.2.1"`)
		}
		if a.Zone() != "" {
			return errors.New("has a zone, which a packet does not show")
		}
		p = netip.PrefixFrom(a, a.BitLen())
	}
	switch {
	case p.Addr().Is4In6():
		return errors.New("is an IPv4 address inside of IPv6, which no packet has: write it as IPv4")
	case p.Masked() != p:
		return fmt.Errorf("has bits set beyond its length: write %s or %s", p.Masked(), netip.PrefixFrom(p.Addr(), p.Addr().BitLen()))
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

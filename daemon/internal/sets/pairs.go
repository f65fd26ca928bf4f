package sets

import (
	"encoding/binary"
	"net/netip"
	"time"

	"verdictd/internal/vocabulary"
)

// Pairs is a set of addresses, each with a port.
type Pairs struct {
	Info
	// Keys without pointers: the garbage collector does not look into such maps.
	v4 map[uint64]struct{}
	v6 map[[18]byte]struct{}
}

// Contains reports whether the pair is in the set.
func (s *Pairs) Contains(a netip.Addr, port uint16) bool {
	if a.Is4() {
		_, ok := s.v4[pair4(a, port)]
		return ok
	}
	_, ok := s.v6[pair6(a, port)]
	return ok
}

func pair4(a netip.Addr, port uint16) uint64 {
	b := a.As4()
	return uint64(binary.BigEndian.Uint32(b[:]))<<16 | uint64(port)
}

func pair6(a netip.Addr, port uint16) (key [18]byte) {
	b := a.As16()
	binary.BigEndian.PutUint16(key[copy(key[:], b[:]):], port)
	return key
}

// PairsBuilder makes Pairs. It is made by NewPairs.
type PairsBuilder struct{ set *Pairs }

// NewPairs begins a set.
func NewPairs() *PairsBuilder {
	return &PairsBuilder{set: &Pairs{v4: map[uint64]struct{}{}, v6: map[[18]byte]struct{}{}}}
}

// Add takes a pair.
func (b *PairsBuilder) Add(entry []byte) error {
	p, err := vocabulary.ParsePair(entry)
	switch {
	case err != nil:
		return err
	case p.Addr().Is4():
		b.set.v4[pair4(p.Addr(), p.Port())] = struct{}{}
	default:
		b.set.v6[pair6(p.Addr(), p.Port())] = struct{}{}
	}
	return nil
}

// Len is how many pairs there are.
func (b *PairsBuilder) Len() int { return len(b.set.v4) + len(b.set.v6) }

// Build ends the work on the set.
func (b *PairsBuilder) Build(now time.Time) *Pairs {
	s := b.set
	s.Info, b.set = Info{Entries: b.Len(), Loaded: now}, nil
	return s
}

package sets

import (
	"time"

	"verdictd/internal/vocabulary"
)

// Ports is a set of ports.
type Ports struct {
	Info
	bits [1 << 16 / 64]uint64
}

// Contains reports whether the port is in the set.
func (s *Ports) Contains(port uint16) bool { return s.bits[port/64]&(1<<(port%64)) != 0 }

// PortsBuilder makes Ports. It is made by NewPorts.
type PortsBuilder struct{ set *Ports }

// NewPorts begins a set.
func NewPorts() *PortsBuilder { return &PortsBuilder{set: new(Ports)} }

// Add takes a port or a range of them.
func (b *PortsBuilder) Add(entry []byte) error {
	r, err := vocabulary.ParsePorts(entry)
	if err != nil {
		return err
	}
	for port := int(r.First); port <= int(r.Last); port++ {
		b.set.bits[port/64] |= 1 << (port % 64)
	}
	b.set.Entries++
	return nil
}

// Len is how many ports and ranges were added.
func (b *PortsBuilder) Len() int { return b.set.Entries }

// Build ends the work on the set.
func (b *PortsBuilder) Build(now time.Time) *Ports {
	s := b.set
	s.Loaded, b.set = now, nil
	return s
}

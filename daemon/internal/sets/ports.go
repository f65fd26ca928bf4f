package sets

import (
	"bytes"
	"errors"
	"fmt"
	"strconv"
	"time"
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
	first, last, isRange := bytes.Cut(entry, []byte("-"))
	if !isRange {
		last = first
	}
	from, errFrom := strconv.ParseUint(string(first), 10, 16)
	to, errTo := strconv.ParseUint(string(last), 10, 16)
	if errFrom != nil || errTo != nil {
		return errors.New(`is no port from 0 to 65535 and no range of them: write it like "53" or "1000-2000"`)
	}
	if from > to {
		return fmt.Errorf("begins above its end: write %d-%d", to, from)
	}
	for port := from; port <= to; port++ {
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

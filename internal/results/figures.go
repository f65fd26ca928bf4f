package results

import (
	"verdictd/internal/ct"
	"verdictd/internal/traffic"
	"verdictd/internal/traffic/dns"
)

// Figures are what the scenarios write behind the header, by their names: pointers to zero values.
func Figures() map[string]any {
	return map[string]any{
		"clash":    &Clash{},
		"udpclash": &UDPClash{},
		"dns":      &dns.Result{},
		"flood":    &Flood{},
		"soak":     &traffic.SoakResult{},
		"modload":  &Modload{},
		"procnet":  &Procnet{},
	}
}

// Clash is what `stress clash` writes.
type Clash struct {
	traffic.ClashResult
	Way
	ClashTarget uint64 `json:"clash_target"` // what --clashes asked for
	Conntrack
}

// UDPClash is what `stress clash --udpclash` writes.
type UDPClash struct {
	traffic.UDPClashResult
	Way
	ClashTarget uint64 `json:"clash_target"` // what --clashes asked for
	Conntrack
}

// Flood is what `stress flood` writes.
type Flood struct {
	traffic.FloodResult
	Way
	Conntrack
}

// Way is what the packets went through.
type Way struct {
	Topology string `json:"topology"` // empty: namespaces that were there before
	NAT      string `json:"nat"`
}

// Conntrack is what conntrack counted during a run, in all namespaces that its packets ran through. A counter that the
// kernel does not have is null, and all are where conntrack cannot be read.
type Conntrack struct {
	// Clashes is resolved and unresolved clashes, as far as this kernel's counters tell: see ClashesCount.
	Clashes *uint64 `json:"clashes"`
	// ClashesPerPacket is Clashes by the packets that were sent.
	ClashesPerPacket *float64 `json:"clashes_per_packet"`
	// ClashesCount says what Clashes counts on this kernel, and what it misses.
	ClashesCount string  `json:"clashes_count"`
	ClashResolve *uint64 `json:"clash_resolve"`
	InsertFailed *uint64 `json:"insert_failed"`
	Drop         *uint64 `json:"drop"`
	ChainTooLong *uint64 `json:"chain_toolong"`
	// ConntrackUnread is why the counters could not be read; empty if they were.
	ConntrackUnread string `json:"conntrack_unread"`
	// Untracked is why nothing could clash, with what to do about it; left out where something could, or may have.
	Untracked string `json:"untracked,omitempty"`
}

// Take takes over what conntrack counted while so many packets were sent.
func (c *Conntrack) Take(counted ct.Counters, packets uint64) {
	c.ClashResolve, c.InsertFailed = counted[ct.ClashResolve].Pointer(), counted[ct.InsertFailed].Pointer()
	c.Drop, c.ChainTooLong = counted[ct.Drop].Pointer(), counted[ct.ChainTooLong].Pointer()
	c.Clashes = counted.Clashes().Pointer()
	if c.Clashes != nil && packets > 0 {
		c.ClashesPerPacket = new(float64(*c.Clashes) / float64(packets))
	}
}

package policy

import (
	"fmt"
	"net/netip"

	"verdictd/daemon/internal/policy/limit"
)

// What a limit has where nobody says.
const (
	defaultIPv4    = 32
	defaultIPv6    = 64
	defaultEntries = 65536
)

// limits makes the rule's, or takes them over.
func (r *rule) limits(previous map[string]*rule) (err error) {
	l := &r.Limit
	if *l == (Limit{}) {
		return nil
	}
	l.fill()
	if old := previous[r.Name]; old != nil && old.Limit == *l {
		delete(previous, r.Name) // of one rule alone
		r.limit = old.limit
		return nil
	}
	keys := l.Entries
	if l.Per == PerRule {
		keys = 0
	}
	if r.limit, err = limit.New(limit.Rate{Count: l.Count, Interval: l.Interval, Burst: l.Burst}, keys); err != nil {
		return fmt.Errorf("limit: %w", err)
	}
	return nil
}

func (l *Limit) fill() {
	for _, d := range []struct {
		field *int
		value int
	}{{&l.IPv4, defaultIPv4}, {&l.IPv6, defaultIPv6}, {&l.Entries, defaultEntries}} {
		if *d.field == 0 {
			*d.field = d.value
		}
	}
	if l.Burst == 0 {
		l.Burst = l.Count
	}
}

// take asks a limit, or only what it would say. A limit that is none says yes.
func (d *Decider) take(l *limit.Limit, key []byte) bool {
	switch {
	case l == nil:
		return true
	case d.peek:
		return l.Left(key, d.in.Now)
	}
	return l.Take(key, d.in.Now)
}

// limitKey is what a rule's limit counts the packet for.
func (d *Decider) limitKey(r *rule) []byte {
	key := d.key[:0]
	switch r.Limit.Per {
	case PerSource:
		key = appendCut(key, d.src, &r.Limit)
	case PerDestination:
		key = appendCut(key, d.dst, &r.Limit)
	case PerEntry:
		key = r.match.entries(d, key)
	}
	d.key = key
	return key
}

// appendCut appends an address without its last bits.
func appendCut(dst []byte, a netip.Addr, l *Limit) []byte {
	bits := l.IPv6
	if a.Is4() {
		bits = l.IPv4
	}
	p, err := a.Prefix(bits)
	if err != nil { // more bits than there are
		p = netip.PrefixFrom(a, a.BitLen())
	}
	bytes := p.Addr().As16()
	return append(append(dst, byte(a.BitLen())), bytes[:]...)
}

// Shared is how often a source, destination or entry had to share its bucket with another
// of a rule's limit, by the rule's number.
func (p *Policy) Shared(rule int) uint64 {
	if l := p.rules[rule].limit; l != nil {
		return l.Shared()
	}
	return 0
}

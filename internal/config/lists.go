package config

import (
	"net/netip"

	"verdictd/internal/vocabulary"
)

// Ranges are the ports of a list, and the names of its sets.
func Ranges(list []Ports) (ranges []vocabulary.PortRange, sets []string) {
	for _, p := range list {
		if p.Set != "" {
			sets = append(sets, p.Set)
			continue
		}
		ranges = append(ranges, p.PortRange)
	}
	return ranges, sets
}

// Prefixes are those of a list, and the names of its sets.
func Prefixes(list []Prefix) (prefixes []netip.Prefix, sets []string) {
	for _, p := range list {
		if p.Set != "" {
			sets = append(sets, p.Set)
			continue
		}
		prefixes = append(prefixes, p.Prefix)
	}
	return prefixes, sets
}

// Pairs are those of a list, and the names of its sets.
func Pairs(list []Pair) (pairs []netip.AddrPort, sets []string) {
	for _, p := range list {
		if p.Set != "" {
			sets = append(sets, p.Set)
			continue
		}
		pairs = append(pairs, p.AddrPort)
	}
	return pairs, sets
}

// Texts are the names of a list, in the form that vocabulary.ParseName takes, and the names of its sets.
func Texts(list []Name) (names, sets []string) {
	for _, n := range list {
		if n.Set != "" {
			sets = append(sets, n.Set)
			continue
		}
		names = append(names, n.Text)
	}
	return names, sets
}

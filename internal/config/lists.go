package config

import (
	"net/netip"

	"verdictd/internal/vocabulary"
)

// Ranges are the ports of a list, and the names of its sets.
func Ranges(list []Ports) (ranges []vocabulary.PortRange, sets []string) {
	return apart(list, func(p Ports) (vocabulary.PortRange, string) { return p.PortRange, p.Set })
}

// Prefixes are those of a list, and the names of its sets.
func Prefixes(list []Prefix) (prefixes []netip.Prefix, sets []string) {
	return apart(list, func(p Prefix) (netip.Prefix, string) { return p.Prefix, p.Set })
}

// Pairs are those of a list, and the names of its sets.
func Pairs(list []Pair) (pairs []netip.AddrPort, sets []string) {
	return apart(list, func(p Pair) (netip.AddrPort, string) { return p.AddrPort, p.Set })
}

// Texts are the names of a list, in the form that vocabulary.ParseName takes, and the names of its sets.
func Texts(list []Name) (names, sets []string) {
	return apart(list, func(n Name) (string, string) { return n.Text, n.Set })
}

// apart takes the names of sets out of a list.
func apart[E, V any](list []E, of func(E) (value V, set string)) (values []V, sets []string) {
	for _, e := range list {
		if value, set := of(e); set != "" {
			sets = append(sets, set)
		} else {
			values = append(values, value)
		}
	}
	return values, sets
}

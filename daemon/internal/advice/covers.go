package advice

import (
	"bytes"
	"reflect"
	"slices"
	"strings"

	"verdictd/internal/config"
	"verdictd/internal/vocabulary"
)

// covers reports whether each packet that b matches is one that a matches. False: it may be so, or not.
func covers(a, b *config.Match) bool {
	if coversAlone(a, b) {
		return true
	}
	// All of b's parts have to match, so that one that is covered is enough.
	return slices.ContainsFunc(b.All, func(part config.Match) bool { return covers(a, &part) })
}

func coversAlone(a, b *config.Match) bool {
	return within(a.Family, b.Family, equal) && within(a.Protocols, b.Protocols, equal) &&
		within(a.Source, b.Source, coversPrefix) && within(a.Destination, b.Destination, coversPrefix) &&
		withinPorts(a.SourcePorts, b.SourcePorts) && withinPorts(a.DestinationPorts, b.DestinationPorts) &&
		within(a.SourcePairs, b.SourcePairs, equal) && within(a.DestinationPairs, b.DestinationPairs, equal) &&
		within(a.InterfaceIn, b.InterfaceIn, coversInterface) && within(a.InterfaceOut, b.InterfaceOut, coversInterface) &&
		within(a.Hooks, b.Hooks, equal) && within(a.Mark, b.Mark, coversMark) && within(a.ConnMark, b.ConnMark, coversMark) &&
		within(a.Length, b.Length, coversRange) && within(a.TTL, b.TTL, coversRange) && within(a.DSCP, b.DSCP, equal) &&
		within(a.Fragment, b.Fragment, equal) && within(a.UID, b.UID, coversRange) && within(a.GID, b.GID, coversRange) &&
		within(a.Conntrack, b.Conntrack, equal) && within(a.NameState, b.NameState, equal) &&
		coversNamed(a, b) && coversContent(a, b)
}

// coversContent is about what is only ever equal.
func coversContent(a, b *config.Match) bool {
	return (a.Time == nil || reflect.DeepEqual(a.Time, b.Time)) &&
		(len(a.Payload) == 0 || reflect.DeepEqual(a.Payload, b.Payload)) &&
		(a.Regexp == "" || a.Regexp == b.Regexp) &&
		(a.Not == nil || reflect.DeepEqual(a.Not, b.Not)) &&
		(len(a.Any) == 0 || reflect.DeepEqual(a.Any, b.Any) || slices.ContainsFunc(a.Any, func(part config.Match) bool { return covers(&part, b) })) &&
		!slices.ContainsFunc(a.All, func(part config.Match) bool { return !covers(&part, b) })
}

// within reports whether each entry of b is covered by one of a; a list that is not there is everything.
func within[T any](a, b []T, covers func(a, b T) bool) bool {
	if len(a) == 0 {
		return true
	}
	return len(b) > 0 && !slices.ContainsFunc(b, func(entry T) bool {
		return !slices.ContainsFunc(a, func(by T) bool { return covers(by, entry) })
	})
}

func equal[T comparable](a, b T) bool { return a == b }

func coversPrefix(a, b config.Prefix) bool {
	if a.Set != "" || b.Set != "" {
		return a.Set == b.Set
	}
	return a.Bits() <= b.Bits() && a.Contains(b.Addr())
}

func withinPorts(a, b []config.Ports) bool {
	ranges, _ := config.Ranges(a)
	ranges = vocabulary.MergePorts(ranges)
	for _, r := range ranges {
		a = append(slices.Clip(a), config.Ports{PortRange: r})
	}
	return within(a, b, func(a, b config.Ports) bool {
		if a.Set != "" || b.Set != "" {
			return a.Set == b.Set
		}
		return a.First <= b.First && b.Last <= a.Last
	})
}

func coversInterface(a, b config.Interface) bool {
	begin, wild := a.Wildcard()
	name, _ := b.Wildcard()
	return a == b || wild && strings.HasPrefix(name, begin)
}

func coversMark(a, b config.Mark) bool { return a.Mask&^b.Mask == 0 && b.Value&a.Mask == a.Value }

func coversRange(a, b config.Range) bool { return a.First <= b.First && b.Last <= a.Last }

// coversNamed is about names and the protocols that have them.
func coversNamed(a, b *config.Match) bool {
	if !within(a.Names, anyNames(b), coversName) {
		return false
	}
	if a.DNS != nil && (b.DNS == nil || !within(a.DNS.Names, b.DNS.Names, coversName) || !within(a.DNS.Types, b.DNS.Types, equal)) {
		return false
	}
	if a.HTTP != nil && (b.HTTP == nil || !within(a.HTTP.Names, b.HTTP.Names, coversName)) {
		return false
	}
	return coversHello(a.TLS, b.TLS) && coversHello(a.QUIC, b.QUIC)
}

func coversHello(a, b *config.Hello) bool {
	return a == nil || b != nil && within(a.Names, b.Names, coversName) && within(a.ALPN, b.ALPN, equal)
}

// anyNames are names one of which a packet of the match has.
func anyNames(m *config.Match) []config.Name {
	for _, list := range m.NameLists() {
		if len(list) > 0 {
			return list
		}
	}
	return nil
}

func coversName(a, b config.Name) bool {
	if a.Set != "" || b.Set != "" {
		return a.Set == b.Set
	}
	byName, by, errBy := vocabulary.ParseName(nil, []byte(a.Text))
	name, of, err := vocabulary.ParseName(nil, []byte(b.Text))
	switch {
	case errBy != nil || err != nil:
		return false
	case bytes.Equal(byName, name):
		return of&^by == 0
	}
	return by&vocabulary.CoversBelow != 0 && bytes.HasSuffix(name, append([]byte("."), byName...))
}

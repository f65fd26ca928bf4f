package config

import (
	"fmt"
	"maps"
	"slices"

	"verdictd/internal/vocabulary"
)

// A Reference is where a match names a set.
type Reference struct {
	// Key is from the match on, as in "dns.names[0]".
	Key string
	Set string
	// Type is what the set must have.
	Type vocabulary.SetType
}

// own are the references of a match without those of matches inside of it.
func (m *Match) own() (list []Reference) {
	add := func(key string, i int, set string, of vocabulary.SetType) {
		if set != "" {
			list = append(list, Reference{fmt.Sprintf("%s[%d]", key, i), set, of})
		}
	}
	for key, prefixes := range map[string][]Prefix{"source": m.Source, "destination": m.Destination} {
		for i, p := range prefixes {
			add(key, i, p.Set, vocabulary.SetPrefixes)
		}
	}
	for key, ports := range map[string][]Ports{"source_ports": m.SourcePorts, "destination_ports": m.DestinationPorts} {
		for i, p := range ports {
			add(key, i, p.Set, vocabulary.SetPorts)
		}
	}
	for key, pairs := range map[string][]Pair{"source_pairs": m.SourcePairs, "destination_pairs": m.DestinationPairs} {
		for i, p := range pairs {
			add(key, i, p.Set, vocabulary.SetPairs)
		}
	}
	for key, names := range m.NameLists() {
		for i, n := range names {
			add(key, i, n.Set, vocabulary.SetNames)
		}
	}
	return list
}

// NameLists are the lists of names, by their keys.
func (m *Match) NameLists() map[string][]Name {
	lists := map[string][]Name{"names": m.Names}
	if m.DNS != nil {
		lists["dns.names"] = m.DNS.Names
	}
	if m.TLS != nil {
		lists["tls.names"] = m.TLS.Names
	}
	if m.QUIC != nil {
		lists["quic.names"] = m.QUIC.Names
	}
	if m.HTTP != nil {
		lists["http.names"] = m.HTTP.Names
	}
	return lists
}

// Inner are the matches that a match has in it, by their keys.
func (m *Match) Inner() map[string]*Match {
	inner := map[string]*Match{}
	if m.Not != nil {
		inner["not"] = m.Not
	}
	for i := range m.Any {
		inner[fmt.Sprintf("any[%d]", i)] = &m.Any[i]
	}
	for i := range m.All {
		inner[fmt.Sprintf("all[%d]", i)] = &m.All[i]
	}
	return inner
}

// References are all places where sets are named, those of matches inside included.
func (m *Match) References() []Reference {
	list := m.own()
	for key, match := range m.Inner() {
		for _, r := range match.References() {
			r.Key = key + "." + r.Key
			list = append(list, r)
		}
	}
	return list
}

// looksAtNames reports whether names of flows count.
func (m *Match) looksAtNames() bool {
	if m.DNS != nil || m.TLS != nil || m.QUIC != nil || m.HTTP != nil || len(m.Names)+len(m.NameState) > 0 {
		return true
	}
	for _, match := range m.Inner() {
		if match.looksAtNames() {
			return true
		}
	}
	return false
}

// checkReferences reports sets that are not there, or have something else.
func (f matchCheck) checkReferences(key string, m *Match) {
	for _, r := range m.own() {
		at := key + "." + r.Key
		switch of, exists := f.sets[r.Set]; {
		case !exists && len(f.sets) == 0:
			f.wrong(at, "there is no set %s: declare it in policy.sets", r.Set)
		case !exists:
			f.wrong(at, "there is no set %s: the nearest is %s", r.Set, nearest(r.Set, slices.Sorted(maps.Keys(f.sets))))
		case of != r.Type && of != "":
			f.wrong(at, "set %s has %s, and here are %s", r.Set, of, r.Type)
		}
	}
}

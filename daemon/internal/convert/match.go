package convert

import (
	"reflect"
	"slices"

	"verdictd/internal/config"
)

// Protocols that a part may be of.
const (
	ofTCP = 1 << iota
	ofUDP
)

// Kinds of packets that a part may be of.
const (
	question = 1 << iota
	answer
	other
	anyKind = question | answer | other
)

// part is a match, and what has to be known to put it together with others.
type part struct {
	match     config.Match
	protocols uint8
	kinds     uint8
	directed  bool // it is about a flow's first direction: addresses or ports
	named     bool // it is about a name
	size      int  // of the matches in it; beyond maxSize there is none
}

// partOf is a part on headers, of protocols.
func partOf(m config.Match, protocols uint8) *part {
	return &part{match: m, protocols: protocols, kinds: anyKind, size: 1}
}

// maxSize bounds what becomes of a rule: ors within ands multiply.
const maxSize = 2000

// joined is what two parts have in common, and their match unless that is too large.
func joined(a, b *part, match func(a, b config.Match) config.Match) *part {
	p := &part{directed: a.directed || b.directed, named: a.named || b.named, size: a.size + b.size + 1}
	if p.size <= maxSize {
		p.match = match(a.match, b.match)
	}
	return p
}

// condition is the or of two parts, either of which may be nil, which never matches: early needs no name of TCP, late
// does.
type condition struct{ early, late *part }

// and matches what both match.
func (a *part) and(b *part) *part {
	if a == nil || b == nil || a.protocols&b.protocols == 0 || a.kinds&b.kinds == 0 {
		return nil
	}
	p := joined(a, b, both)
	p.protocols, p.kinds = a.protocols&b.protocols, a.kinds&b.kinds
	return p
}

// or matches what one of them matches.
func (a *part) or(b *part) *part {
	switch {
	case a == nil:
		return b
	case b == nil:
		return a
	}
	p := joined(a, b, either)
	p.protocols, p.kinds = a.protocols|b.protocols, a.kinds|b.kinds
	return p
}

func (a condition) or(b condition) condition {
	return condition{a.early.or(b.early), a.late.or(b.late)}
}

func (a condition) and(b condition) condition {
	return condition{a.early.and(b.early), a.late.and(b.early).or(a.late.and(b.late)).or(a.early.and(b.late))}
}

// both is a match for what two matches match.
func both(a, b config.Match) config.Match {
	if merged, ok := merge(a, b); ok {
		return merged
	}
	var list []config.Match
	for _, m := range []config.Match{a, b} {
		if only(&m, "All") {
			list = append(list, m.All...)
		} else {
			list = append(list, m)
		}
	}
	return config.Match{All: list}
}

// merge puts the keys of two matches into one, where none is in both.
func merge(a, b config.Match) (config.Match, bool) {
	if a.DNS != nil && b.DNS != nil && (a.DNS.Names == nil || b.DNS.Names == nil) && (a.DNS.Types == nil || b.DNS.Types == nil) {
		b.DNS = &config.DNS{Names: slices.Concat(a.DNS.Names, b.DNS.Names), Types: slices.Concat(a.DNS.Types, b.DNS.Types)}
		a.DNS = nil
	}
	for _, h := range []struct{ a, b **config.Hello }{{&a.TLS, &b.TLS}, {&a.QUIC, &b.QUIC}} {
		if *h.a == nil || *h.b == nil {
			continue
		}
		x, y := **h.a, **h.b
		if x.Names != nil && y.Names != nil || x.ALPN != nil && y.ALPN != nil {
			return a, false
		}
		*h.a, *h.b = nil, &config.Hello{Names: slices.Concat(x.Names, y.Names), ALPN: slices.Concat(x.ALPN, y.ALPN)}
	}
	if a.HTTP != nil && b.HTTP != nil && (a.HTTP.Names == nil || b.HTTP.Names == nil) {
		b.HTTP = &config.HTTPRequest{Names: slices.Concat(a.HTTP.Names, b.HTTP.Names)}
		a.HTTP = nil
	}
	to, from := reflect.ValueOf(&a).Elem(), reflect.ValueOf(&b).Elem()
	for i := range to.NumField() {
		if f := from.Field(i); !f.IsZero() {
			if !to.Field(i).IsZero() && !reflect.DeepEqual(to.Field(i).Interface(), f.Interface()) {
				return a, false
			}
			to.Field(i).Set(f)
		}
	}
	return a, true
}

// lists are keys of which two lists are as good as one with the entries of both.
var lists = []string{"Family", "Protocols", "Source", "Destination", "SourcePorts", "DestinationPorts", "Any"}

// either is a match for what one of two matches matches.
func either(a, b config.Match) config.Match {
	for _, key := range lists {
		if only(&a, key) && only(&b, key) {
			to := reflect.ValueOf(&a).Elem().FieldByName(key)
			// Others may have the same list, so that nothing is appended in place.
			to.Set(reflect.AppendSlice(reflect.AppendSlice(reflect.MakeSlice(to.Type(), 0, 0), to), reflect.ValueOf(b).FieldByName(key)))
			return a
		}
	}
	var list []config.Match
	for _, m := range []config.Match{a, b} {
		if only(&m, "Any") {
			list = append(list, m.Any...)
		} else {
			list = append(list, m)
		}
	}
	if list = joinNames(list); len(list) == 1 {
		return list[0]
	}
	return config.Match{Any: list}
}

// joinNames makes one entry of the last and the one before where both are of names of one protocol alone.
func joinNames(list []config.Match) []config.Match {
	n := len(list)
	a, b := &list[n-2], &list[n-1]
	switch {
	case only(a, "TLS") && only(b, "TLS") && nameOnly(a.TLS) && nameOnly(b.TLS):
		list[n-2] = config.Match{TLS: &config.Hello{Names: slices.Concat(a.TLS.Names, b.TLS.Names)}}
	case only(a, "QUIC") && only(b, "QUIC") && nameOnly(a.QUIC) && nameOnly(b.QUIC):
		list[n-2] = config.Match{QUIC: &config.Hello{Names: slices.Concat(a.QUIC.Names, b.QUIC.Names)}}
	case only(a, "HTTP") && only(b, "HTTP") && a.HTTP.Names != nil && b.HTTP.Names != nil:
		list[n-2] = config.Match{HTTP: &config.HTTPRequest{Names: slices.Concat(a.HTTP.Names, b.HTTP.Names)}}
	case only(a, "DNS") && only(b, "DNS") && a.DNS.Names != nil && b.DNS.Names != nil && a.DNS.Types == nil && b.DNS.Types == nil:
		list[n-2] = config.Match{DNS: &config.DNS{Names: slices.Concat(a.DNS.Names, b.DNS.Names)}}
	default:
		return list
	}
	return list[:n-1]
}

func nameOnly(h *config.Hello) bool { return h.Names != nil && h.ALPN == nil }

// only reports whether a key is the one that a match has.
func only(m *config.Match, key string) bool {
	v := reflect.ValueOf(m).Elem()
	for i := range v.NumField() {
		if v.Field(i).IsZero() == (v.Type().Field(i).Name == key) {
			return false
		}
	}
	return true
}

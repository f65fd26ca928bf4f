package config

import (
	"bytes"
	"fmt"
	"reflect"
	"regexp/syntax"
	"slices"
	"time"

	"golang.org/x/sys/unix"

	"verdictd/internal/vocabulary"
)

const (
	// maxNesting is how many matches may be within each other.
	maxNesting = 8
	// A longer pattern is a list that belongs into several rules.
	maxRegexp = 1024
	// A byte of a packet takes time for each instruction of a program.
	maxRegexpSteps = 10_000
	// What one entry of a payload may have.
	maxPayloadBytes = 1024
	maxLength       = 65535
	maxTTL          = 255
	// The kernel's -1 is nobody.
	maxID = 1<<32 - 2
	// RFC 7301, 3.1.
	maxProtocolName = 255
)

// matchCheck is what one needs to check a match.
type matchCheck struct {
	*file
	config *Config
	sets   map[string]vocabulary.SetType
}

// check reports what is wrong with a match, which is the value of key, at some depth.
func (f matchCheck) check(key string, m *Match, depth int) {
	if depth > maxNesting {
		f.wrong(key, "is more than %d deep: split the rule", maxNesting)
		return
	}
	f.checkEmpty(key, m)
	f.checkAddresses(key, m)
	f.checkUpper(key, m)
	f.checkNumbers(key, m)
	f.checkDevices(key, m)
	f.checkTime(key+".time", m.Time)
	f.checkNamed(key, m)
	f.checkContent(key, m)
	f.checkReferences(key, m)
	if m.Not != nil {
		f.checkInner(key+".not", m.Not, "so that the rule never matches", depth)
	}
	for _, group := range []struct {
		key  string
		list []Match
	}{{key + ".any", m.Any}, {key + ".all", m.All}} {
		for i := range group.list {
			f.checkInner(fmt.Sprintf("%s[%d]", group.key, i), &group.list[i], "so that it says nothing", depth)
		}
	}
}

func (f matchCheck) checkInner(key string, m *Match, consequence string, depth int) {
	if reflect.ValueOf(m).Elem().IsZero() && f.isBlank(key) {
		f.wrong(key, "is empty, which matches every packet, %s: write what is to match, or take it out", consequence)
		return
	}
	f.check(key, m, depth+1)
}

// mayBeEmpty are lists of a match that have been there for longer: an empty one is as if it was not there.
var mayBeEmpty = []string{"protocols", "source", "destination", "source_ports", "destination_ports"}

// checkEmpty reports lists without entries, which one may read as everything and as nothing.
func (f matchCheck) checkEmpty(key string, m *Match) {
	fields, known := fieldsOf(reflect.ValueOf(m).Elem())
	for _, name := range known {
		f.checkList(key+"."+name, fields[name], slices.Contains(mayBeEmpty, name))
	}
}

func (f matchCheck) checkList(key string, v reflect.Value, mayBeEmpty bool) {
	switch {
	case v.Kind() == reflect.Slice && v.Len() == 0 && f.has(key) && !mayBeEmpty:
		f.wrong(key, "is empty, and so would match nothing: name what is to match, or take it out")
	case v.Kind() == reflect.Pointer && !v.IsNil() && v.Elem().Kind() == reflect.Struct && v.Type() != reflect.TypeFor[*Match]():
		fields, known := fieldsOf(v.Elem())
		for _, name := range known {
			f.checkList(key+"."+name, fields[name], false)
		}
	}
}

func (f matchCheck) checkAddresses(key string, m *Match) {
	for _, list := range []struct {
		field    string
		prefixes []Prefix
	}{{key + ".source", m.Source}, {key + ".destination", m.Destination}} {
		for i, p := range list.prefixes {
			if masked := p.Masked(); masked != p.Prefix && p.IsValid() {
				f.wrong(fmt.Sprintf("%s[%d]", list.field, i), "%s has bits set beyond its length: write %s or %s/%d", p.Prefix, masked, p.Addr(), p.Addr().BitLen())
			}
		}
		if only := slices.Compact(slices.Clone(m.Family)); len(only) == 1 && len(list.prefixes) > 0 && !slices.ContainsFunc(list.prefixes, func(p Prefix) bool {
			return !p.IsValid() || p.Addr().Is4() == (only[0] == vocabulary.IPv4)
		}) {
			f.wrong(list.field, "has nothing of family %s, so that the rule never matches: correct one of the two", only[0])
		}
	}
	if oneFamilyEach(m.Source, m.Destination) {
		f.wrong(key+".destination", "one of source and destination is all IPv4 and the other all IPv6, which no packet is: split or correct the rule")
	}
}

// oneFamilyEach reports lists that no packet can match both of. What could not be
// read has its own problem and counts as either, as sets do.
func oneFamilyEach(a, b []Prefix) bool {
	is4 := func(p Prefix) bool { return !p.Addr().Is6() }
	is6 := func(p Prefix) bool { return !p.Addr().Is4() }
	if len(a) == 0 || len(b) == 0 {
		return false
	}
	both4 := slices.ContainsFunc(a, is4) && slices.ContainsFunc(b, is4)
	both6 := slices.ContainsFunc(a, is6) && slices.ContainsFunc(b, is6)
	return !both4 && !both6
}

// checkUpper holds what only packets of some protocols have against the protocols.
func (f matchCheck) checkUpper(key string, m *Match) {
	hasPorts := func(p vocabulary.Protocol) bool { return vocabulary.HasPorts(uint8(p)) }
	is := func(list ...vocabulary.Protocol) func(vocabulary.Protocol) bool {
		return func(p vocabulary.Protocol) bool { return slices.Contains(list, p) }
	}
	stream, either := is(unix.IPPROTO_TCP), is(unix.IPPROTO_TCP, unix.IPPROTO_UDP)
	for _, part := range []struct {
		field   string
		written bool
		fits    func(vocabulary.Protocol) bool
		what    string
	}{
		{"source_ports", len(m.SourcePorts) > 0, hasPorts, "has no ports"},
		{"destination_ports", len(m.DestinationPorts) > 0, hasPorts, "has no ports"},
		{"source_pairs", len(m.SourcePairs) > 0, hasPorts, "has no ports"},
		{"destination_pairs", len(m.DestinationPairs) > 0, hasPorts, "has no ports"},
		{"dns", m.DNS != nil, either, "carries no DNS"},
		{"tls", m.TLS != nil, stream, "carries no TLS"},
		{"quic", m.QUIC != nil, is(unix.IPPROTO_UDP), "carries no QUIC"},
		{"http", m.HTTP != nil, stream, "carries no HTTP"},
		{"names", len(m.Names) > 0, either, "carries no names"},
	} {
		if !part.written {
			continue
		}
		for i, p := range m.Protocols {
			if !part.fits(p) {
				f.wrong(fmt.Sprintf("%s.protocols[%d]", key, i), "protocol %d %s, so it can never match %s: give it a rule of its own", uint8(p), part.what, part.field)
			}
		}
		if part.what == "has no ports" && len(m.Fragment) > 0 && !slices.ContainsFunc(m.Fragment, func(g vocabulary.Fragment) bool { return g != vocabulary.FragmentLater }) {
			f.wrong(key+".fragment", "later fragments have no ports, so they can never match %s: give them a rule of their own", part.field)
		}
	}
}

func (f matchCheck) checkNumbers(key string, m *Match) {
	for _, list := range []struct {
		field  string
		ranges []Range
		most   uint32
	}{{"length", m.Length, maxLength}, {"ttl", m.TTL, maxTTL}, {"uid", m.UID, maxID}, {"gid", m.GID, maxID}} {
		for i, r := range list.ranges {
			if r.Last > list.most {
				f.wrong(fmt.Sprintf("%s.%s[%d]", key, list.field, i), "must be from 0 to %d, not %d", list.most, r.Last)
			}
		}
	}
}

// checkDevices: packets have no device that they come in by where they begin, and none to leave by before they are
// routed.
func (f matchCheck) checkDevices(key string, m *Match) {
	for _, list := range []struct {
		field   string
		devices []Interface
		without []vocabulary.Hook
	}{
		{"interface_in", m.InterfaceIn, []vocabulary.Hook{vocabulary.HookOutput}},
		{"interface_out", m.InterfaceOut, []vocabulary.Hook{vocabulary.HookPrerouting, vocabulary.HookInput}},
	} {
		if len(list.devices) > 0 && len(m.Hooks) > 0 && !slices.ContainsFunc(m.Hooks, func(h vocabulary.Hook) bool { return !slices.Contains(list.without, h) }) {
			f.wrong(key+"."+list.field, "packets have no such interface in %s: take it out, or name other hooks", joined(m.Hooks))
		}
	}
}

func (f matchCheck) checkTime(key string, t *Time) {
	const day = 24 * 60
	if t == nil {
		return
	}
	if reflect.ValueOf(t).Elem().IsZero() && f.isBlank(key) {
		f.wrong(key, "is empty: write days, from and to, or take it out")
	}
	switch {
	case t.From == nil && t.To == nil:
	case t.From == nil || t.To == nil:
		f.wrong(key, "has one of from and to: write both")
	case *t.From == day:
		f.wrong(key+".from", `is the end of a day: write "00:00"`)
	case *t.From == *t.To:
		f.wrong(key+".to", "is the same as from: leave both out for the whole day")
	}
	if _, err := time.LoadLocation(t.Zone); err != nil {
		f.wrong(key+".zone", "%q is no time zone that this machine knows: write one like Europe/Berlin or UTC (package tzdata has them)", t.Zone)
	}
}

// checkNamed is about what has names.
func (f matchCheck) checkNamed(key string, m *Match) {
	var protocols []string
	for _, p := range []struct {
		field   string
		written bool
		alpn    []string
	}{{"dns", m.DNS != nil, nil}, {"tls", m.TLS != nil, m.TLS.alpn()}, {"quic", m.QUIC != nil, m.QUIC.alpn()}, {"http", m.HTTP != nil, nil}} {
		if p.written {
			protocols = append(protocols, p.field)
		}
		for i, name := range p.alpn {
			if name == "" || len(name) > maxProtocolName {
				f.wrong(fmt.Sprintf("%s.%s.alpn[%d]", key, p.field, i), "must have from 1 to %d bytes, not %d", maxProtocolName, len(name))
			}
		}
	}
	if len(protocols) > 1 {
		f.wrong(key+"."+protocols[1], "no packet is of %s and of %s: write any: [{%s: ...}, {%s: ...}]", protocols[0], protocols[1], protocols[0], protocols[1])
	}
}

// alpn is nil where there is no hello.
func (h *Hello) alpn() []string {
	if h == nil {
		return nil
	}
	return h.ALPN
}

func (f matchCheck) checkContent(key string, m *Match) {
	end := 0
	for i, p := range m.Payload {
		entry := fmt.Sprintf("%s.payload[%d]", key, i)
		f.between(entry+".offset", p.Offset, 0, maxPayload)
		switch n := len(p.Bytes); {
		case n == 0:
			f.wrong(entry+".bytes", `is missing: write hexadecimal digits, like "0a0b"`)
		case n > maxPayloadBytes:
			f.wrong(entry+".bytes", "has %d bytes: write at most %d", n, maxPayloadBytes)
		case len(p.Mask) > 0 && len(p.Mask) != n:
			f.wrong(entry+".mask", "has %d bytes, and bytes has %d: make them equal", len(p.Mask), n)
		case len(p.Mask) > 0 && !bytes.Equal(masked(p.Bytes, p.Mask), p.Bytes):
			f.wrong(entry+".bytes", "has bits that mask has not, which no packet matches: write %x", masked(p.Bytes, p.Mask))
		}
		end = max(end, p.Offset+len(p.Bytes))
	}
	if m.Regexp != "" || f.has(key+".regexp") {
		f.checkRegexp(key+".regexp", m.Regexp)
		end = max(end, f.config.Policy.RegexpBytes)
	}
	if end > maxPayload {
		f.wrong(key+".payload", "ends at byte %d, and no packet has more than %d", end, maxPayload)
	}
}

func masked(b, mask []byte) []byte {
	result := slices.Clone(b)
	for i := range result {
		result[i] &= mask[i]
	}
	return result
}

func (f matchCheck) checkRegexp(key, pattern string) {
	if pattern == "" || len(pattern) > maxRegexp {
		f.wrong(key, "must have from 1 to %d bytes, not %d", maxRegexp, len(pattern))
		return
	}
	parsed, err := syntax.Parse(pattern, syntax.Perl)
	if err != nil {
		f.wrong(key, "%q is no regular expression of RE2: %v", pattern, err)
		return
	}
	if n := steps(parsed); n > maxRegexpSteps {
		f.wrong(key, "%q is too much for each packet: it is as long as %d letters, more than %d. Repeat less", pattern, n, maxRegexpSteps)
	}
}

// steps is about how many instructions the program of an expression has, for which nothing is compiled.
func steps(e *syntax.Regexp) int {
	n := 1 + len(e.Rune)/2
	for _, part := range e.Sub {
		n = min(n+steps(part), 1<<20)
	}
	if e.Op == syntax.OpRepeat {
		n *= max(e.Min, e.Max, 1)
	}
	return n
}

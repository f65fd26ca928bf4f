package convert

import (
	"fmt"
	"net/netip"
	"strings"

	"verdictd/internal/config"
	"verdictd/internal/vocabulary"
)

const (
	// maxGroup is how many entries a group may have, variables included.
	maxGroup = 10_000
	// maxGroupDepth is how many groups may be within each other.
	maxGroupDepth = 8
)

// group is a list of Suricata's: entries of which one matches, if there are any, and entries of which none does.
type group[T any] struct{ in, out []T }

func (g *group[T]) any() bool { return len(g.in)+len(g.out) == 0 }

// reader reads groups.
type reader[T any] struct {
	group[T]
	options *Options
	entries int
	listed  bool // within brackets
	read    func(text string) (T, error)
}

// add reads a text. negated is for what is behind a !.
func (r *reader[T]) add(text string, negated bool, depth int) error {
	text = strings.TrimSpace(text)
	if depth > maxGroupDepth {
		return fmt.Errorf("groups are more than %d deep", maxGroupDepth)
	}
	if r.entries++; r.entries > maxGroup {
		return fmt.Errorf("a group has more than %d entries", maxGroup)
	}
	if rest, ok := strings.CutPrefix(text, "!"); ok {
		if negated {
			return fmt.Errorf("%q: not of not", oneLine(text))
		}
		return r.add(rest, true, depth+1)
	}
	if name, ok := strings.CutPrefix(text, "$"); ok {
		value, ok := r.options.Variables[name]
		if !ok {
			return fmt.Errorf("$%s: suricata.yaml has it: give it with --var %s=VALUE", oneLine(name), oneLine(name))
		}
		return r.add(value, negated, depth+1)
	}
	if inner, ok := strings.CutPrefix(text, "["); ok {
		inner, ok = strings.CutSuffix(inner, "]")
		if !ok || strings.TrimSpace(inner) == "" {
			return fmt.Errorf("%q is no group", oneLine(text))
		}
		r.listed = true
		for _, piece := range pieces(inner) {
			if err := r.add(piece, negated, depth+1); err != nil {
				return err
			}
		}
		return nil
	}
	if text == "any" {
		if negated || r.listed {
			return fmt.Errorf("any behind a ! or within a group: it makes the rest meaningless")
		}
		return nil
	}
	entry, err := r.read(text)
	if err != nil {
		return err
	}
	if negated {
		r.out = append(r.out, entry)
	} else {
		r.in = append(r.in, entry)
	}
	return nil
}

// pieces are what commas part that are in no brackets.
func pieces(text string) (list []string) {
	depth, begin := 0, 0
	for i := range len(text) {
		switch text[i] {
		case '[':
			depth++
		case ']':
			depth--
		case ',':
			if depth == 0 {
				list = append(list, text[begin:i])
				begin = i + 1
			}
		}
	}
	return append(list, text[begin:])
}

func addresses(text string, o *Options) (group[config.Prefix], error) {
	r := reader[config.Prefix]{options: o, read: func(text string) (config.Prefix, error) {
		if addr, err := netip.ParseAddr(text); err == nil && addr.Zone() == "" {
			return config.Prefix{Prefix: netip.PrefixFrom(addr, addr.BitLen())}, nil
		}
		p, err := netip.ParsePrefix(text)
		if err != nil {
			return config.Prefix{}, fmt.Errorf("%q is neither an address nor a prefix", oneLine(text))
		}
		return config.Prefix{Prefix: p.Masked()}, nil
	}}
	err := r.add(text, false, 0)
	return r.group, err
}

func ports(text string, o *Options) (group[config.Ports], error) {
	r := reader[config.Ports]{options: o, read: func(text string) (config.Ports, error) {
		first, last, span := strings.Cut(text, ":")
		switch {
		case !span:
			last = first
		case first == "":
			first = "0"
		}
		if last == "" {
			last = "65535"
		}
		p, err := vocabulary.ParsePorts([]byte(first + "-" + last))
		if err != nil {
			return config.Ports{}, fmt.Errorf("%q is neither a port nor a range of them", oneLine(text))
		}
		return config.Ports{PortRange: p}, nil
	}}
	err := r.add(text, false, 0)
	return r.group, err
}

// direction is a match for packets from and to groups. Ports that are none of a list are ports all the same.
func direction(from group[config.Prefix], fromPorts group[config.Ports], to group[config.Prefix], toPorts group[config.Ports]) *part {
	m := config.Match{Source: from.in, Destination: to.in, SourcePorts: fromPorts.in, DestinationPorts: toPorts.in}
	every := []config.Ports{{PortRange: vocabulary.PortRange{First: 0, Last: 1<<16 - 1}}}
	if fromPorts.in == nil && fromPorts.out != nil {
		m.SourcePorts = every
	}
	if toPorts.in == nil && toPorts.out != nil {
		m.DestinationPorts = every
	}
	for _, out := range []config.Match{{Source: from.out}, {Destination: to.out}, {SourcePorts: fromPorts.out}, {DestinationPorts: toPorts.out}} {
		if out.Source != nil || out.Destination != nil || out.SourcePorts != nil || out.DestinationPorts != nil {
			m = both(m, config.Match{Not: &out})
		}
	}
	return partOf(m, ofTCP|ofUDP)
}

package config

import (
	"fmt"
	"net/netip"
	"strconv"
	"strings"

	"verdictd/internal/vocabulary"
)

// setPrefix begins an entry that stands for a set.
const setPrefix = "@"

// Prefix is an entry of a list of addresses: "192.0.2.0/24", or "@NAME".
type Prefix struct {
	netip.Prefix
	// Set is the name of one; "" where there is a prefix.
	Set string
}

// MarshalText gives the prefix, or "@NAME".
func (p Prefix) MarshalText() ([]byte, error) {
	if p.Set != "" {
		return []byte(setPrefix + p.Set), nil
	}
	return p.Prefix.MarshalText()
}

// UnmarshalText reads what MarshalText gives.
func (p *Prefix) UnmarshalText(text []byte) error {
	if name, ok := strings.CutPrefix(string(text), setPrefix); ok {
		p.Set = name
		return checkSetName(name)
	}
	prefix, err := netip.ParsePrefix(string(text))
	switch {
	case err != nil:
		return fmt.Errorf("%q is no prefix: write it like 192.0.2.0/24 or 2001:db8::/32, and one address with /32 or /128", text)
	case prefix.Addr().Is4In6():
		return fmt.Errorf("%q is an IPv4 address inside of IPv6, which no packet has: write it as IPv4", text)
	}
	p.Prefix = prefix
	return nil
}

// Ports is an entry of a list of ports: "53", "1000-2000", or "@NAME".
type Ports struct {
	vocabulary.PortRange
	Set string
}

// MarshalText gives "53", "1000-2000", or "@NAME".
func (r Ports) MarshalText() ([]byte, error) {
	switch {
	case r.Set != "":
		return []byte(setPrefix + r.Set), nil
	case r.First == r.Last:
		return strconv.AppendUint(nil, uint64(r.First), 10), nil
	}
	return fmt.Appendf(nil, "%d-%d", r.First, r.Last), nil
}

// UnmarshalText reads what MarshalText gives.
func (r *Ports) UnmarshalText(text []byte) error {
	if name, ok := strings.CutPrefix(string(text), setPrefix); ok {
		r.Set = name
		return checkSetName(name)
	}
	ports, err := vocabulary.ParsePorts(text)
	if err != nil {
		return fmt.Errorf("%q %w", text, err)
	}
	r.PortRange = ports
	return nil
}

// Pair is an entry of a list of addresses with ports: "192.0.2.1:53", "[2001:db8::1]:53", or "@NAME".
type Pair struct {
	netip.AddrPort
	Set string
}

// MarshalText gives the pair, or "@NAME".
func (p Pair) MarshalText() ([]byte, error) {
	if p.Set != "" {
		return []byte(setPrefix + p.Set), nil
	}
	return p.AddrPort.MarshalText()
}

// UnmarshalText reads what MarshalText gives.
func (p *Pair) UnmarshalText(text []byte) (err error) {
	if name, ok := strings.CutPrefix(string(text), setPrefix); ok {
		p.Set = name
		return checkSetName(name)
	}
	p.AddrPort, err = vocabulary.ParsePair(text)
	if err != nil {
		return fmt.Errorf("%q %w", text, err)
	}
	return nil
}

// Name is an entry of a list of names: "example.org", "*.example.org", "=example.org", or "@NAME".
type Name struct {
	// Text is the entry as it is written, which vocabulary.ParseName takes.
	Text string
	Set  string
}

// MarshalText gives the entry, or "@NAME".
func (n Name) MarshalText() ([]byte, error) {
	if n.Set != "" {
		return []byte(setPrefix + n.Set), nil
	}
	return []byte(n.Text), nil
}

// UnmarshalText reads what MarshalText gives.
func (n *Name) UnmarshalText(text []byte) error {
	if name, ok := strings.CutPrefix(string(text), setPrefix); ok {
		n.Set = name
		return checkSetName(name)
	}
	if _, _, err := vocabulary.ParseName(nil, text); err != nil {
		return fmt.Errorf("%q %w", text, err)
	}
	n.Text = string(text)
	return nil
}

// Entry is one of a set, as it is written.
type Entry string

// MarshalText gives the entry.
func (e Entry) MarshalText() ([]byte, error) { return []byte(e), nil }

// UnmarshalText takes anything: which forms there are is known with the set's type.
func (e *Entry) UnmarshalText(text []byte) error {
	*e = Entry(text)
	return nil
}

// maxSetName is the length of a set's name in bytes.
const maxSetName = 64

func checkSetName(name string) error {
	good := name != "" && len(name) <= maxSetName
	for i, c := range name {
		switch {
		case 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z', '0' <= c && c <= '9':
		case i > 0 && strings.ContainsRune("-_.", c):
		default:
			good = false
		}
	}
	if !good {
		return fmt.Errorf("%q is no name of a set: use up to %d letters, digits, -, _ and ., with a letter or digit first", name, maxSetName)
	}
	return nil
}

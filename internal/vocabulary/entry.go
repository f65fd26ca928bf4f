package vocabulary

import (
	"bytes"
	"errors"
	"fmt"
	"net/netip"
	"strconv"
)

// These read entries of lists and of sets. Errors go behind the entry, and say what to write.

var (
	errZone   = errors.New("has a zone, which a packet does not show")
	errMapped = errors.New("is an IPv4 address inside of IPv6, which no packet has: write it as IPv4")
)

// ParsePrefix reads a prefix, or an address for itself.
func ParsePrefix(entry []byte) (netip.Prefix, error) {
	text := string(entry)
	p, err := netip.ParsePrefix(text)
	if err != nil {
		a, errAddr := netip.ParseAddr(text)
		switch {
		case errAddr != nil:
			return p, errors.New(`is no prefix: write it like "192.0.2.0/24", "2001:db8::/32" or "192.0.2.1"`)
		case a.Zone() != "":
			return p, errZone
		}
		p = netip.PrefixFrom(a, a.BitLen())
	}
	switch {
	case p.Addr().Is4In6():
		return p, errMapped
	case p.Masked() != p:
		return p, fmt.Errorf("has bits set beyond its length: write %s or %s", p.Masked(), netip.PrefixFrom(p.Addr(), p.Addr().BitLen()))
	}
	return p, nil
}

// ParsePair reads an address with a port.
func ParsePair(entry []byte) (netip.AddrPort, error) {
	p, err := netip.ParseAddrPort(string(entry))
	switch {
	case err != nil:
		return p, errors.New(`is no address with a port: write it like "192.0.2.1:53" or "[2001:db8::1]:53"`)
	case p.Addr().Zone() != "":
		return p, errZone
	case p.Addr().Is4In6():
		return p, errMapped
	}
	return p, nil
}

// ParsePorts reads a port, or a range of ports.
func ParsePorts(entry []byte) (PortRange, error) {
	first, last, isRange := bytes.Cut(entry, []byte("-"))
	if !isRange {
		last = first
	}
	from, errFrom := strconv.ParseUint(string(first), 10, 16)
	to, errTo := strconv.ParseUint(string(last), 10, 16)
	switch {
	case errFrom != nil || errTo != nil:
		return PortRange{}, errors.New(`is no port from 0 to 65535 and no range of them: write it like "53" or "1000-2000"`)
	case from > to:
		return PortRange{}, fmt.Errorf("begins above its end: write %d-%d", to, from)
	}
	return Ports(uint16(from), uint16(to)), nil
}

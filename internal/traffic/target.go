package traffic

import (
	"fmt"
	"net/netip"
	"strings"
)

// safeTargets are addresses that belong to nobody else: loopback, and the ranges that RFC 5737 and RFC 3849 set
// aside for documentation, which laboratories use.
var safeTargets = []netip.Prefix{
	netip.MustParsePrefix("127.0.0.0/8"),
	netip.MustParsePrefix("192.0.2.0/24"),
	netip.MustParsePrefix("198.51.100.0/24"),
	netip.MustParsePrefix("203.0.113.0/24"),
	netip.MustParsePrefix("::1/128"),
	netip.MustParsePrefix("2001:db8::/32"),
}

// CheckTarget keeps a slip of the keyboard from loading a stranger's host: outside safeTargets the address must be
// named a second time.
func CheckTarget(target, allowed netip.Addr) error {
	switch {
	case !target.IsValid():
		return fmt.Errorf("target: no address given")
	case target.Is4In6():
		return fmt.Errorf("target %s: an IPv4 address in IPv6 form; write %s", target, target.Unmap())
	case target.Zone() != "":
		return fmt.Errorf("target %s: addresses with a zone are not supported; use a global or documentation address", target)
	case target.IsUnspecified() || target.IsMulticast() || target == netip.AddrFrom4([4]byte{255, 255, 255, 255}):
		return fmt.Errorf("target %s: want the address of one host", target)
	case target == allowed:
		return nil
	}
	names := make([]string, len(safeTargets))
	for i, p := range safeTargets {
		if p.Contains(target) {
			return nil
		}
		names[i] = p.String()
	}
	return fmt.Errorf("target %s is outside %s; if that host is yours, name it again with --allow-target %s",
		target, strings.Join(names, ", "), target)
}

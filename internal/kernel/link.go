package kernel

import (
	"fmt"
	"net"
	"net/netip"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// An Endpoint is one end of a veth pair.
type Endpoint struct {
	NetNS *NetNS
	Link  string // the interface's name, at most 15 bytes

	// Addresses of the interface, each with the length of its on-link prefix.
	Addresses []netip.Prefix
}

// AddVeth joins two namespaces: it makes the pair, gives both ends their
// addresses and sets them up. Each end knows the other's hardware addresses
// beforehand, so that a burst to a new neighbour is not cut to what the
// neighbour table holds back while it resolves (unres_qlen_bytes).
func AddVeth(a, b Endpoint) error {
	attributes := netlink.NewLinkAttrs()
	attributes.Name = a.Link
	veth := netlink.NewVeth(attributes)
	veth.PeerName = b.Link
	veth.PeerNamespace = netlink.NsFd(b.NetNS.file.Fd())
	err := a.NetNS.links(func(h *netlink.Handle) error {
		if err := h.LinkAdd(veth); err != nil {
			return fmt.Errorf("add veth pair %s, %s: %w", a.Link, b.Link, err)
		}
		return nil
	})
	if err != nil {
		return err
	}
	for _, end := range []Endpoint{a, b} {
		for _, address := range end.Addresses {
			if err := end.NetNS.AddAddress(end.Link, address); err != nil {
				return err
			}
		}
		if err := end.NetNS.SetUp(end.Link); err != nil {
			return err
		}
	}
	if err := learn(a, b); err != nil {
		return err
	}
	return learn(b, a)
}

// learn enters to's addresses into from's neighbour table.
func learn(from, to Endpoint) error {
	var hardware net.HardwareAddr
	err := to.NetNS.onLink(to.Link, func(_ *netlink.Handle, link netlink.Link) error {
		hardware = link.Attrs().HardwareAddr
		return nil
	})
	if err != nil {
		return err
	}
	return from.NetNS.onLink(from.Link, func(h *netlink.Handle, link netlink.Link) error {
		for _, address := range to.Addresses {
			err := h.NeighSet(&netlink.Neigh{
				LinkIndex:    link.Attrs().Index,
				State:        netlink.NUD_PERMANENT,
				IP:           address.Addr().AsSlice(),
				HardwareAddr: hardware,
			})
			if err != nil {
				return fmt.Errorf("add neighbour %v (%v) to %s: %w", address.Addr(), hardware, from.Link, err)
			}
		}
		return nil
	})
}

// AddAddress gives an interface an address. An IPv6 address is usable at once:
// duplicate address detection, which takes a second, is left out.
func (n *NetNS) AddAddress(link string, address netip.Prefix) error {
	return n.onLink(link, func(h *netlink.Handle, l netlink.Link) error {
		a := &netlink.Addr{IPNet: ipNet(address)}
		if address.Addr().Is6() {
			a.Flags = unix.IFA_F_NODAD
		}
		if err := h.AddrAdd(l, a); err != nil {
			return fmt.Errorf("add address %v to %s: %w", address, link, err)
		}
		return nil
	})
}

// AddRoute sends packets for a destination through a gateway.
func (n *NetNS) AddRoute(to netip.Prefix, gateway netip.Addr) error {
	return n.links(func(h *netlink.Handle) error {
		if err := h.RouteAdd(&netlink.Route{Dst: ipNet(to), Gw: gateway.AsSlice()}); err != nil {
			return fmt.Errorf("add route to %v via %v: %w", to, gateway, err)
		}
		return nil
	})
}

// SetUp sets an interface up.
func (n *NetNS) SetUp(link string) error {
	return n.onLink(link, func(h *netlink.Handle, l netlink.Link) error {
		if err := h.LinkSetUp(l); err != nil {
			return fmt.Errorf("set %s up: %w", link, err)
		}
		return nil
	})
}

// onLink runs f with the named interface.
func (n *NetNS) onLink(name string, f func(*netlink.Handle, netlink.Link) error) error {
	return n.links(func(h *netlink.Handle) error {
		link, err := h.LinkByName(name)
		if err != nil {
			return fmt.Errorf("find interface %s: %w", name, err)
		}
		return f(h, link)
	})
}

func ipNet(p netip.Prefix) *net.IPNet {
	return &net.IPNet{IP: p.Addr().AsSlice(), Mask: net.CIDRMask(p.Bits(), p.Addr().BitLen())}
}

package netlab

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"time"

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
// addresses, sets them up and waits until they carry packets. Each end knows the other's hardware addresses
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
	ends := []Endpoint{a, b}
	for _, end := range ends {
		if err := end.NetNS.SetUp(end.Link); err != nil {
			return err
		}
	}
	for i, end := range ends {
		if err := end.waitUntilUp(); err != nil {
			return err
		}
		for _, address := range end.Addresses {
			if err := end.NetNS.AddAddress(end.Link, address); err != nil {
				return err
			}
		}
		if err := end.learn(ends[1-i]); err != nil {
			return err
		}
	}
	return nil
}

// waitUntilUp waits for the interface's operational state. The end that was set
// up first had no carrier then, and drops all packets (noop qdisc) until the
// kernel's link watch has taken notice of the other end.
func (e Endpoint) waitUntilUp() error {
	return e.NetNS.onLink(e.Link, func(h *netlink.Handle, link netlink.Link) error {
		return wait("interface "+e.Link+" to be up", func() (bool, error) {
			link, err := h.LinkByIndex(link.Attrs().Index)
			return err == nil && link.Attrs().OperState == netlink.OperUp, err
		})
	})
}

// wait polls for what the kernel does in a work queue of its own, which takes
// under a millisecond unless the machine is busy.
func wait(what string, done func() (bool, error)) error {
	const patience = 10 * time.Second
	for deadline := time.Now().Add(patience); ; time.Sleep(time.Millisecond) {
		ok, err := done()
		switch {
		case err != nil:
			return fmt.Errorf("wait for %s: %w", what, err)
		case ok:
			return nil
		case time.Now().After(deadline):
			return fmt.Errorf("wait for %s: nothing within %v", what, patience)
		}
	}
}

// learn enters the other end's addresses into the namespace's neighbour table.
func (e Endpoint) learn(other Endpoint) error {
	var hardware net.HardwareAddr
	err := other.NetNS.onLink(other.Link, func(_ *netlink.Handle, link netlink.Link) error {
		hardware = link.Attrs().HardwareAddr
		return nil
	})
	if err != nil {
		return err
	}
	for _, address := range other.Addresses {
		if err := e.NetNS.AddNeighbor(e.Link, address.Addr(), hardware); err != nil {
			return err
		}
	}
	return nil
}

// AddAddress gives an interface that is up an address, usable when it returns:
// IPv6's duplicate address detection, which takes a second, is left out.
func (n *NetNS) AddAddress(link string, address netip.Prefix) error {
	return n.onLink(link, func(h *netlink.Handle, l netlink.Link) error {
		a := &netlink.Addr{IPNet: ipNet(address)}
		if address.Addr().Is6() {
			a.Flags = unix.IFA_F_NODAD
		}
		if err := h.AddrAdd(l, a); err != nil {
			return fmt.Errorf("add address %v to %s: %w", address, link, err)
		}
		// Even without the detection a work queue (addrconf_dad_work) adds the
		// route by which packets to an IPv6 address are taken for local.
		return wait(fmt.Sprintf("address %v of %s", address, link), func() (bool, error) {
			routes, err := h.RouteGet(address.Addr().AsSlice())
			if errors.Is(err, unix.ENETUNREACH) {
				return false, nil
			}
			return err == nil && len(routes) == 1 && routes[0].Type == unix.RTN_LOCAL, err
		})
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

// SetMTU sets the length of the longest packet that leaves through an interface
// in one piece.
func (n *NetNS) SetMTU(link string, bytes int) error {
	return n.onLink(link, func(h *netlink.Handle, l netlink.Link) error {
		if err := h.LinkSetMTU(l, bytes); err != nil {
			return fmt.Errorf("set the MTU of %s to %d: %w", link, bytes, err)
		}
		return nil
	})
}

// AddNeighbor enters a neighbor's hardware address for good, whether there is such a neighbor or not.
func (n *NetNS) AddNeighbor(link string, address netip.Addr, hardware net.HardwareAddr) error {
	return n.onLink(link, func(h *netlink.Handle, l netlink.Link) error {
		err := h.NeighSet(&netlink.Neigh{
			LinkIndex: l.Attrs().Index, State: netlink.NUD_PERMANENT, IP: address.AsSlice(), HardwareAddr: hardware,
		})
		if err != nil {
			return fmt.Errorf("add neighbor %v (%v) to %s: %w", address, hardware, link, err)
		}
		return nil
	})
}

// SeparateSegments makes the kernel cut what was sent with UDP GSO or TCP into its packets before they get to the
// interface, and not leave that to it or to whoever receives.
func (n *NetNS) SeparateSegments(link string) error {
	return n.onLink(link, func(h *netlink.Handle, l netlink.Link) error {
		if err := h.LinkSetGSOMaxSegs(l, 1); err != nil {
			return fmt.Errorf("set gso_max_segs of %s to 1: %w", link, err)
		}
		return nil
	})
}

// ReceivedPackets is how many packets an interface has received.
func (n *NetNS) ReceivedPackets(link string) (packets uint64, err error) {
	err = n.onLink(link, func(_ *netlink.Handle, l netlink.Link) error {
		statistics := l.Attrs().Statistics
		if statistics == nil {
			return fmt.Errorf("the kernel tells no statistics of %s", link)
		}
		packets = statistics.RxPackets
		return nil
	})
	return packets, err
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

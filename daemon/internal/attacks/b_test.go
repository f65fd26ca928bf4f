package attacks

import (
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"verdictd/daemon/internal/childtest"
	"verdictd/internal/netlab"
)

// Two uplinks lead to the same address: the routing table's way is wrong, that of a rule is right.
var uplinkNets = map[string]struct{ wrong, right, client, target string }{
	"ipv4": {"198.51.100.%d/24", "203.0.113.%d/24", "192.0.2.%d/25", "192.0.2.129"},
	"ipv6": {"2001:db8:1::%d/64", "2001:db8:2::%d/64", "2001:db8:3::%d/64", "2001:db8:4::1"},
}

// uplinks is a client, a router with two uplinks, and who is at their ends.
type uplinks struct {
	client, router, wrong, right *netlab.NetNS
	target                       netip.AddrPort
}

func newUplinks(t testing.TB, family string) uplinks {
	t.Helper()
	n := uplinkNets[family]
	u := uplinks{client: emptyHost(t), router: emptyHost(t), wrong: emptyHost(t), right: emptyHost(t)}
	at := func(network string, host int) string { return fmt.Sprintf(network, host) }
	bare := func(network string, host int) string {
		address, _, _ := strings.Cut(at(network, host), "/")
		return address
	}
	cable(t, u.client, "eth0", at(n.client, 1), u.router, "inner", at(n.client, 2))
	cable(t, u.router, "wrong", at(n.wrong, 1), u.wrong, "eth0", at(n.wrong, 2))
	cable(t, u.router, "right", at(n.right, 1), u.right, "eth0", at(n.right, 2))
	mustNot(t, u.router.EnableForwarding())
	target := netip.MustParseAddr(n.target)
	for _, ns := range []*netlab.NetNS{u.wrong, u.right} {
		mustNot(t, ns.AddAddress("lo", netip.PrefixFrom(target, target.BitLen())))
	}
	ip := map[string]string{"ipv4": "ip", "ipv6": "ip -6"}[family]
	childtest.Shell(t, u.client, fmt.Sprintf("%s route add %v via %s", ip, target, bare(n.client, 2)))
	childtest.Shell(t, u.router, fmt.Sprintf("%s route add %v via %s; %s route add %v via %s table 100",
		ip, target, bare(n.wrong, 2), ip, target, bare(n.right, 2)))
	u.target = netip.AddrPortFrom(target, port)
	return u
}

// TestRuleChoosesUplink: each of a burst's packets takes the way that a routing rule gives its flow.
func TestRuleChoosesUplink(t *testing.T) {
	user := fmt.Sprintf("uidrange %d-%[1]d", someUser())
	for rule, test := range map[string]struct {
		mark      int
		forwarded bool
		families  string
	}{
		user:                       {families: "ipv4"},
		"ipproto udp dport 5300":   {families: "ipv4 ipv6"},
		"fwmark 1":                 {mark: 1, families: "ipv4 ipv6"},
		"not fwmark 0xca6c":        {families: "ipv4"}, // wg-quick's: its own packets have the mark
		"iif inner":                {forwarded: true, families: "ipv4 ipv6"},
		"from 192.0.2.1 iif inner": {forwarded: true, families: "ipv4"},
	} {
		for family := range strings.FieldsSeq(test.families) {
			t.Run(rule+" "+family, func(t *testing.T) {
				sideBySide(t, scenario{arrive: 100, clashes: 50, confirmed: true, beside: true, play: func(r *run) outcome {
					u := newUplinks(r, family)
					ip := map[string]string{"ipv4": "ip", "ipv6": "ip -6"}[family]
					childtest.Shell(r, u.router, ip+" rule add "+rule+" lookup 100")
					place, sender := "output", u.router
					if test.forwarded {
						place, sender = "forward", u.client
					}
					r.daemon(u.router, analysis+"rules: {placement: "+place+", destination_ports: [5300]}")
					in, strayed := listen(r, u.right, u.target), listen(r, u.wrong, u.target)
					asUser(r, someUser(), func() {
						burst{to: u.target, flows: 25, packets: 4, control: option(unix.SOL_SOCKET, unix.SO_MARK, test.mark)}.send(r, sender)
					})
					o := r.end(in, 100)
					if n := len(strayed.arrivals()); n > 0 {
						r.Errorf("%d packets left by the other uplink", n)
					}
					return o
				}})
			})
		}
	}
}

// The ends of a tunnel between twoEnds.
var (
	innerNear = netip.MustParseAddr("198.51.100.1")
	innerFar  = netip.MustParseAddr("198.51.100.2")
)

// tunnels by name, with the kind of the kernel's link, and the port that their packets go to.
var tunnels = map[string]struct {
	kind string
	port int
}{
	"vxlan":                          {"vxlan", 4789},
	"geneve":                         {"geneve", 6081},
	"a program, as WireGuard may be": {"", 51820},
}

// TestTunnels: packets pass the queue twice, in the tunnel and as the tunnel's own.
func TestTunnels(t *testing.T) {
	for name, tunnel := range tunnels {
		for _, place := range []string{"output", "input"} {
			t.Run(name+" "+place, func(t *testing.T) {
				if tunnel.kind != "" {
					needsLinks(t, tunnel.kind+" id 7 remote 192.0.2.2 dstport 4789")
				}
				// The tunnel is one flow, of which all may come before its first packet was judged.
				const guard = "flow_packets: 1000"
				sideBySide(t, scenario{guard: guard, arrive: 400, clashes: 50, confirmed: true, beside: true, play: func(r *run) outcome {
					near, far := twoEnds(r)
					if tunnel.kind == "" {
						programTunnel(r, near, far)
					} else {
						kernelTunnel(r, near, far, fmt.Sprintf("%s id 7 dstport %d remote", tunnel.kind, tunnel.port))
					}
					r.daemon(near, analysis+fmt.Sprintf("rules: {placement: %s, destination_ports: [5300, %d]}", place, tunnel.port))
					// What a program reads from veth has no checksum yet.
					noChecksum := option(unix.SOL_SOCKET, unix.SO_NO_CHECK, 1)
					in := listen(r, near, netip.AddrPortFrom(innerNear, port))
					in.add(r, far, nil, netip.AddrPortFrom(innerFar, port))
					for range 50 {
						burst{to: netip.AddrPortFrom(innerFar, port), flows: 1, packets: 4, control: noChecksum}.send(r, near)
						burst{to: netip.AddrPortFrom(innerNear, port), flows: 1, packets: 4, control: noChecksum}.send(r, far)
					}
					o := r.end(in, 400)
					// 200 packets in the tunnel pass this hook, and as many of the tunnel's own.
					if n := o.statistics.Total.Received; n != 400 {
						r.Errorf("%d packets were judged, want 400", n)
					}
					return o
				}})
			})
		}
	}
}

// kernelTunnel makes a tunnel of the kernel's.
func kernelTunnel(t testing.TB, near, far *netlab.NetNS, kind string) {
	t.Helper()
	for i, ns := range []*netlab.NetNS{near, far} {
		remote := []netip.Addr{farEnd, nearEnd}[i]
		// Fixed neighbours, and no IPv6 that looks for some: all packets are the test's.
		childtest.Shell(t, ns, fmt.Sprintf(`
			ip link add tun0 address 02:00:00:00:00:0%d type %s %v
			echo 1 >/proc/sys/net/ipv6/conf/tun0/disable_ipv6
			ip address add 198.51.100.%d/24 dev tun0
			ip neighbor add 198.51.100.%d lladdr 02:00:00:00:00:0%d dev tun0
			ip link set tun0 up`, i+1, kind, remote, i+1, 2-i, 2-i))
	}
}

// needsLinks skips the test where the kernel does not make links of a kind.
func needsLinks(t testing.TB, kind string) {
	t.Helper()
	out := childtest.Shell(t, emptyHost(t), "ip link add probe0 type "+kind+" 2>&1 || true")
	if strings.Contains(out, "Unknown device type") || strings.Contains(out, "not supported") {
		t.Skipf("this kernel has no %s: %s", kind, out)
	}
}

// programTunnel carries frames between tun0 and a UDP socket, with one port at both ends. An ordinary user may not open
// /dev/net/tun everywhere: tun0 is one end of a veth pair, and the program has the other.
func programTunnel(t testing.TB, near, far *netlab.NetNS) {
	t.Helper()
	for i, ns := range []*netlab.NetNS{near, far} {
		local, remote := nearEnd, farEnd
		if i == 1 {
			local, remote = farEnd, nearEnd
		}
		// The neighbour's hardware address is not the other end's: the kernel does not take the frames for its own
		// there.
		childtest.Shell(t, ns, fmt.Sprintf(`
			ip link add tun0 address 02:00:00:00:00:0%d type veth peer name program0
			for d in tun0 program0; do echo 1 >/proc/sys/net/ipv6/conf/$d/disable_ipv6; done
			ip address add 198.51.100.%d/24 dev tun0
			ip neighbor add 198.51.100.%d lladdr 02:00:00:00:00:0%d dev tun0
			ip link set program0 up; ip link set tun0 up`, i+1, i+1, 2-i, 2-i))
		var frames *os.File
		mustNot(t, ns.Do(func() (err error) {
			frames, err = openFrames("program0")
			return err
		}))
		conn := dial(t, ns, netip.AddrPortFrom(local, 51820), netip.AddrPortFrom(remote, 51820), nil)
		childtest.Roomy(t, conn)
		carry(t, frames, conn)
	}
}

// carry ends with the test.
func carry(t testing.TB, frames *os.File, conn *net.UDPConn) {
	t.Helper()
	ended := make(chan struct{}, 2)
	copyPackets := func(from, to io.ReadWriter) {
		defer func() { ended <- struct{}{} }()
		for buf := make([]byte, 2000); ; {
			n, err := from.Read(buf)
			if err != nil && !droppedLocally(err) {
				return
			}
			_, _ = to.Write(buf[:n]) // a loss shows
		}
	}
	go copyPackets(frames, conn)
	go copyPackets(conn, frames)
	t.Cleanup(func() {
		_ = frames.Close()
		_ = conn.Close()
		for range 2 {
			select {
			case <-ended:
			case <-time.After(time.Second):
				t.Error("a tunnel does not end")
			}
		}
	})
}

// openFrames reads and writes the IPv4 frames of an interface.
func openFrames(link string) (*os.File, error) {
	index, err := net.InterfaceByName(link)
	if err != nil {
		return nil, err
	}
	const protocol = unix.ETH_P_IP<<8&0xff00 | unix.ETH_P_IP>>8 // in network order
	fd, err := unix.Socket(unix.AF_PACKET, unix.SOCK_RAW|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
	if err != nil {
		return nil, fmt.Errorf("open a packet socket: %w", err)
	}
	growBuffer(fd, 64<<20)
	if err := unix.Bind(fd, &unix.SockaddrLinklayer{Protocol: protocol, Ifindex: index.Index}); err != nil {
		return nil, errors.Join(fmt.Errorf("bind to %s: %w", link, err), unix.Close(fd))
	}
	return os.NewFile(uintptr(fd), link), nil
}

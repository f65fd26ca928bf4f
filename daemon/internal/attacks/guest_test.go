package attacks

import (
	"fmt"
	"net/netip"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"verdictd/daemon/internal/childtest"
	"verdictd/internal/netlab"
)

// What is in this file takes modules that small kernels lack; Debian's has them.

// TestVRF: what comes in or leaves by a VRF passes the hooks by its own interface and by the VRF's.
func TestVRF(t *testing.T) {
	needsLinks(t, "vrf table 100")
	for _, place := range []string{"input", "output", "postrouting"} {
		t.Run(place, func(t *testing.T) {
			sideBySide(t, scenario{arrive: 200, clashes: 50, unjudged: true, confirmed: true, play: func(r *run) outcome {
				near, far := twoEnds(r)
				childtest.Shell(r, near, `
					ip link add red type vrf table 100
					ip link set red up
					ip link set near0 master red
					echo 1 >/proc/sys/net/ipv4/udp_l3mdev_accept`)
				r.daemon(near, analysis+"rules: {placement: "+place+", destination_ports: [5300]}")
				from, to, at := far, netip.AddrPortFrom(nearEnd, port), near
				var control func(fd int) error
				if place != "input" {
					from, to, at = near, netip.AddrPortFrom(farEnd, port), far
					control = func(fd int) error { return unix.BindToDevice(fd, "red") }
				}
				in := listen(r, at, netip.AddrPortFrom(netip.IPv4Unspecified(), port))
				burst{to: to, flows: 50, packets: 4, control: control}.send(r, from)
				return r.end(in, 200)
			}})
		})
	}
}

// TestESP: a policy requires ESP; packets pass the hooks twice, as ESP and decrypted or not yet encrypted. Clear text
// is dropped.
func TestESP(t *testing.T) {
	needsESP(t)
	for _, mode := range []string{"transport", "tunnel"} {
		for _, place := range []string{"input", "output", "verdict3"} {
			t.Run(mode+" "+place, func(t *testing.T) {
				sideBySide(t, scenario{arrive: 200, clashes: 50, unjudged: true, disorder: true, confirmed: true, play: func(r *run) outcome {
					near, far := twoEnds(r)
					from, to, other := far, nearEnd, farEnd
					if place == "output" {
						from, to, other = near, farEnd, nearEnd
					}
					receiver := map[netip.Addr]*netlab.NetNS{nearEnd: near, farEnd: far}[to]
					for ns, direction := range map[*netlab.NetNS]string{from: "out", receiver: "in"} {
						childtest.Shell(r, ns, espState(other, to, mode)+fmt.Sprintf(
							"\nip xfrm policy add src %v dst %v proto udp dport %d dir %s tmpl src %[1]v dst %[2]v proto esp spi 0x100 mode %[5]s", other, to, port, direction, mode))
					}
					r.daemon(near, analysis+"rules: {placement: "+place+", "+bothPorts+"}")
					in := listen(r, receiver, netip.AddrPortFrom(to, port))
					burst{to: netip.AddrPortFrom(to, port), flows: 50, packets: 4}.send(r, from)
					o := r.end(in, 200)
					if n := childtest.Shell(r, receiver, "ip -s xfrm state"); !strings.Contains(n, "replay") {
						r.Errorf("no state: %s", n)
					}
					return o
				}})
			})
		}
	}
}

// espState makes what both ends of a one-way association need.
func espState(from, to netip.Addr, mode string) string {
	// A cipher of which nothing has to be random: guests have no source of that.
	return fmt.Sprintf("ip xfrm state add src %v dst %v proto esp spi 0x100 mode %s enc 'ecb(cipher_null)' '' auth 'hmac(sha1)' 0x%s",
		from, to, mode, strings.Repeat("01", 20))
}

// needsESP skips the test where the kernel has none.
func needsESP(t testing.TB) {
	t.Helper()
	out := childtest.Shell(t, emptyHost(t), espState(nearEnd, farEnd, "transport")+" 2>&1 || true")
	if strings.Contains(out, "not supported") || strings.Contains(out, "not found") {
		t.Skipf("this kernel has no ESP: %s", out)
	}
	if out != "" {
		t.Fatal(out)
	}
}

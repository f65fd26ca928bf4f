package attacks

import (
	"net/netip"
	"testing"

	"verdictd/daemon/internal/childtest"
)

// balancers send a flow to one of two backends at random, as kube-proxy's rules do.
var balancers = map[string]string{
	"iptables": `
		iptables -t nat -A PREROUTING -d 192.0.2.99 -p udp --dport 5300 -m statistic --mode random --probability 0.5 -j DNAT --to-destination 192.0.2.1
		iptables -t nat -A PREROUTING -d 192.0.2.99 -p udp --dport 5300 -j DNAT --to-destination 192.0.2.2`,
	"nftables": `
		nft add table ip balance
		nft add chain ip balance in '{ type nat hook prerouting priority dstnat; }'
		nft add rule ip balance in ip daddr 192.0.2.99 udp dport 5300 dnat to numgen random mod 2 map '{ 0: 192.0.2.1, 1: 192.0.2.2 }'`,
}

// TestRandomBackends: all packets of a flow go to one backend.
func TestRandomBackends(t *testing.T) {
	const flows, packets = 300, 3
	for name, rules := range balancers {
		t.Run(name, func(t *testing.T) {
			sideBySide(t, scenario{
				arrive: flows * packets, clashes: flows / 2, disorder: true, confirmed: true, beside: true,
				play: func(r *run) outcome {
					h := routed(r, "ipv4")
					childtest.Shell(r, h.Queue, rules)
					r.daemon(h.Queue, analysis+"rules: {placement: forward, destination_ports: [5300]}")
					in := listen(r, h.Receiver, h.target(port), netip.AddrPortFrom(h.Second, port))
					burst{to: netip.AddrPortFrom(h.Virtual, port), flows: flows, packets: packets}.send(r, h.Sender)
					o := r.end(in, flows*packets)
					o.figures["split"] = float64(split(o.arrivals))
					return o
				},
				more: func(t *testing.T, off, hold outcome) {
					if off.figures["split"] == 0 || hold.figures["split"] != 0 {
						t.Errorf("%v flows split without the guard, %v with it; want some and none", off.figures["split"], hold.figures["split"])
					}
				},
			})
		})
	}
}

// split counts flows whose packets came to more than one receiver.
func split(arrivals []arrival) (n int) {
	at, counted := map[uint32]netip.AddrPort{}, map[uint32]bool{}
	for _, a := range arrivals {
		first, seen := at[a.flow]
		if !seen {
			at[a.flow] = a.to
		} else if first != a.to && !counted[a.flow] {
			counted[a.flow] = true
			n++
		}
	}
	return n
}

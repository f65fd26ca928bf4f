package attacks

import (
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"verdictd/daemon/internal/childtest"
	"verdictd/internal/netlab"
)

// The rows C1 to C8: places where copies of packets went another way than the
// packets, or verdicts were given out of order.

// slowly makes verdicts so slow that several packets of both ends meet in the queue.
const slowly = "analysis: {distribution: fixed, delay: 3ms, per: packet}\n"

// C1: behind the queue a rule drops the second of four packets. None of the
// others may wait for it in the kernel's queue.
func TestSecondDroppedBehind(t *testing.T) {
	sideBySide(t, scenario{
		guard: patient, arrive: 150, clashes: 50,
		play: func(r *run) outcome {
			h := oneHost(r, "ipv4")
			childtest.NFT(r, h.Queue, "table inet behind { chain post { type filter hook postrouting priority 0; "+sequenceIs(1)+" drop; }; }")
			r.daemon(h.Queue, analysis+"rules: {placement: postrouting, destination_ports: [5300]}")
			in := listen(r, h.Receiver, h.target(port))
			burst{to: h.target(port), flows: 50, packets: 4, pause: 2 * time.Millisecond}.send(r, h.Sender)
			o := r.end(in, 150)
			if d := o.longest(); d > stuck {
				r.Errorf("a packet was on its way for %v: it waited in the kernel's queue", d)
			}
			return o
		},
	})
}

// C1 where it is the first that is dropped: the second is to be let go alone.
func TestFirstDroppedBehind(t *testing.T) {
	sideBySide(t, scenario{
		guard: patient, arrive: 150, clashes: 50,
		play: func(r *run) outcome {
			h := oneHost(r, "ipv4")
			childtest.NFT(r, h.Queue, "table inet behind { chain post { type filter hook postrouting priority 0; "+sequenceIs(0)+" drop; }; }")
			r.daemon(h.Queue, analysis+"rules: {placement: postrouting, destination_ports: [5300]}")
			in := listen(r, h.Receiver, h.target(port))
			burst{to: h.target(port), flows: 50, packets: 4, pause: 2 * time.Millisecond}.send(r, h.Sender)
			o := r.end(in, 150)
			if d := o.longest(); d > stuck {
				r.Errorf("a packet was on its way for %v", d)
			}
			return o
		},
	})
}

// ports are as many destination ports from port on, for a list of the configuration.
func ports(n int) string {
	var list []string
	for i := range n {
		list = append(list, fmt.Sprint(port+i))
	}
	return "[" + strings.Join(list, ", ") + "]"
}

// fromBothEnds sends a packet each way in each of some pairs of equal ports, at
// once, and then another one each way.
func fromBothEnds(t testing.TB, in *sink, pairs int, a *netlab.NetNS, addressA netip.Addr, b *netlab.NetNS, addressB netip.Addr) {
	t.Helper()
	for i := range pairs {
		endA, endB := netip.AddrPortFrom(addressA, uint16(port+i)), netip.AddrPortFrom(addressB, uint16(port+i))
		connA, connB := dial(t, a, endA, endB, nil), dial(t, b, endB, endA, nil)
		in.take(t, connA)
		in.take(t, connB)
		began := make(chan struct{})
		done := make(chan struct{})
		go func() {
			defer close(done)
			<-began
			burst{packets: 2}.sendFlow(t, connB)
		}()
		close(began)
		burst{packets: 2}.sendFlow(t, connA)
		<-done
	}
}

// C2: flows that begin at both ends at once, as WireGuard's, IKE's and RTP's do.
func TestBothEndsBegin(t *testing.T) {
	const pairs = 20
	for _, placement := range []string{"forward", "output", "verdict3"} {
		t.Run(placement, func(t *testing.T) {
			sideBySide(t, scenario{
				arrive: 4 * pairs, clashes: pairs / 2,
				play: func(r *run) outcome {
					config := slowly + "rules: {placement: " + placement + ", destination_ports: " + ports(pairs) + "}"
					in := &sink{}
					if placement == "forward" {
						h := routed(r, "ipv4")
						r.daemon(h.Queue, config)
						fromBothEnds(r, in, pairs, h.Sender, h.Sources, h.Receiver, h.Target)
					} else {
						near, far := twoEnds(r)
						r.daemon(near, config)
						fromBothEnds(r, in, pairs, near, nearEnd, far, farEnd)
					}
					return r.end(in, 4*pairs)
				},
			})
		})
	}
}

// C3: another program's queue holds packets 120 ms, in front of the daemon's or
// (G2) behind it. The daemon's own verdict proves nothing then.
func TestAnotherQueue(t *testing.T) {
	for name, test := range map[string]struct{ foreign, own string }{
		"in front": {"OUTPUT", "postrouting"},
		"behind":   {"POSTROUTING", "output"},
	} {
		t.Run(name, func(t *testing.T) {
			sideBySide(t, scenario{
				guard: patient, arrive: 400, clashes: 150,
				play: func(r *run) outcome {
					h := oneHost(r, "ipv4")
					queueTo(r, h.Queue, test.foreign, foreignQueue)
					f := startForeign(r, h.Queue, foreignConfig{Queue: foreignQueue, Delay: 120 * time.Millisecond})
					r.daemon(h.Queue, "rules: {placement: "+test.own+", destination_ports: [5300]}")
					in := listen(r, h.Receiver, h.target(port))
					burst{to: h.target(port), flows: 100, packets: 4, pause: time.Millisecond}.send(r, h.Sender)
					o := r.end(in, 400)
					if d := o.longest(); d > stuck {
						r.Errorf("a packet was on its way for %v", d)
					}
					if got := f.end(); got.Received != 400 || got.Errors != 0 {
						r.Errorf("the other program: %+v, want 400 packets", got)
					}
					return o
				},
			})
		})
	}
}

// C4: an exact fwmark chooses the second uplink.
func TestExactMarkChoosesUplink(t *testing.T) {
	target := netip.MustParseAddrPort("203.0.113.5:5300")
	sideBySide(t, scenario{
		arrive: 40, clashes: 10,
		play: func(r *run) outcome {
			near, far := twoEnds(r)
			cable(r, near, "near1", "198.51.100.1/24", far, "far1", "198.51.100.2/24")
			childtest.Shell(r, far, "ip addr add 203.0.113.5/32 dev lo")
			childtest.Shell(r, near, "ip route add default via 192.0.2.2; ip route add default via 198.51.100.2 table 100; ip rule add fwmark 1 lookup 100")
			countAt(r, far, map[string]string{"second": "iifname far1 udp dport 5300"})
			r.daemon(near, slowly+"rules: {placement: output, destination_ports: [5300]}")
			in := listen(r, far, target)
			burst{to: target, flows: 10, packets: 4, control: option(unix.SOL_SOCKET, unix.SO_MARK, 1)}.send(r, near)
			o := r.end(in, 40)
			if n := counted(r, far, "second"); n != 40 {
				r.Errorf("%d of 40 took the second uplink", n)
			}
			return o
		},
	})
}

// C5: DNAT before the queue in FORWARD, two questions from one socket.
func TestTwoQuestionsThroughDNAT(t *testing.T) {
	const sockets = 50
	sideBySide(t, scenario{
		arrive: 2 * sockets, clashes: sockets / 2, unjudged: true,
		play: func(r *run) outcome {
			h := routed(r, "ipv4")
			if err := h.Redirect("ipv4"); err != nil {
				r.Fatal(err)
			}
			r.daemon(h.Queue, slowly+"rules: {placement: forward, destination_ports: [5300]}")
			listenAnswering(r, h.Receiver, h.target(port))
			answers := &sink{}
			virtual := netip.AddrPortFrom(h.Virtual, port)
			for range sockets {
				conn := dial(r, h.Sender, netip.AddrPort{}, virtual, nil)
				answers.take(r, conn)
				burst{packets: 2}.sendFlow(r, conn)
				time.Sleep(2 * time.Millisecond)
			}
			return r.end(answers, 2*sockets)
		},
	})
}

// C6: INPUT's policy is drop, and what comes in at the right interface is accepted.
func TestAcceptedByInterface(t *testing.T) {
	sideBySide(t, scenario{
		arrive: 40, clashes: 10,
		play: func(r *run) outcome {
			h := twoHosts(r, "ipv4")
			childtest.NFT(r, h.Queue, "table inet firewall { chain in { type filter hook input priority 0; policy drop; iifname eth0 accept; }; }")
			r.daemon(h.Queue, slowly+"rules: {placement: input, destination_ports: [5300]}")
			in := listen(r, h.Receiver, h.target(port))
			burst{to: h.target(port), flows: 10, packets: 4}.send(r, h.Sender)
			return r.end(in, 40)
		},
	})
}

// C7: a rate limit in OUTPUT, before the queue, must count each packet once.
func TestRateLimitCountsOnce(t *testing.T) {
	sideBySide(t, scenario{
		arrive: 40, clashes: 10,
		play: func(r *run) outcome {
			h := oneHost(r, "ipv4")
			childtest.NFT(r, h.Queue, `table inet limits { chain out { type filter hook output priority 0;
				udp dport 5300 limit rate 1/minute burst 45 packets accept
				udp dport 5300 drop
			}; }`)
			r.daemon(h.Queue, slowly+"rules: {placement: postrouting, destination_ports: [5300]}")
			in := listen(r, h.Receiver, h.target(port))
			burst{to: h.target(port), flows: 10, packets: 4}.send(r, h.Sender)
			return r.end(in, 40)
		},
	})
}

// C8: two queues in turn, and a rule in OUTPUT that drops every third packet.
// Nobody promises order over two queues in turn.
func TestDropByTurnsBeforeQueuesInTurn(t *testing.T) {
	sideBySide(t, scenario{
		arrive: 80, clashes: 20,
		play: func(r *run) outcome {
			h := oneHost(r, "ipv4")
			childtest.NFT(r, h.Queue, `table inet turns { chain out { type filter hook output priority 0;
				udp dport 5300 numgen inc mod 3 2 drop
			}; }`)
			r.daemon(h.Queue, slowly+"queues: {count: 2}\nrules: {placement: postrouting, fanout: numgen, destination_ports: [5300]}")
			in := listen(r, h.Receiver, h.target(port))
			burst{to: h.target(port), flows: 30, packets: 4}.send(r, h.Sender)
			o := r.end(in, 80)
			o.reordered = 0
			return o
		},
	})
}

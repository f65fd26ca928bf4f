package attacks

import (
	"fmt"
	"net/netip"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"verdictd/daemon/internal/childtest"
	"verdictd/internal/config"
	"verdictd/internal/netlab"
	"verdictd/internal/testkit"
)

// The rows G10 to G14: base chains that come and go, what never enters, a gate that is killed, and bounds.

// G10: a base chain is deleted, anybody's, while packets are held. The kernel
// drops all that waits in queues. Good packets of those flows must not wait for
// the ones that are no more.
func TestBaseChainDeletedWhileHeld(t *testing.T) {
	_, hold, both := bothModes(t, patient, func(r *run) outcome {
		h := oneHost(r, "ipv4")
		queueTo(r, h.Queue, "OUTPUT", foreignQueue)
		childtest.NFT(r, h.Queue, "table inet unrelated { chain c { type filter hook input priority 100; }; }")
		f := startForeign(r, h.Queue, foreignConfig{Queue: foreignQueue})
		r.before(h.Queue, fmt.Sprint(foreignQueue))
		in := listen(r, h.Receiver, h.target(port))
		conns := flows(r, h.Sender, h.target(port), 20)
		f.Signal(syscall.SIGSTOP)
		for _, conn := range conns {
			burst{packets: 4}.sendFlow(r, conn)
		}
		awaitQueued(r, h.Queue, 80)
		childtest.Shell(r, h.Queue, "nft delete table inet unrelated")
		f.Signal(syscall.SIGCONT)
		time.Sleep(20 * time.Millisecond)
		good := flowNumber.Load()
		for _, conn := range conns {
			burst{packets: 4}.sendFlow(r, conn)
		}
		o := r.endBefore(in, 80)
		for i, a := range o.arrivals {
			if a.flow <= good {
				r.Logf("packet %d of flow %d outlived the chain", a.number, a.flow)
				o.arrivals[i].sent = a.at // it was stopped on purpose
			}
		}
		if d := o.longest(); d > stuck {
			r.Errorf("a good packet was on its way for %v: it waited for those that are no more", d)
		}
		return o
	})
	if both && (hold.arrived < 80 || hold.duplicated+hold.reordered != 0 || hold.clashes != 0) {
		t.Errorf("%v; want the 80 packets after the deletion, no clashes", hold)
	}
}

// G11: a base chain is added before the gate while packets are held: what is let
// go then runs into the gate's rule once more.
func TestBaseChainAddedWhileHeld(t *testing.T) {
	sideBySide(t, scenario{
		guard: patient, arrive: 80, clashes: 20,
		play: func(r *run) outcome {
			h := oneHost(r, "ipv4")
			queueTo(r, h.Queue, "OUTPUT", foreignQueue)
			startForeign(r, h.Queue, foreignConfig{Queue: foreignQueue, Delay: 200 * time.Millisecond})
			r.before(h.Queue, fmt.Sprint(foreignQueue))
			in := listen(r, h.Receiver, h.target(port))
			burst{to: h.target(port), flows: 20, packets: 4}.send(r, h.Sender)
			time.Sleep(50 * time.Millisecond)
			childtest.NFT(r, h.Queue, "table inet early { chain c { type filter hook output priority -400; }; }")
			o := r.endBefore(in, 80)
			if d := o.longest(); d > stuck {
				r.Errorf("a packet was on its way for %v", d)
			}
			return o
		},
	})
}

// G12: neighbour discovery, ICMP errors and multicast control never enter the
// gate, though the daemon judges all of ICMP.
func TestControlNeverEnters(t *testing.T) {
	testkit.Require(t)
	_, hold, both := bothModes(t, "", func(r *run) outcome {
		near, far := emptyHost(r), emptyHost(r)
		cable(r, near, "near0", "2001:db8::1/64", far, "far0", "2001:db8::2/64")
		childtest.Shell(r, near, "ip addr add 192.0.2.1/24 dev near0; sysctl -qw net.ipv4.icmp_ratelimit=0 net.ipv6.icmp.ratelimit=0")
		childtest.Shell(r, far, "ip addr add 192.0.2.2/24 dev far0")
		countAt(r, far, map[string]string{"refused": "icmp type destination-unreachable", "refused6": "icmpv6 type destination-unreachable"})
		r.daemon(near, slowly+"rules: {placement: output, protocols: [icmp, icmpv6]}")
		in := listen(r, far, netip.MustParseAddrPort("192.0.2.2:9"))
		for i := range 20 {
			// To ports that nobody listens at, for errors in answer, and to neighbours that nobody is.
			burst{to: netip.MustParseAddrPort("192.0.2.1:7"), flows: 1, packets: 2}.send(r, far)
			burst{to: netip.MustParseAddrPort("[2001:db8::1]:7"), flows: 1, packets: 2}.send(r, far)
			absent := netip.AddrPortFrom(netip.MustParseAddr(fmt.Sprintf("2001:db8::f%02x", i)), 9)
			burst{to: absent, flows: 1, packets: 4}.send(r, near)
		}
		childtest.Shell(r, near, "ip addr add 2001:db8::77/64 dev near0; ip maddr show dev near0 >/dev/null; ip addr del 2001:db8::77/64 dev near0")
		o := r.end(in, 0)
		o.figures["refused"] = float64(counted(r, far, "refused") + counted(r, far, "refused6"))
		return o
	})
	if !both {
		return
	}
	if g := hold.statistics.Gate.Total; g.Received != 0 {
		t.Errorf("%d packets entered the gate: %+v", g.Received, g)
	}
	if n := hold.figures["refused"]; n < 20 {
		t.Errorf("%v errors arrived", n)
	}
}

// G13: the gate is killed, and started again, while first packets are on their
// way in another program's queue. What it held is lost with its queue, which is
// stated; what comes afterwards belongs to flows that are pending, and the new
// gate cannot know by itself. Without a journal it has to take every flow that
// conntrack lacks for pending until all that was queued before is judged.
func TestGateKilledAndStartedAgain(t *testing.T) {
	const many = 100
	off, hold, both := bothModes(t, "", func(r *run) outcome {
		h := oneHost(r, "ipv4")
		queueTo(r, h.Queue, "OUTPUT", foreignQueue)
		startForeign(r, h.Queue, foreignConfig{Queue: foreignQueue, Delay: 900 * time.Millisecond})
		r.before(h.Queue, fmt.Sprint(foreignQueue))
		in := listen(r, h.Receiver, h.target(port))
		conns := flows(r, h.Sender, h.target(port), many)
		for _, conn := range conns {
			burst{packets: 1}.sendFlow(r, conn)
		}
		if r.child != nil {
			gate := config.Default().Guard.FirstQueue
			eventually(r, "all first packets in the other program's queue", func() bool { return waiting(r, h.Queue, gate) == 0 })
			r.child.Kill()
			before := r.clashes
			r.before(h.Queue, fmt.Sprint(foreignQueue))
			r.clashes = before
		}
		for _, conn := range conns {
			burst{packets: 2}.sendFlow(r, conn)
		}
		in.await(3*many, 3*time.Second)
		o := r.endBefore(in, 3*many)
		o.longest()
		return o
	})
	if !both {
		return
	}
	if hold.arrived != 3*many || hold.duplicated+hold.reordered != 0 {
		t.Errorf("%v; want %d packets in order", hold, 3*many)
	}
	if hold.clashes != 0 {
		t.Errorf("%d clashes after the gate was started again, %d without it", hold.clashes, off.clashes)
	}
}

// segments is what one call with UDP_SEGMENT sends.
const (
	segment  = 1200
	segments = 50
)

// G14: long packets that are yet to be segmented are held by the bytes that they
// keep, and beyond the bound they go on.
func TestHeldSegmentsAreBounded(t *testing.T) {
	const (
		many  = 40
		sends = 3
		bound = 1 << 20
	)
	var most uint64
	_, hold, both := bothModes(t, fmt.Sprintf("bytes: %d", bound), func(r *run) outcome {
		near, far := twoEnds(r)
		to := netip.AddrPortFrom(farEnd, port)
		queueTo(r, near, "OUTPUT", foreignQueue)
		startForeign(r, near, foreignConfig{Queue: foreignQueue, GSO: true, Delay: 200 * time.Millisecond})
		r.before(near, fmt.Sprint(foreignQueue))
		in := listenLarge(r, far, to)
		sendSegments(r, near, to, many, sends)
		o := r.endBefore(in, many*sends*segments)
		if r.mode == "hold" {
			most = o.statistics.Gate.Total.MaxBytes
		}
		return o
	})
	if !both {
		return
	}
	if hold.arrived != many*sends*segments || hold.duplicated+hold.reordered != 0 {
		t.Errorf("%d of %d segments arrived, %d twice, %d out of order", hold.arrived, many*sends*segments, hold.duplicated, hold.reordered)
	}
	if most == 0 || most > bound {
		t.Errorf("%v bytes were held, of %d at most", most, bound)
	}
	if g := hold.statistics.Gate.Total; g.Unguarded == 0 {
		t.Errorf("none is counted as unguarded: %+v", g)
	}
}

// sendSegments sends long packets, each of many segments, on as many flows.
func sendSegments(t testing.TB, ns *netlab.NetNS, to netip.AddrPort, many, sends int) {
	t.Helper()
	buf := make([]byte, segment*segments)
	for range many {
		conn, flow := dial(t, ns, netip.AddrPort{}, to, option(unix.IPPROTO_UDP, unix.UDP_SEGMENT, segment)), flowNumber.Add(1)
		t.Cleanup(func() { _ = conn.Close() })
		for i := range sends {
			for s := range segments {
				packet(buf[s*segment:], flow, uint32(i*segments+s))
			}
			if _, err := conn.Write(buf); err != nil {
				t.Fatal(err)
			}
		}
	}
}

// TestHeldSegments: within the bounds they are held whole, and nothing clashes.
func TestHeldSegments(t *testing.T) {
	sideBySide(t, scenario{
		arrive: 20 * 3 * segments, clashes: 20,
		play: func(r *run) outcome {
			near, far := twoEnds(r)
			to := netip.AddrPortFrom(farEnd, port)
			queueTo(r, near, "OUTPUT", foreignQueue)
			startForeign(r, near, foreignConfig{Queue: foreignQueue, GSO: true, Delay: 20 * time.Millisecond})
			r.before(near, fmt.Sprint(foreignQueue))
			in := listenLarge(r, far, to)
			sendSegments(r, near, to, 20, 3)
			return r.endBefore(in, 20*3*segments)
		},
	})
}

// TestRulesAddedLater: rules that come after the start, at another hook than
// those that were there, are noticed.
func TestRulesAddedLater(t *testing.T) {
	for _, foreign := range []bool{false, true} {
		t.Run(map[bool]string{false: "own queue", true: "another program's"}[foreign], func(t *testing.T) {
			sideBySide(t, scenario{
				arrive: 200, clashes: 50, unjudged: true,
				play: func(r *run) outcome {
					near, far := twoEnds(r)
					to := netip.AddrPortFrom(farEnd, port)
					if foreign {
						queueTo(r, near, "INPUT", foreignQueue)
						startForeign(r, near, foreignConfig{Queue: foreignQueue, Think: 300 * time.Microsecond})
						r.before(near, fmt.Sprint(foreignQueue))
						queueTo(r, near, "POSTROUTING", foreignQueue)
					} else {
						queueTo(r, near, "INPUT", 0)
						r.daemon(near, analysis+"rules: {install: false}")
						queueTo(r, near, "POSTROUTING", 0)
					}
					if r.child != nil {
						r.child.AwaitLog("POSTROUTING")
						time.Sleep(300 * time.Millisecond) // to refill the gate's rules
					}
					in := listen(r, far, to)
					burst{to: to, flows: 50, packets: 4}.send(r, near)
					return r.endBefore(in, 200)
				},
			})
		})
	}
}

// TestFailOpen: what a full queue lets pass unjudged must not overtake packets
// that the gate holds. It overtakes those in the queue, of flows that are
// confirmed, with the guard as without it: no more than were judged.
func TestFailOpen(t *testing.T) {
	_, hold, both := bothModes(t, "", func(r *run) outcome {
		near, far := twoEnds(r)
		to := netip.AddrPortFrom(farEnd, port)
		r.daemon(near, "queues: {max_length: 20, fail_open: true}\nanalysis: {distribution: fixed, delay: 1ms, per: packet}\nrules: {placement: output, destination_ports: [5300]}")
		in := listen(r, far, to)
		burst{to: to, flows: 200, packets: 4}.send(r, near)
		return r.end(in, 800)
	})
	if !both {
		return
	}
	if hold.arrived != 800 || hold.duplicated != 0 {
		t.Errorf("%d of 800 arrived, %d twice", hold.arrived, hold.duplicated)
	}
	if judged := hold.statistics.Total.Received; uint64(hold.reordered) > judged || hold.clashes != 0 {
		t.Errorf("%d out of order and %d clashes, with %d packets judged", hold.reordered, hold.clashes, judged)
	}
}

package attacks

import (
	"errors"
	"net/netip"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"verdictd/daemon/internal/childtest"
)

// other is a port that the rules queue as well, for what must arrive while packets to the first do not.
const other = 5301

const bothPorts = "destination_ports: [5300, 5301]"

// dropsPort checks that nothing came to the port whose packets are to be dropped.
func dropsPort(t *testing.T, off, hold outcome) {
	t.Helper()
	for _, a := range append(off.arrivals, hold.arrivals...) {
		if a.to.Port() == port {
			t.Errorf("flow %d, packet %d of %d bytes passed what drops it", a.flow, a.number, a.bytes)
		}
	}
}

// both sends 50 flows of 4 packets to either port, those to be dropped first.
func (h hosts) both(t testing.TB) {
	for _, p := range []uint16{port, other} {
		burst{to: h.target(p), flows: 50, packets: 4}.send(t, h.Sender)
	}
}

// TestHarness is the plain case in the three topologies: everything arrives, and clashes without the guard.
func TestHarness(t *testing.T) {
	for name, test := range map[string]struct {
		hosts     func(testing.TB, ...string) hosts
		placement string
	}{
		"one host": {oneHost, "output"}, "two hosts": {twoHosts, "input"}, "router": {routed, "forward"},
	} {
		t.Run(name, func(t *testing.T) {
			sideBySide(t, scenario{arrive: 200, clashes: 50, confirmed: true, beside: true, play: func(r *run) outcome {
				h := test.hosts(r, "ipv4")
				r.daemon(h.Queue, analysis+"rules: {placement: "+test.placement+", destination_ports: [5300]}")
				in := listen(r, h.Receiver, h.target(port))
				burst{to: h.target(port), flows: 50, packets: 4}.send(r, h.Sender)
				return r.end(in, 200)
			}})
		})
	}
}

// TestQueueBeforeForwardPolicy: the operator queues in mangle's PREROUTING; what FORWARD drops does not get through.
func TestQueueBeforeForwardPolicy(t *testing.T) {
	sideBySide(t, scenario{
		guard: patient, arrive: 200, clashes: 50, beside: true,
		play: func(r *run) outcome {
			h := routed(r, "ipv4")
			childtest.Shell(r, h.Queue, `
				iptables -t mangle -A PREROUTING -p udp --dport 5300:5301 -j NFQUEUE --queue-num 0 --queue-bypass
				iptables -P FORWARD DROP
				iptables -A FORWARD -p udp --dport 5301 -j ACCEPT`)
			r.daemon(h.Queue, analysis+"rules: {install: false}")
			in := listen(r, h.Receiver, h.target(port), h.target(other))
			h.both(r)
			return r.end(in, 200)
		},
		more: dropsPort,
	})
}

// TestRuleBehindLooksAtEachPacket: a rule behind the queue looks at each packet; a flow's first packet passes it, the
// others do not.
func TestRuleBehindLooksAtEachPacket(t *testing.T) {
	for name, test := range map[string]struct {
		hosts        func(testing.TB, ...string) hosts
		chain, place string
	}{
		"forward": {routed, "FORWARD", "forward"}, "input": {twoHosts, "INPUT", "input"},
	} {
		t.Run(name, func(t *testing.T) {
			sideBySide(t, scenario{
				guard: patient, arrive: 50,
				play: func(r *run) outcome {
					h := test.hosts(r, "ipv4")
					childtest.Shell(r, h.Queue, "iptables -A "+test.chain+" -p udp -m length --length 128:65535 -j DROP")
					r.daemon(h.Queue, analysis+"rules: {placement: "+test.place+", destination_ports: [5300]}")
					in := listen(r, h.Receiver, h.target(port))
					long := func(i int) int { return i * 200 }
					burst{to: h.target(port), flows: 50, packets: 4, size: long}.send(r, h.Sender)
					return r.end(in, 200)
				},
				more: func(t *testing.T, _, hold outcome) {
					if g := hold.statistics.Gate.Total; g.Held == 0 {
						t.Errorf("no packet was held: %+v", g)
					}
				},
			})
		})
	}
}

// TestPolicyRequiresESP: a policy requires ESP of what comes in; clear text is dropped when it gets to its socket.
// Whether ESP that is decrypted here passes cannot be tried where the kernel has no ESP: lab kernel does.
func TestPolicyRequiresESP(t *testing.T) {
	sideBySide(t, scenario{
		guard: patient, arrive: 200, clashes: 50, beside: true,
		play: func(r *run) outcome {
			h := twoHosts(r, "ipv4")
			childtest.Shell(r, h.Queue, `ip xfrm policy add dir in proto udp dport 5300 tmpl proto esp mode transport`)
			r.daemon(h.Queue, analysis+"rules: {placement: input, "+bothPorts+"}")
			in := listen(r, h.Receiver, h.target(port), h.target(other))
			h.both(r)
			return r.end(in, 200)
		},
		more: dropsPort,
	})
}

// TestDeadNeighbors: somebody sends bursts to neighbours that do not exist, all the time; another flow does not suffer.
func TestDeadNeighbors(t *testing.T) {
	for name, local := range map[string]bool{"a local user": true, "through the router": false} {
		t.Run(name, func(t *testing.T) {
			sideBySide(t, scenario{
				arrive: 1000, unjudged: true, confirmed: true, overtaken: 10,
				play: func(r *run) outcome {
					h := routed(r, "ipv4")
					sender, place := h.Sender, "forward"
					if local {
						sender, place = h.Queue, "output"
					}
					r.daemon(h.Queue, "rules: {placement: "+place+", destination_ports: [5300]}")
					in := listen(r, h.Receiver, h.target(port))
					good := dial(r, sender, netip.AddrPort{}, h.target(port), nil)
					ended := make(chan struct{})
					go func() {
						defer close(ended)
						for i := range 60 {
							dead := netip.AddrPortFrom(h.Target.Next().Next(), port)
							if i%2 == 1 {
								dead = netip.AddrPortFrom(dead.Addr().Next(), port)
							}
							burst{to: dead, flows: 5, packets: 4}.send(r, sender)
							time.Sleep(20 * time.Millisecond)
						}
					}()
					steady(r, good, 1000, time.Millisecond)
					<-ended
					o := r.end(in, 1000)
					o.figures["delay"] = delay(o.arrivals).Seconds()
					return o
				},
				more: asSoon,
			})
		})
	}
}

// asSoon: the longest delay with the guard is as without it, up to what a busy machine adds.
func asSoon(t *testing.T, off, hold outcome) {
	t.Helper()
	const busy = 1
	if a, b := off.figures["delay"], hold.figures["delay"]; b > a+busy {
		t.Errorf("a packet took %.3f s with the guard, %.3f s without", b, a)
	}
}

// TestMarksPassNothing: marks do not take packets past the policy, whoever sets them.
func TestMarksPassNothing(t *testing.T) {
	sideBySide(t, scenario{
		guard: patient, arrive: 200, clashes: 50, beside: true,
		play: func(r *run) outcome {
			h := oneHost(r, "ipv4")
			childtest.Shell(r, h.Queue, `
				iptables -t mangle -A OUTPUT -j CONNMARK --restore-mark
				iptables -t mangle -A POSTROUTING -j CONNMARK --save-mark`)
			r.daemon(h.Queue, analysis+"rules: {placement: output, "+bothPorts+"}\n"+dropPort)
			in := listen(r, h.Receiver, h.target(port), h.target(other))
			for _, m := range []uint32{0, 1, 1 << 30, 1 << 31, 1<<32 - 1} {
				mark := func(fd int) error { return unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_MARK, int(m)) }
				for _, p := range []uint16{port, other} {
					burst{to: h.target(p), flows: 10, packets: 4, control: mark}.send(r, h.Sender)
				}
			}
			return r.end(in, 200)
		},
		more: dropsPort,
	})
}

// dropPort is a policy that drops what goes to one port.
const dropPort = `policy: {rules: [{name: closed, action: drop, protocols: [udp], destination_ports: ["5300"]}]}
`

// TestTwoDaemons: what one lets pass, the other still judges.
func TestTwoDaemons(t *testing.T) {
	sideBySide(t, scenario{
		guard: patient, arrive: 200, clashes: 50, beside: true,
		play: func(r *run) outcome {
			h := oneHost(r, "ipv4")
			second := "guard: {mode: off}\n"
			if r.mode != "off" {
				second = "guard: {mode: hold, first_queue: 50000, hold: 5s}\n"
			}
			b := childtest.Daemon(r, h.Queue, second+analysis+dropPort+
				"queues: {first: 7}\nrules: {table: second, placement: postrouting, "+bothPorts+"}")
			r.daemon(h.Queue, analysis+"rules: {placement: output, "+bothPorts+"}")
			in := listen(r, h.Receiver, h.target(port), h.target(other))
			h.both(r)
			o := r.end(in, 200)
			s := b.Stop()
			r.Logf("the second daemon: verdicts %+v, gate %+v", s.Total, s.Gate.Total)
			if s.Total.Received != 400 || s.Total.Dropped != 200 {
				r.Error("the second daemon was to judge 400 packets and drop 200")
			}
			return o
		},
		more: dropsPort,
	})
}

// TestTransparentProxy: a fwmark and a local route take packets to a proxy that is here, as they pass INPUT.
func TestTransparentProxy(t *testing.T) {
	sideBySide(t, scenario{
		guard: patient, arrive: 200, clashes: 50, beside: true,
		play: func(r *run) outcome {
			h := routed(r, "ipv4")
			childtest.Shell(r, h.Queue, `
				iptables -t mangle -A PREROUTING -p udp --dport 5300 -j MARK --set-mark 1
				ip rule add fwmark 1 lookup 100
				ip route add local default dev lo table 100`)
			r.daemon(h.Queue, analysis+"rules: {placement: input, destination_ports: [5300]}")
			proxy := &sink{}
			transparent := func(fd int) error { return unix.SetsockoptInt(fd, unix.SOL_IP, unix.IP_TRANSPARENT, 1) }
			proxy.add(r, h.Queue, transparent, netip.AddrPortFrom(netip.IPv4Unspecified(), port))
			server := listen(r, h.Receiver, h.target(port))
			burst{to: h.target(port), flows: 50, packets: 4}.send(r, h.Sender)
			o := r.end(proxy, 200)
			if n := len(server.arrivals()); n > 0 {
				r.Errorf("%d packets left for the real server", n)
			}
			return o
		},
	})
}

// steady sends so many packets of one flow, one every interval.
func steady(t testing.TB, conn interface{ Write([]byte) (int, error) }, packets int, every time.Duration) {
	t.Helper()
	flow, buf, tick := flowNumber.Add(1), make([]byte, headerBytes), time.NewTicker(every)
	defer tick.Stop()
	for n := range packets {
		<-tick.C
		packet(buf, flow, uint32(n))
		if _, err := conn.Write(buf); err != nil && !errors.Is(err, unix.ENOBUFS) {
			t.Errorf("send: %v", err)
			return
		}
	}
}

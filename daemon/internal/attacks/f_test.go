package attacks

import (
	"net/netip"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"verdictd/daemon/internal/childtest"
	"verdictd/internal/netlab"
	"verdictd/internal/testkit"
)

// TestAnswersThroughDNAT: DNAT stands before the queue. Answers come, and from the address that was asked.
func TestAnswersThroughDNAT(t *testing.T) {
	for name, test := range map[string]struct {
		hosts     func(testing.TB, ...string) hosts
		placement string
		family    string
	}{
		"postrouting":        {routed, "postrouting", "ipv4"},
		"postrouting, ipv6":  {routed, "postrouting", "ipv6"},
		"verdict3":           {routed, "verdict3", "ipv4"},
		"verdict3, one host": {oneHost, "verdict3", "ipv4"},
	} {
		t.Run(name, func(t *testing.T) {
			sideBySide(t, scenario{arrive: 200, clashes: 30, confirmed: true, beside: true, play: func(r *run) outcome {
				h := test.hosts(r, test.family)
				if err := h.Redirect(test.family); err != nil {
					r.Fatal(err)
				}
				r.daemon(h.Queue, analysis+"rules: {placement: "+test.placement+", destination_ports: [5300]}")
				listenAnswering(r, h.Receiver, h.target(port))
				// A connected socket takes in nothing that comes from elsewhere.
				answers := &sink{}
				for range 50 {
					conn := dial(r, h.Sender, netip.AddrPort{}, netip.AddrPortFrom(h.Virtual, port), nil)
					answers.take(r, conn)
					burst{packets: 4}.sendFlow(r, conn)
				}
				return r.end(answers, 200)
			}})
		})
	}
}

// TestDropModeSparesSettled: mode drop, packets of a flow some time apart: none of them meets a pending one, and none
// is dropped.
func TestDropModeSparesSettled(t *testing.T) {
	sideBySide(t, scenario{mode: "drop", arrive: 200, play: func(r *run) outcome {
		h := routed(r, "ipv4")
		if err := h.Redirect("ipv4"); err != nil {
			r.Fatal(err)
		}
		r.daemon(h.Queue, "rules: {placement: postrouting, destination_ports: [5300]}")
		in := listen(r, h.Receiver, h.target(port))
		var conns []interface{ Write([]byte) (int, error) }
		for range 40 {
			conns = append(conns, dial(r, h.Sender, netip.AddrPort{}, netip.AddrPortFrom(h.Virtual, port), nil))
		}
		first := flowNumber.Add(uint32(len(conns))) - uint32(len(conns)) + 1
		for n, pause := range []int{0, 1100, 50, 50, 50} {
			time.Sleep(time.Duration(pause) * time.Millisecond)
			for i, c := range conns {
				b := make([]byte, headerBytes)
				packet(b, first+uint32(i), uint32(n))
				if _, err := c.Write(b); err != nil {
					r.Fatal(err)
				}
				time.Sleep(time.Millisecond)
			}
		}
		return r.end(in, 200)
	}})
}

// TestDropModeCounts: mode drop, bursts: what does not arrive was dropped as further packets of a pending flow, and
// counted.
func TestDropModeCounts(t *testing.T) {
	testkit.Require(t)
	r := &run{T: t, mode: "drop"}
	h := routed(r, "ipv4")
	r.daemon(h.Queue, analysis+"rules: {placement: forward, destination_ports: [5300]}")
	in := listen(r, h.Receiver, h.target(port))
	burst{to: h.target(port), flows: 50, packets: 4}.send(r, h.Sender)
	time.Sleep(100 * time.Millisecond)
	o := r.end(in, 200)
	g := o.statistics.Gate.Total
	if o.clashes != 0 || g.Dropped == 0 || uint64(o.arrived)+g.Dropped != 200 || o.duplicated+o.reordered != 0 {
		t.Errorf("%v; want no clash, and arrived and dropped to be 200", o)
	}
}

// TestFirewallComesLater: the daemon starts before the firewall, where nothing is tracked yet. The guard follows when
// rules come.
func TestFirewallComesLater(t *testing.T) {
	sideBySide(t, scenario{
		mode: "auto", arrive: 80, clashes: 20, unjudged: true, confirmed: true,
		play: func(r *run) outcome {
			ns := untracked(r)
			target := netip.MustParseAddrPort("127.0.0.1:5300")
			d := r.daemon(ns, analysis+"rules: {install: false}")
			childtest.Shell(r, ns, `
				iptables -t nat -A POSTROUTING -p udp --dport 5999 -j MASQUERADE
				iptables -A OUTPUT -p udp --dport 5300 -j NFQUEUE --queue-num 0 --queue-bypass`)
			// The guard has some time to follow.
			warm, sent := listen(r, ns, target), 0
			for until := time.Now().Add(childtest.ReadyWithin); r.mode != "off" && !strings.Contains(d.Log(), "mode=hold"); {
				burst{to: target, flows: 10, packets: 4}.send(r, ns)
				sent += 40
				awaitIdle(r, ns)
				if time.Now().After(until) {
					r.Fatal("the guard does not follow")
				}
			}
			warm.await(sent, quiet)
			awaitIdle(r, ns)
			warm.conns[0].Close()
			r.child, r.clashes = d, clashes(r, ns)
			in := listen(r, ns, target)
			burst{to: target, flows: 20, packets: 4}.send(r, ns)
			return r.end(in, 80)
		},
	})
}

// untracked is a namespace without conntrack.
func untracked(t testing.TB) *netlab.NetNS {
	t.Helper()
	ns, err := netlab.NewNetNS()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = ns.Close() })
	return ns
}

// TestOwnICMPErrors: a router that queues ICMP sends errors of its own. The kernel gives them a clone of an entry
// that may not be confirmed, and refuses to take such packets back from a queue: they must not get there.
func TestOwnICMPErrors(t *testing.T) {
	for name, test := range map[string]struct{ family, protocol, placement string }{
		"output":            {"ipv4", "icmp", "output"},
		"postrouting":       {"ipv4", "icmp", "postrouting"},
		"output, ipv6":      {"ipv6", "icmpv6", "output"},
		"postrouting, ipv6": {"ipv6", "icmpv6", "postrouting"},
	} {
		t.Run(name, func(t *testing.T) {
			sideBySide(t, scenario{unjudged: true, play: func(r *run) outcome {
				h := routed(r, test.family)
				mustNot(r, h.Queue.SetSysctl("ipv4/icmp_ratelimit", "0"))
				mustNot(r, h.Queue.SetSysctl("ipv6/icmp/ratelimit", "0"))
				mustNot(r, h.Queue.SetMTU("eth1", 1300))
				r.daemon(h.Queue, "rules: {placement: "+test.placement+", protocols: ["+test.protocol+"]}")
				none := listen(r, h.Receiver, h.target(port))
				for kind, provoke := range map[string]provocation{
					"time exceeded":    {to: h.target(port), hops: 1, errno: unix.EHOSTUNREACH},
					"port unreachable": {to: netip.AddrPortFrom(h.SenderGateway, port), hops: 64, errno: unix.ECONNREFUSED},
					"too big":          {to: h.target(port), hops: 64, bytes: 1400, errno: unix.EMSGSIZE},
				} {
					if n := provoke.heard(r, h.Sender); n != provoked {
						r.Errorf("%s: %d of %d errors came", kind, n, provoked)
					}
				}
				return r.end(none, 0)
			}})
		})
	}
}

func mustNot(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// provoked is how many ICMP errors are provoked of each kind.
const provoked = 10

// A provocation is a packet that is answered by an ICMP error.
type provocation struct {
	to    netip.AddrPort
	hops  int
	bytes int
	errno unix.Errno // as which the sender hears of it
}

// heard sends from a new socket each, and counts those that hear of the error.
func (p provocation) heard(t testing.TB, ns *netlab.NetNS) (n int) {
	t.Helper()
	for range provoked {
		conn := dial(t, ns, netip.AddrPort{}, p.to, func(fd int) error {
			if p.to.Addr().Is6() {
				return errorsOf(fd, unix.SOL_IPV6, unix.IPV6_UNICAST_HOPS, p.hops, unix.IPV6_MTU_DISCOVER, unix.IPV6_RECVERR)
			}
			return errorsOf(fd, unix.SOL_IP, unix.IP_TTL, p.hops, unix.IP_MTU_DISCOVER, unix.IP_RECVERR)
		})
		if _, err := conn.Write(make([]byte, max(p.bytes, headerBytes))); err != nil {
			t.Fatal(err)
		}
		raw, err := conn.SyscallConn()
		mustNot(t, err)
		mustNot(t, raw.Control(func(fd uintptr) {
			for until := time.Now().Add(10 * time.Second); time.Now().Before(until); time.Sleep(time.Millisecond) {
				if e, err := unix.GetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_ERROR); err == nil && unix.Errno(e) == p.errno {
					n++
					return
				}
			}
		}))
		_ = conn.Close()
	}
	return n
}

// errorsOf sets a hop limit, and makes a socket probe beyond the known path MTU and hear of every ICMP error.
func errorsOf(fd, level, hopOption, hops, discover, recvErr int) error {
	for _, o := range [][2]int{{hopOption, hops}, {discover, unix.IP_PMTUDISC_PROBE}, {recvErr, 1}} {
		if err := unix.SetsockoptInt(fd, level, o[0], o[1]); err != nil {
			return err
		}
	}
	return nil
}

// TestStopKeepsOrder: the daemon is stopped while packets wait for their verdicts and new ones come. None overtakes
// another, and none is lost.
func TestStopKeepsOrder(t *testing.T) {
	const streams, packets = 4, 1500
	for _, placement := range []string{"forward", "postrouting"} {
		t.Run(placement, func(t *testing.T) {
			sideBySide(t, scenario{arrive: streams * packets, unjudged: true, disorder: true, confirmed: true, overtaken: 10, play: func(r *run) outcome {
				h := routed(r, "ipv4")
				// Slower than the packets come, so that a backlog is there at the stop. It has room on any machine.
				r.daemon(h.Queue, "analysis: {distribution: fixed, delay: 400us, per: packet}\n"+
					"queues: {max_length: 8192}\n"+
					"rules: {placement: "+placement+", destination_ports: [5300]}")
				in := listen(r, h.Receiver, h.target(port))
				ended := make(chan struct{}, streams)
				for range streams {
					conn := dial(r, h.Sender, netip.AddrPort{}, h.target(port), nil)
					go func() {
						steady(r, conn, packets, time.Millisecond)
						ended <- struct{}{}
					}()
				}
				in.await(streams*packets/10, quiet)
				before := r.clashes
				o := outcome{statistics: r.child.Stop(), clashes: clashes(r, r.ns) - before}
				for range streams {
					<-ended
				}
				in.await(streams*packets, quiet)
				o.arrivals = in.arrivals()
				o.arrived, o.duplicated, o.reordered = count(o.arrivals)
				if n := o.statistics.Total.Received; n == 0 || n == streams*packets {
					r.Errorf("%d packets were judged: the daemon was not stopped in between", n)
				}
				return o
			}})
		})
	}
}

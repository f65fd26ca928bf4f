package attacks

import (
	"errors"
	"net"
	"net/netip"
	"strings"
	"testing"
	"time"

	"golang.org/x/net/ipv4"
	"golang.org/x/sys/unix"

	"verdictd/daemon/internal/childtest"
	"verdictd/internal/netlab"
)

// TestBridgeKeepsPackets: a bridge whose packets pass the IP hooks sends them on as they were, and none by its own
// address, which is in another network.
func TestBridgeKeepsPackets(t *testing.T) {
	to := netip.MustParseAddrPort("198.51.100.1:5300")
	sideBySide(t, scenario{arrive: 200, clashes: 50, confirmed: true, beside: true, play: func(r *run) outcome {
		sender, bridge, receiver := bridged(r)
		manager := emptyHost(r)
		cable(r, bridge, "manage0", "203.0.113.1/24", manager, "eth0", "203.0.113.2/24")
		childtest.Shell(r, bridge, "ip route add default via 203.0.113.2")
		countAt(r, manager, map[string]string{"strayed": "udp dport 5300"})
		mac := strings.TrimSpace(childtest.Shell(r, sender, "ip -br link show eth0 | awk '{print $3}'"))
		childtest.NFT(r, bridge, `
			add table bridge count
			add counter bridge count kept
			add chain bridge count leave { type filter hook postrouting priority 300; }
			add rule bridge count leave oifname "port1" ether saddr `+mac+` udp dport 5300 counter name kept`)
		r.daemon(bridge, analysis+"rules: {placement: forward, destination_ports: [5300]}")
		in := listen(r, receiver, to)
		burst{to: to, flows: 50, packets: 4}.send(r, sender)
		o := r.end(in, 200)
		kept := packetsOf.FindStringSubmatch(childtest.Shell(r, bridge, "nft list counter bridge count kept"))
		if strayed := counted(r, manager, "strayed"); strayed != 0 || kept == nil || kept[1] != "200" {
			r.Errorf("%d packets in the other network, %v with the sender's hardware address; want 0 and 200", strayed, kept)
		}
		return o
	}})
}

// TestServerBoundToDevice: the service's address is on lo, and its socket takes in what comes through one interface.
func TestServerBoundToDevice(t *testing.T) {
	sideBySide(t, scenario{arrive: 40, clashes: 10, confirmed: true, play: func(r *run) outcome {
		h := twoHosts(r, "ipv4")
		r.daemon(h.Queue, analysis+"rules: {placement: input, destination_ports: [5300]}")
		in := &sink{}
		bound := func(fd int) error { return unix.BindToDevice(fd, "eth0") }
		in.add(r, h.Receiver, bound, h.target(port))
		burst{to: h.target(port), flows: 10, packets: 4}.send(r, h.Sender)
		return r.end(in, 40)
	}})
}

// TestAnswersByInterface: a server sends its answers by the interface through which the questions came.
func TestAnswersByInterface(t *testing.T) {
	sideBySide(t, scenario{arrive: 40, clashes: 10, confirmed: true, play: func(r *run) outcome {
		h := twoHosts(r, "ipv4")
		r.daemon(h.Queue, analysis+"rules: {placement: verdict3, destination_ports: [5300], source_ports: [5300]}")
		answerByInterface(r, h.Receiver, h.target(port))
		answers := &sink{}
		for range 10 {
			conn := dial(r, h.Sender, netip.AddrPort{}, h.target(port), nil)
			answers.take(r, conn)
			burst{packets: 4}.sendFlow(r, conn)
		}
		return r.end(answers, 40)
	}})
}

// answerByInterface is a server that learns the interface from IP_PKTINFO.
func answerByInterface(t testing.TB, ns *netlab.NetNS, at netip.AddrPort) {
	t.Helper()
	var conn *net.UDPConn
	mustNot(t, ns.Do(func() (err error) {
		conn, err = net.ListenUDP("udp4", net.UDPAddrFromAddrPort(at))
		return err
	}))
	p := ipv4.NewPacketConn(conn)
	mustNot(t, p.SetControlMessage(ipv4.FlagInterface|ipv4.FlagDst, true))
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		for buf := make([]byte, 2000); ; {
			n, c, from, err := p.ReadFrom(buf)
			if err != nil {
				return
			}
			_, _ = p.WriteTo(buf[:n], &ipv4.ControlMessage{IfIndex: c.IfIndex, Src: c.Dst}, from) // a loss shows
		}
	}()
	t.Cleanup(func() { _ = conn.Close(); <-ended })
}

// TestTransmitTimestamps: the sender hears of each of its packets when it leaves.
func TestTransmitTimestamps(t *testing.T) {
	const pairs = 10
	const wanted = unix.SOF_TIMESTAMPING_TX_SOFTWARE | unix.SOF_TIMESTAMPING_SOFTWARE |
		unix.SOF_TIMESTAMPING_OPT_ID | unix.SOF_TIMESTAMPING_OPT_TSONLY
	sideBySide(t, scenario{
		arrive: 2 * pairs, clashes: pairs, confirmed: true,
		play: func(r *run) outcome {
			near, far := twoEnds(r)
			to := netip.AddrPortFrom(farEnd, port)
			d := r.daemon(near, analysis+"rules: {placement: output, destination_ports: [5300]}")
			in := listen(r, far, to)
			d.Signal(unix.SIGSTOP) // both of a pair are sent before the first is judged, on a busy machine too
			var conns []*net.UDPConn
			for range pairs {
				conn := dial(r, near, netip.AddrPort{}, to, option(unix.SOL_SOCKET, unix.SO_TIMESTAMPING, wanted))
				burst{packets: 2}.sendFlow(r, conn)
				conns = append(conns, conn)
			}
			d.Signal(unix.SIGCONT)
			o := r.end(in, 2*pairs)
			stamps := 0
			for _, conn := range conns {
				stamps += stampsOf(r, conn)
				_ = conn.Close()
			}
			if stamps != 2*pairs {
				r.Errorf("%d timestamps of %d packets", stamps, 2*pairs)
			}
			return o
		},
	})
}

// stampsOf counts the timestamps in a socket's error queue.
func stampsOf(t testing.TB, conn *net.UDPConn) (n int) {
	t.Helper()
	raw, err := conn.SyscallConn()
	mustNot(t, err)
	mustNot(t, raw.Control(func(fd uintptr) {
		for oob := make([]byte, 512); ; {
			_, got, _, _, err := unix.Recvmsg(int(fd), nil, oob, unix.MSG_ERRQUEUE|unix.MSG_DONTWAIT)
			if errors.Is(err, unix.EAGAIN) {
				return
			}
			if err != nil {
				t.Errorf("read the error queue: %v", err)
				return
			}
			messages, err := unix.ParseSocketControlMessage(oob[:got])
			if err != nil {
				t.Error(err)
				return
			}
			for _, m := range messages {
				if m.Header.Level == unix.SOL_SOCKET && m.Header.Type == unix.SO_TIMESTAMPING {
					n++
				}
			}
		}
	}))
	return n
}

// TestSlowUplink: bursts fill a slow uplink; another flow leaves by a fast one.
func TestSlowUplink(t *testing.T) {
	sideBySide(t, scenario{
		arrive: 1000, unjudged: true, confirmed: true, overtaken: 10,
		play: func(r *run) outcome {
			near, far := twoEnds(r)
			slow := emptyHost(r)
			cable(r, near, "slow0", "198.51.100.1/24", slow, "eth0", "198.51.100.2/24")
			childtest.Shell(r, near, "tc qdisc add dev slow0 root tbf rate 1mbit burst 2000 limit 100000")
			r.daemon(near, "rules: {placement: output, destination_ports: [5300]}")
			to := netip.AddrPortFrom(farEnd, port)
			in := listen(r, far, to)
			good := dial(r, near, netip.AddrPort{}, to, nil)
			ended := make(chan struct{})
			go func() {
				defer close(ended)
				long := func(int) int { return 1000 }
				// A hundred packets a second more than pass there.
				for range 50 {
					burst{to: netip.MustParseAddrPort("198.51.100.2:5300"), flows: 1, packets: 5, size: long}.send(r, near)
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
}

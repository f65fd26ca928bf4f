package attacks

import (
	"fmt"
	"net"
	"net/netip"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"verdictd/daemon/internal/childtest"
)

// What happens on a machine while packets are held: programs die, links go down, entries time out, protocols are
// others.

// sendAgain sends a second burst of each of 20 flows, after the event, and measures that one.
func (r *run) sendAgain(in *sink, conns []*net.UDPConn) outcome {
	first := flowNumber.Load()
	for _, conn := range conns {
		burst{packets: 4}.sendFlow(r, conn)
	}
	o := r.endBefore(in, 80)
	second := o.arrivals[:0:0]
	for _, a := range o.arrivals {
		if a.flow > first {
			second = append(second, a)
		}
	}
	o.figures["second"], o.figures["longest_ms"] = float64(len(second)), float64(delay(second).Milliseconds())
	return o
}

// wantSecond wants all of the second burst, and that it did not wait for what the event took.
func (o outcome) wantSecond(t *testing.T) {
	t.Helper()
	longest := float64(stuck.Milliseconds())
	if o.figures["second"] != 80 || o.figures["longest_ms"] > longest || o.clashes != 0 || o.duplicated+o.reordered != 0 {
		t.Errorf("%v; want the 80 packets after the event, none of which waits for those before it, and no clashes", o)
	}
}

// TestForeignProgramDies: another program is killed with packets in its queue,
// and started again. The kernel drops what was in its queue; what the gate holds
// goes on, and nothing waits longer than it must.
func TestForeignProgramDies(t *testing.T) {
	_, hold, both := bothModes(t, patient, func(r *run) outcome {
		h := oneHost(r, "ipv4")
		queueTo(r, h.Queue, "OUTPUT", foreignQueue)
		f := startForeign(r, h.Queue, foreignConfig{Queue: foreignQueue, Delay: 10 * time.Second})
		r.before(h.Queue, fmt.Sprint(foreignQueue))
		in := listen(r, h.Receiver, h.target(port))
		conns := flows(r, h.Sender, h.target(port), 20)
		for _, conn := range conns {
			burst{packets: 4}.sendFlow(r, conn)
		}
		awaitQueued(r, h.Queue, 80)
		f.Signal(syscall.SIGKILL)
		<-f.Done
		startForeign(r, h.Queue, foreignConfig{Queue: foreignQueue, Think: 200 * time.Microsecond})
		return r.sendAgain(in, conns)
	})
	if both {
		hold.wantSecond(t)
	}
}

// TestLinkDownWhileHeld: an interface goes down, and the kernel drops what waits
// for it in queues. Later packets of those flows do not wait for them.
func TestLinkDownWhileHeld(t *testing.T) {
	_, hold, both := bothModes(t, patient, func(r *run) outcome {
		near, far := twoEnds(r)
		to := netip.AddrPortFrom(farEnd, port)
		queueTo(r, near, "OUTPUT", foreignQueue)
		f := startForeign(r, near, foreignConfig{Queue: foreignQueue})
		r.before(near, fmt.Sprint(foreignQueue))
		in := listen(r, far, to)
		conns := flows(r, near, to, 20)
		f.Signal(syscall.SIGSTOP)
		for _, conn := range conns {
			burst{packets: 4}.sendFlow(r, conn)
		}
		awaitQueued(r, near, 80)
		childtest.Shell(r, near, "ip link set near0 down")
		f.Signal(syscall.SIGCONT)
		childtest.Shell(r, near, "ip link set near0 up; ip neigh replace 192.0.2.2 lladdr $(ip -o link show near0 | sed 's/.*ether \\([^ ]*\\) .*/\\1/') dev near0 nud permanent; ip neigh del 192.0.2.2 dev near0; ping -q -c 1 -W 5 192.0.2.2")
		return r.sendAgain(in, conns)
	})
	if both {
		hold.wantSecond(t)
	}
}

// TestShortTimeouts: conntrack's timeout is shortened below the settled set's
// while flows are listed, so that entries die by themselves and flows begin once
// more.
func TestShortTimeouts(t *testing.T) {
	sideBySide(t, scenario{
		arrive: 20 * 4 * 3, clashes: 60,
		play: func(r *run) outcome {
			near, far := twoEnds(r)
			to := netip.AddrPortFrom(farEnd, port)
			r.daemon(near, analysis+"rules: {placement: output, destination_ports: [5300]}")
			childtest.Shell(r, near, "sysctl -qw net.netfilter.nf_conntrack_udp_timeout=1 net.netfilter.nf_conntrack_udp_timeout_stream=1")
			in := listen(r, far, to)
			conns := flows(r, near, to, 20)
			for round := range 3 {
				if round > 0 {
					time.Sleep(1300 * time.Millisecond)
				}
				for _, conn := range conns {
					burst{packets: 4}.sendFlow(r, conn)
				}
			}
			return r.end(in, 20*4*3)
		},
	})
}

// TestUDPLite: a protocol with ports that is not UDP.
func TestUDPLite(t *testing.T) {
	const many = 20
	_, hold, both := bothModes(t, "", func(r *run) outcome {
		near, far := twoEnds(r)
		countAt(r, far, map[string]string{"lite": "meta l4proto udplite"})
		r.daemon(near, analysis+"rules: {placement: output, protocols: [udplite]}")
		var sockets []int
		err := near.Do(func() error {
			for range many {
				fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, unix.IPPROTO_UDPLITE)
				if err != nil {
					return err
				}
				sockets = append(sockets, fd)
			}
			return nil
		})
		if err != nil {
			r.Skipf("no UDP-Lite here: %v", err)
		}
		address := &unix.SockaddrInet4{Port: port, Addr: farEnd.As4()}
		for _, fd := range sockets {
			for range 4 {
				if err := unix.Sendto(fd, []byte("lite"), 0, address); err != nil {
					r.Error(err)
				}
			}
			_ = unix.Close(fd)
		}
		time.Sleep(200 * time.Millisecond)
		o := r.end(listen(r, far, netip.AddrPortFrom(farEnd, port)), 0)
		o.figures["lite"] = float64(counted(r, far, "lite"))
		return o
	})
	if both && (hold.figures["lite"] != 4*many || hold.clashes != 0 || hold.statistics.Gate.Total.Received != 4*many) {
		t.Errorf("%v; want %d packets through the gate, and no clashes", hold, 4*many)
	}
}

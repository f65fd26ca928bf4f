package attacks

import (
	"net"
	"net/netip"
	"testing"
	"time"

	"verdictd/daemon/internal/childtest"
	"verdictd/internal/netlab"
)

// load sends a steady mix of new flows of three packets and of old flows, until it is stopped.
type load struct {
	stopped chan struct{}
	sent    chan int
}

// startLoad sends 3,000 packets a second: every millisecond a new flow's burst and now and then packets of an old one.
func startLoad(t testing.TB, ns *netlab.NetNS, to netip.AddrPort) *load {
	t.Helper()
	if _, err := childtest.Build(); err != nil { // built before, not under load
		t.Fatal(err)
	}
	l := &load{stopped: make(chan struct{}), sent: make(chan int, 1)}
	old := flows(t, ns, to, 4)
	first, buf := flowNumber.Add(uint32(len(old)))-uint32(len(old)), make([]byte, headerBytes)
	go func() {
		sent, number := 0, uint32(0)
		for next := time.Now(); ; next = next.Add(time.Millisecond) {
			select {
			case <-l.stopped:
				l.sent <- sent
				return
			default:
			}
			i := number % uint32(len(old))
			packet(buf, first+i, number)
			_, _ = old[i].Write(buf) // a loss shows at the receiver
			conn := dial(t, ns, netip.AddrPort{}, to, nil)
			burst{packets: 3}.sendFlow(t, conn)
			time.AfterFunc(2*time.Second, func() { _ = (*net.UDPConn).Close(conn) })
			sent, number = sent+4, number+1
			time.Sleep(time.Until(next))
		}
	}()
	return l
}

func (l *load) stop() int {
	close(l.stopped)
	return <-l.sent
}

// TestStartUnderLoad: from its first verdict on the daemon guards: new flows come
// while its rules do.
func TestStartUnderLoad(t *testing.T) {
	for _, placement := range []string{"output", "forward"} {
		t.Run(placement, func(t *testing.T) {
			_, hold, both := bothModes(t, "", func(r *run) outcome {
				var sender, queue, receiver *netlab.NetNS
				var to netip.AddrPort
				if placement == "forward" {
					h := routed(r, "ipv4")
					sender, queue, receiver, to = h.Sender, h.Queue, h.Receiver, h.target(port)
				} else {
					near, far := twoEnds(r)
					sender, queue, receiver, to = near, near, far, netip.AddrPortFrom(farEnd, port)
				}
				in, l := listenLarge(r, receiver, to), startLoad(r, sender, to)
				time.Sleep(50 * time.Millisecond)
				r.daemon(queue, analysis+"queues: {max_length: 65535}\nrules: {placement: "+placement+", destination_ports: [5300]}")
				time.Sleep(200 * time.Millisecond)
				sent := l.stop()
				o := r.end(in, sent)
				o.figures["lost"] = float64(sent - o.arrived)
				return o
			})
			if both && (hold.clashes != 0 || hold.figures["lost"] != 0 || hold.duplicated+hold.reordered != 0) {
				t.Errorf("%v; want nothing to clash, to be lost or out of order", hold)
			}
		})
	}
}

// TestStopUnderLoad: until its last verdict the daemon guards, and nothing
// overtakes what waits. A packet may overtake the one that is between the gate's
// socket and its verdict when the gate's rules go, and clash with it: one or two of
// thousands.
func TestStopUnderLoad(t *testing.T) {
	_, hold, both := bothModes(t, "", func(r *run) outcome {
		near, far := twoEnds(r)
		to := netip.AddrPortFrom(farEnd, port)
		r.daemon(near, analysis+"rules: {placement: output, destination_ports: [5300]}")
		in, l := listenLarge(r, far, to), startLoad(r, near, to)
		time.Sleep(200 * time.Millisecond)
		s := r.child.Stop()
		time.Sleep(50 * time.Millisecond)
		sent := l.stop()
		in.await(sent, quiet)
		o := outcome{statistics: s, clashes: clashes(r, near) - r.clashes, arrivals: in.arrivals(), figures: map[string]float64{}}
		o.arrived, o.duplicated, o.reordered = count(o.arrivals)
		o.figures["lost"] = float64(sent - o.arrived)
		return o
	})
	if both && (hold.clashes > 2 || hold.figures["lost"] != 0 || hold.duplicated != 0 || hold.reordered > 2) {
		t.Errorf("%v; want nothing to be lost, and next to nothing to clash or out of order", hold)
	}
}

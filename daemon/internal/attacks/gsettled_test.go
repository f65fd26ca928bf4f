package attacks

import (
	"fmt"
	"net"
	"net/netip"
	"runtime"
	"testing"
	"time"

	"verdictd/daemon/internal/childtest"
	"verdictd/internal/netlab"
)

// The rows G6 to G8: flows that the kernel passes by itself, and entries that die.

// flows opens sockets, one a flow.
func flows(t testing.TB, ns *netlab.NetNS, to netip.AddrPort, n int) []*net.UDPConn {
	t.Helper()
	conns := make([]*net.UDPConn, n)
	for i := range conns {
		conns[i] = dial(t, ns, netip.AddrPort{}, to, nil)
		t.Cleanup(func() { _ = conns[i].Close() })
	}
	return conns
}

// G6: plain senders at full speed, 50 flows of 2,000 packets. A flow is listed
// while packets of it are on their way: none may overtake others.
//
// "in one go" never pauses within a flow; "by turns" pauses each flow for as long
// as it takes to be listed, and goes on at full speed.
func TestFullSpeedKeepsOrder(t *testing.T) {
	needsLargeBuffers(t)
	const (
		many    = 50
		packets = 2000
	)
	for name, turns := range map[string]int{"in one go": 1, "by turns": 10} {
		t.Run(name, func(t *testing.T) {
			sideBySide(t, scenario{
				arrive: many * packets,
				play:   func(r *run) outcome { return r.unstalled(func() outcome { return fullSpeed(r, many, packets, turns) }) },
			})
		})
	}
}

func fullSpeed(r *run, many uint32, packets, turns int) outcome {
	near, far := twoEnds(r)
	to := netip.AddrPortFrom(farEnd, port)
	r.daemon(near, "queues: {max_length: 65535, receive_buffer: 134217728}\nrules: {placement: output, destination_ports: [5300]}")
	in := listenLarge(r, far, to)
	conns, first := flows(r, near, to, int(many)), flowNumber.Add(many)-many
	buf := make([]byte, headerBytes)
	for turn := range turns {
		for i, conn := range conns {
			for n := range packets / turns {
				packet(buf, first+uint32(i), uint32(turn*packets/turns+n))
				if _, err := conn.Write(buf); err != nil {
					r.Fatal(err)
				}
			}
		}
	}
	return r.end(in, int(many)*packets)
}

// unstalled plays again what lost its order while threads waited for a CPU for longer than a time slice: a gate that
// waits between its look at a flow and the transaction that lists it as settled may let packets overtake others
// (docs/limits.md).
func (r *run) unstalled(play func() outcome) outcome {
	const slice, most = 4 * time.Millisecond, 3
	for try := 1; ; try++ {
		longest := stalls()
		o := play()
		stall := longest()
		if o.reordered == 0 || stall < slice || try == most {
			return o
		}
		r.Logf("%d packets out of order while a thread waited for %v: once more", o.reordered, stall)
	}
}

// stalls begins to measure how late a thread is that wakes up each millisecond; what it returns ends that, and tells.
func stalls() (longest func() time.Duration) {
	end, most := make(chan struct{}), make(chan time.Duration)
	go func() {
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		late := time.Duration(0)
		for {
			select {
			case <-end:
				most <- late
				return
			default:
			}
			before := time.Now()
			time.Sleep(time.Millisecond)
			late = max(late, time.Since(before)-time.Millisecond)
		}
	}()
	return func() time.Duration {
		close(end)
		return <-most
	}
}

// G7: entries of listed flows are flushed, or deleted one by one, and the flows
// go on in bursts: conntrack sees new flows, of which the gate is to know.
func TestEntriesOfListedFlowsDie(t *testing.T) {
	const many, warm = 50, 20 // packets before a flow is worth to be listed
	const sent = warm + 3*4
	for name, kill := range map[string]string{
		"flushed": "conntrack -F",
		"deleted": fmt.Sprintf("conntrack -D -p udp --dport %d", port),
	} {
		t.Run(name, func(t *testing.T) {
			sideBySide(t, scenario{
				arrive: many * sent, clashes: many,
				play: func(r *run) outcome {
					near, far := twoEnds(r)
					to := netip.AddrPortFrom(farEnd, port)
					r.daemon(near, analysis+"rules: {placement: output, destination_ports: [5300]}")
					in := listen(r, far, to)
					conns := flows(r, near, to, many)
					for _, conn := range conns {
						burst{packets: warm}.sendFlow(r, conn)
					}
					for round := range 3 {
						in.await(many*(warm+4*round), 2*time.Second)
						time.Sleep(200 * time.Millisecond) // to be listed
						childtest.Shell(r, near, kill)
						for _, conn := range conns {
							burst{packets: 4}.sendFlow(r, conn)
						}
					}
					o := r.end(in, many*sent)
					o.longest()
					return o
				},
				more: func(t *testing.T, _, hold outcome) {
					if g := hold.statistics.Gate.Total; g.Listed == 0 || g.Announced == 0 {
						t.Errorf("%d flows were listed, and %d first packets announced: the scenario shows nothing", g.Listed, g.Announced)
					}
				},
			})
		})
	}
}

// G8: DNAT, and both ends begin at once. At the gate those are two flows, and in
// conntrack one: what it cannot prevent must be no worse than without it.
func TestBothEndsBeginThroughDNAT(t *testing.T) {
	const pairs = 150
	off, hold, both := bothModes(t, "", func(r *run) outcome {
		h := routed(r, "ipv4")
		if err := h.Redirect("ipv4"); err != nil {
			r.Fatal(err)
		}
		r.daemon(h.Queue, slowly+"rules: {placement: forward, destination_ports: "+ports(pairs)+"}")
		in := &sink{}
		for i := range pairs {
			inside, outside := netip.AddrPortFrom(h.Sources, uint16(port+i)), netip.AddrPortFrom(h.Target, uint16(port+i))
			in.add(r, h.Sender, nil, inside)
			in.add(r, h.Receiver, nil, outside)
			a, b := in.conns[2*i], in.conns[2*i+1]
			buf := make([]byte, headerBytes)
			packet(buf, flowNumber.Add(1), 0)
			if _, err := a.WriteToUDPAddrPort(buf, netip.AddrPortFrom(h.Virtual, uint16(port+i))); err != nil {
				r.Fatal(err)
			}
			packet(buf, flowNumber.Add(1), 0)
			if _, err := b.WriteToUDPAddrPort(buf, inside); err != nil {
				r.Fatal(err)
			}
		}
		return r.end(in, 2*pairs)
	})
	if both && (hold.clashes > off.clashes || hold.arrived < off.arrived || hold.duplicated != 0) {
		t.Errorf("with the guard %d clashes and %d arrived, without %d and %d", hold.clashes, hold.arrived, off.clashes, off.arrived)
	}
}

// TestEntriesDieUnderSeveralSenders is TestEntriesOfListedFlowsDie with two
// threads that send on each flow at the same moment: two packets may pass the
// set before the first of them takes its flow out. That window is some hundred
// nanoseconds; what it lets through is stated, and must be next to nothing.
func TestEntriesDieUnderSeveralSenders(t *testing.T) {
	const many, rounds, most = 50, 8, 4
	_, hold, both := bothModes(t, "", func(r *run) outcome {
		near, far := twoEnds(r)
		to := netip.AddrPortFrom(farEnd, port)
		r.daemon(near, analysis+"rules: {placement: output, destination_ports: [5300]}")
		in := listen(r, far, to)
		conns := flows(r, near, to, many)
		for round := range rounds {
			if round > 0 {
				in.await(round*many*6, time.Second)
				time.Sleep(100 * time.Millisecond) // to be listed
				childtest.Shell(r, near, "conntrack -F")
			}
			for _, conn := range conns {
				begin, done := make(chan struct{}), make(chan struct{})
				go func() {
					defer close(done)
					<-begin
					burst{packets: 3}.sendFlow(r, conn)
				}()
				close(begin)
				burst{packets: 3}.sendFlow(r, conn)
				<-done
			}
		}
		return r.end(in, rounds*many*6)
	})
	if both && (hold.arrived != rounds*many*6 || hold.duplicated != 0 || hold.clashes > most) {
		t.Errorf("%v; want all %d, and %d clashes at most", hold, rounds*many*6, most)
	}
}

package attacks

import (
	"net/netip"
	"syscall"
	"testing"
	"time"

	"verdictd/daemon/internal/childtest"
	"verdictd/internal/testkit"
)

// TestSamePackets: the packets of a flow are equal to the last bit, as those that keep a binding alive are, while
// somebody changes other rules.
func TestSamePackets(t *testing.T) {
	const flows, packets = 60, 4
	for _, family := range []string{"ipv4", "ipv6"} {
		t.Run(family, func(t *testing.T) {
			sideBySide(t, scenario{
				// They have no numbers: the receiver takes none of them for the test's.
				arrive: 0, clashes: flows, confirmed: true,
				play: func(r *run) outcome {
					h := routed(r, family)
					r.daemon(h.Queue, analysis+"rules: {placement: forward, destination_ports: [5300]}")
					in := listen(r, h.Receiver, h.target(port))
					for i := range flows {
						if i%3 == 0 {
							childtest.NFT(r, h.Queue, "add table inet other\nadd chain inet other c")
						}
						conn := dial(r, h.Sender, netip.AddrPort{}, h.target(port), nil)
						for range packets {
							if _, err := conn.Write([]byte("the same")); err != nil {
								r.Fatal(err)
							}
						}
						_ = conn.Close()
						time.Sleep(time.Millisecond)
					}
					o := r.end(in, 0)
					if n := o.statistics.Total.Received; n != flows*packets {
						r.Errorf("%d packets were judged, want %d", n, flows*packets)
					}
					return o
				},
			})
		})
	}
}

// TestRulesChangeAllTheTime: others change rules without a pause. Nobody can read them in one piece then, and what was
// guarded stays so.
func TestRulesChangeAllTheTime(t *testing.T) {
	const flows = 400
	sideBySide(t, scenario{arrive: 4 * flows, clashes: flows, confirmed: true, beside: true, play: func(r *run) outcome {
		h := routed(r, "ipv4")
		childtest.NFT(r, h.Queue, "add table inet other\nadd chain inet other c")
		r.daemon(h.Queue, analysis+"rules: {placement: forward, destination_ports: [5300]}")
		in := listen(r, h.Receiver, h.target(port))
		ended := make(chan struct{})
		go func() {
			defer close(ended)
			// For longer than the burst takes; how many changes that are depends on the machine.
			childtest.Shell(r, h.Queue, `
				while :; do
					echo "add rule inet other c counter"
					echo "flush chain inet other c"
				done | timeout 4 nft -i >/dev/null || true`)
		}()
		burst{to: h.target(port), flows: flows, packets: 4, pause: 3 * time.Millisecond}.send(r, h.Sender)
		<-ended
		return r.end(in, 4*flows)
	}})
}

// TestBacklog: more comes at once than is judged within guard.hold. That is load and no fault: the first packets wait
// for their verdicts, and the further ones for them.
func TestBacklog(t *testing.T) {
	const flows = 500
	sideBySide(t, scenario{guard: "hold: 300ms", arrive: 2 * flows, clashes: flows / 2, confirmed: true, play: func(r *run) outcome {
		h := routed(r, "ipv4")
		r.daemon(h.Queue, "analysis: {distribution: fixed, delay: 1ms, per: packet}\nqueues: {max_length: 4096}\n"+
			"rules: {placement: forward, destination_ports: [5300]}")
		in := listen(r, h.Receiver, h.target(port))
		burst{to: h.target(port), flows: flows, packets: 2}.send(r, h.Sender)
		return r.end(in, 2*flows)
	}})
}

// TestGateOverrun: the daemon stands still while more comes than the gate's sockets take. Nothing is lost, and what
// passed by the gate is counted.
func TestGateOverrun(t *testing.T) {
	testkit.Require(t)
	needsLargeBuffers(t)
	const flows, packets = 6000, 10
	// A port that several flows had may be listed: then more of them pass in the kernel, counted nowhere.
	r := &run{T: t, mode: "hold", guard: "settled: false"}
	near, far := twoEnds(r)
	d := r.daemon(near, "queues: {max_length: 65535}\nrules: {placement: input, destination_ports: [5300]}")
	to := netip.AddrPortFrom(nearEnd, port)
	in := listen(r, near, to)
	d.Signal(syscall.SIGSTOP)
	again := time.AfterFunc(1500*time.Millisecond, func() { d.Signal(syscall.SIGCONT) })
	burst{to: to, flows: flows, packets: packets, closing: true}.send(r, far)
	if again.Stop() {
		d.Signal(syscall.SIGCONT)
	}
	o := r.end(in, flows*packets)
	t.Log(o)
	g := o.statistics.Gate.Total
	if seen := g.Received + g.Unguarded; seen < flows*packets {
		t.Errorf("%d packets passed by the gate, counted nowhere", flows*packets-seen)
	}
	if g.Unguarded == 0 && o.clashes > 0 {
		t.Errorf("%d clashes, and no packet is said to be unguarded", o.clashes)
	}
	// The receiver's own socket may overflow; the verdicts tell what came through.
	if v := o.statistics.Total; v.Received+v.UserDropped+v.QueueDropped != flows*packets || o.duplicated > 0 {
		t.Errorf("%v: packets are lost, and not counted", o)
	}
}

// TestDeviceGoes: an interface is taken away while packets that came by it are held. The kernel drops them; those of
// others go on.
func TestDeviceGoes(t *testing.T) {
	testkit.Require(t)
	const flows, packets = 10, 4
	for _, mode := range []string{"off", "hold"} {
		t.Run(mode, func(t *testing.T) {
			r := &run{T: t, mode: mode}
			near, far := twoEnds(r)
			gone := emptyHost(r)
			cable(r, near, "gone0", "198.51.100.1/24", gone, "eth0", "198.51.100.2/24")
			r.daemon(near, "analysis: {distribution: fixed, delay: 10ms, per: packet}\nrules: {placement: input, destination_ports: [5300]}")
			in := listen(r, near, netip.AddrPortFrom(netip.IPv4Unspecified(), port))
			for range flows {
				burst{to: netip.MustParseAddrPort("198.51.100.1:5300"), flows: 1, packets: packets}.send(r, gone)
				burst{to: netip.AddrPortFrom(nearEnd, port), flows: 1, packets: packets}.send(r, far)
			}
			childtest.Shell(r, near, "ip link delete gone0")
			o := r.end(in, 2*flows*packets)
			t.Log(o)
			kept := o.arrivals[:0]
			for _, a := range o.arrivals {
				if a.from.Addr() == farEnd {
					kept = append(kept, a)
				}
			}
			if n, twice, disorder := count(kept); n != flows*packets || twice+disorder > 0 {
				t.Errorf("%d of the other flows' packets arrived, %d twice, %d out of order; want %d, 0, 0", n, twice, disorder, flows*packets)
			}
			if g := o.statistics.Gate.Total; mode != "off" && (o.clashes > 0 || g.Expired > 0) {
				t.Errorf("%v; want no clash, and none expired", o)
			}
			if d := delay(kept); d > 2*time.Second {
				t.Errorf("a packet took %v", d)
			}
		})
	}
}

// TestSeveralThreads: two threads judge, and two hold, also the answers.
func TestSeveralThreads(t *testing.T) {
	for _, family := range []string{"ipv4", "ipv6"} {
		t.Run(family, func(t *testing.T) {
			sideBySide(t, scenario{
				guard: "queues: 2", arrive: 640, clashes: 100, confirmed: true, disorder: true, beside: true,
				play: func(r *run) outcome {
					h := routed(r, family)
					r.daemon(h.Queue, analysis+"queues: {count: 2}\nrules: {placement: forward, fanout: balance, destination_ports: [5300], source_ports: [5300]}")
					listenAnswering(r, h.Receiver, h.target(port))
					answers := &sink{}
					for range 10 {
						for _, source := range h.SourceList() {
							conn := dial(r, h.Sender, netip.AddrPortFrom(source, 0), h.target(port), nil)
							answers.take(r, conn)
							burst{packets: 4}.sendFlow(r, conn)
						}
					}
					return r.end(answers, 640)
				},
			})
		})
	}
}

package attacks

import (
	"net/netip"
	"testing"
	"time"

	"verdictd/daemon/internal/childtest"
)

// TestDroppedBursts: somebody sends bursts that a rule behind the queue drops, all the time. Each of their packets is a
// first packet that is gone. New flows of others do not wait for that.
func TestDroppedBursts(t *testing.T) {
	const flows = 100
	sideBySide(t, scenario{
		arrive: 4 * flows, unjudged: true,
		// The sender of the bursts may have more than the gate lets go one by one in guard.hold; that is its own loss.
		late: true,
		play: func(r *run) outcome {
			h := routed(r, "ipv4")
			childtest.Shell(r, h.Queue, "iptables -A FORWARD -p udp --dport 5301 -j DROP")
			r.daemon(h.Queue, "rules: {placement: forward, "+bothPorts+"}")
			in := listen(r, h.Receiver, h.target(port))
			ended := make(chan struct{})
			go func() {
				defer close(ended)
				// 5,000 packets a second.
				for range 50 {
					burst{to: h.target(other), flows: 5, packets: 20, closing: true}.send(r, h.Sender)
					time.Sleep(20 * time.Millisecond)
				}
			}()
			for range flows {
				conn := dial(r, h.Sender, netip.AddrPort{}, h.target(port), nil)
				burst{packets: 4}.sendFlow(r, conn)
				_ = conn.Close()
				time.Sleep(10 * time.Millisecond)
			}
			<-ended
			o := r.end(in, 4*flows)
			o.figures["delay"] = delay(o.arrivals).Seconds()
			return o
		},
		more: asSoon,
	})
}

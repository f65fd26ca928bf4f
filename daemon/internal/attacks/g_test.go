package attacks

import (
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"verdictd/daemon/internal/childtest"
	"verdictd/internal/netlab"
)

// The rows G1 to G5 and G9: whether the first packet of a flow is confirmed, gone, or only waits somewhere.

// manyRules are 5,000 rules of OUTPUT, behind every queue there, of which none
// matches. They come by and by: an ordinary user's transactions are small.
func manyRules(t testing.TB, ns *netlab.NetNS) {
	t.Helper()
	childtest.NFT(t, ns, "table inet many { chain out { type filter hook output priority 0; }; }")
	const rules, together = 5000, 250
	name := filepath.Join(t.TempDir(), "rules.nft") // longer than a command line may be
	for first := 0; first < rules; first += together {
		var b strings.Builder
		for i := first; i < first+together; i++ {
			fmt.Fprintf(&b, "add rule inet many out ip saddr 203.0.113.%d udp sport %d drop\n", i%250, i)
		}
		if err := os.WriteFile(name, []byte(b.String()), 0o600); err != nil {
			t.Fatal(err)
		}
		childtest.Shell(t, ns, "nft -f "+name)
	}
}

// G1: the way from the queue to the confirm is long, and for all of it nobody
// seems to hold the packet. Nothing is dropped, so that nothing may be taken
// for gone.
func TestLongWayBehindTheQueue(t *testing.T) {
	const flows = 5000
	for _, foreign := range []bool{false, true} {
		t.Run(map[bool]string{false: "own queue", true: "another program's"}[foreign], func(t *testing.T) {
			sideBySide(t, scenario{
				arrive: 2 * flows, clashes: 1,
				play: func(r *run) outcome {
					h := oneHost(r, "ipv4")
					manyRules(r, h.Queue)
					if foreign {
						queueTo(r, h.Queue, "OUTPUT", foreignQueue)
						startForeign(r, h.Queue, foreignConfig{Queue: foreignQueue})
						r.before(h.Queue, fmt.Sprint(foreignQueue))
					} else {
						r.daemon(h.Queue, "queues: {max_length: 65535, receive_buffer: 67108864}\nrules: {placement: output, destination_ports: [5300]}")
					}
					in := listenLarge(r, h.Receiver, h.target(port))
					burst{to: h.target(port), flows: flows, packets: 2}.send(r, h.Sender)
					return r.endBefore(in, 2*flows)
				},
				more: func(t *testing.T, _, hold outcome) {
					if n := hold.statistics.Gate.Total.Gone; n != 0 {
						t.Errorf("%d were taken for gone, and none was", n)
					}
				},
			})
		})
	}
}

// G2 with nothing of the daemon's: two other programs' queues, one behind the other.
func TestTwoOtherQueues(t *testing.T) {
	sideBySide(t, scenario{
		guard: patient, arrive: 400, clashes: 150,
		play: func(r *run) outcome {
			h := oneHost(r, "ipv4")
			queueTo(r, h.Queue, "OUTPUT", foreignQueue)
			queueTo(r, h.Queue, "POSTROUTING", foreignQueue+1)
			startForeign(r, h.Queue, foreignConfig{Queue: foreignQueue, Delay: 70 * time.Millisecond})
			startForeign(r, h.Queue, foreignConfig{Queue: foreignQueue + 1, Delay: 70 * time.Millisecond})
			r.before(h.Queue, fmt.Sprintf("%d-%d", foreignQueue, foreignQueue+1))
			in := listen(r, h.Receiver, h.target(port))
			burst{to: h.target(port), flows: 100, packets: 4, pause: time.Millisecond}.send(r, h.Sender)
			o := r.endBefore(in, 400)
			if d := o.longest(); d > stuck {
				r.Errorf("a packet was on its way for %v", d)
			}
			return o
		},
	})
}

// TestAnswersOutOfOrder: another program's threads answer out of order, so that
// a queue's length says nothing about any packet. None is gone. The order of
// packets is that program's.
func TestAnswersOutOfOrder(t *testing.T) {
	sideBySide(t, scenario{
		arrive: 2000, clashes: 100,
		play: func(r *run) outcome {
			h := oneHost(r, "ipv4")
			queueTo(r, h.Queue, "OUTPUT", foreignQueue)
			f := startForeign(r, h.Queue, foreignConfig{Queue: foreignQueue, Threads: 4, Jitter: 2 * time.Millisecond})
			r.before(h.Queue, fmt.Sprint(foreignQueue))
			in := listen(r, h.Receiver, h.target(port))
			burst{to: h.target(port), flows: 500, packets: 4, pause: time.Millisecond}.send(r, h.Sender)
			o := r.endBefore(in, 2000)
			if got := f.end(); got.Overtaken == 0 {
				r.Errorf("the other program answered in order: %+v", got)
			}
			o.longest()
			o.reordered = 0
			return o
		},
		more: func(t *testing.T, _, hold outcome) {
			if n := hold.statistics.Gate.Total.Gone; n != 0 {
				t.Errorf("%d were taken for gone, and none was", n)
			}
		},
	})
}

// TestOtherProgramDrops: another program drops the first two packets of each flow.
func TestOtherProgramDrops(t *testing.T) {
	sideBySide(t, scenario{
		guard: patient, arrive: 200,
		play: func(r *run) outcome {
			h := oneHost(r, "ipv4")
			queueTo(r, h.Queue, "OUTPUT", foreignQueue)
			startForeign(r, h.Queue, foreignConfig{Queue: foreignQueue, Think: 200 * time.Microsecond, DropNumbers: []uint32{0, 1}})
			r.before(h.Queue, fmt.Sprint(foreignQueue))
			in := listen(r, h.Receiver, h.target(port))
			burst{to: h.target(port), flows: 100, packets: 4, pause: time.Millisecond}.send(r, h.Sender)
			o := r.endBefore(in, 200)
			if d := o.longest(); d > stuck {
				r.Errorf("a packet was on its way for %v", d)
			}
			return o
		},
	})
}

// busyQueue is another program's queue that is never empty: it holds each packet
// 20 ms, and 2,000 new flows a second go through it until it is told to end.
func busyQueue(t testing.TB, ns *netlab.NetNS) (end func()) {
	t.Helper()
	const busy = 9000
	iptables(t, ns, fmt.Sprintf("-t mangle -A OUTPUT -p udp --dport %d -j NFQUEUE --queue-num %d", busy, foreignQueue))
	startForeign(t, ns, foreignConfig{Queue: foreignQueue, Delay: 20 * time.Millisecond})
	s := listen(t, ns, netip.MustParseAddrPort("127.0.0.1:0"))
	stopped, done := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(done)
		for n := uint32(0); ; n++ {
			select {
			case <-stopped:
				return
			case <-time.After(500 * time.Microsecond):
			}
			to := netip.AddrFrom4([4]byte{127, 1 + byte(n>>16), byte(n >> 8), byte(n)})
			_, _ = s.conns[0].WriteToUDPAddrPort([]byte("busy"), netip.AddrPortFrom(to, busy))
		}
	}()
	end = sync.OnceFunc(func() { close(stopped); <-done })
	t.Cleanup(end)
	time.Sleep(50 * time.Millisecond)
	return end
}

// G3: three packets of a flow are dropped by a rule behind the queue, and the
// fourth is good, while another queue is never empty.
func TestThreeDroppedWhileAnotherQueueIsBusy(t *testing.T) {
	sideBySide(t, scenario{
		guard: patient, arrive: 20,
		play: func(r *run) outcome {
			h := oneHost(r, "ipv4")
			end := busyQueue(r, h.Queue)
			childtest.NFT(r, h.Queue, "table inet behind { chain out { type filter hook output priority 0;\n"+
				sequenceIs(0)+" drop\n"+sequenceIs(1)+" drop\n"+sequenceIs(2)+" drop\n}; }")
			r.daemon(h.Queue, "rules: {placement: output, destination_ports: [5300]}")
			in := listen(r, h.Receiver, h.target(port))
			burst{to: h.target(port), flows: 20, packets: 4, pause: 5 * time.Millisecond}.send(r, h.Sender)
			in.await(20, 5*time.Second)
			end()
			o := r.end(in, 20)
			if d := o.longest(); d > stuck {
				r.Errorf("a good packet was on its way for %v: it waited for those that were dropped", d)
			}
			return o
		},
	})
}

// G3: one socket sends 110 datagrams to a filtered port, and then one to a good
// one. Its send buffer does not hold as many, so that it waits for those held.
//
// It takes some 0.6 s where the machine does nothing else, and 110 s if each of them is waited for until guard.hold.
func TestFilteredPortThenGoodOne(t *testing.T) {
	const most = 8 * time.Second
	for _, busy := range []bool{false, true} {
		t.Run(map[bool]string{false: "alone", true: "another queue is busy"}[busy], func(t *testing.T) {
			sideBySide(t, scenario{
				arrive: 1, late: true, unjudged: true,
				play: func(r *run) outcome {
					h := oneHost(r, "ipv4")
					end := func() {}
					if busy {
						end = busyQueue(r, h.Queue)
					}
					childtest.NFT(r, h.Queue, "table inet behind { chain out { type filter hook output priority 0; udp dport 5301 drop; }; }")
					r.daemon(h.Queue, "rules: {placement: output, destination_ports: [5300, 5301]}")
					in, out := listen(r, h.Receiver, h.target(port)), listen(r, h.Sender, netip.AddrPortFrom(h.Sources, 0)).conns[0]
					began, buf := time.Now(), make([]byte, 1400)
					for i := range 110 {
						packet(buf, flowNumber.Add(1), uint32(i))
						if _, err := out.WriteToUDPAddrPort(buf, h.target(port+1)); err != nil && !droppedLocally(err) {
							r.Fatal(err)
						}
					}
					packet(buf, flowNumber.Add(1), 0)
					if _, err := out.WriteToUDPAddrPort(buf, h.target(port)); err != nil {
						r.Fatal(err)
					}
					in.await(1, most)
					took := time.Since(began)
					end()
					o := r.end(in, 1)
					o.figures["took_ms"] = float64(took.Milliseconds())
					if took > most {
						r.Errorf("the good datagram arrived after %v, want %v at most", took, most)
					}
					return o
				},
			})
		})
	}
}

// G4: the judging program stands still for longer than guard.hold. What would be
// let go meanwhile would only wait in its queue, and clash.
func TestJudgeStandsStill(t *testing.T) {
	sideBySide(t, scenario{
		arrive: 400, clashes: 150,
		play: func(r *run) outcome {
			h := oneHost(r, "ipv4")
			queueTo(r, h.Queue, "OUTPUT", foreignQueue)
			f := startForeign(r, h.Queue, foreignConfig{Queue: foreignQueue})
			r.before(h.Queue, fmt.Sprint(foreignQueue))
			in := listen(r, h.Receiver, h.target(port))
			f.Signal(syscall.SIGSTOP)
			burst{to: h.target(port), flows: 100, packets: 4, pause: time.Millisecond}.send(r, h.Sender)
			time.Sleep(3400 * time.Millisecond)
			f.Signal(syscall.SIGCONT)
			return r.endBefore(in, 400)
		},
	})
}

// G5: flows in a conntrack zone, six packets at once, with the queue on the way
// out and on the way in.
func TestZone(t *testing.T) {
	const zone = `table inet zones {
		chain out { type filter hook output priority -300; ct zone set 7; }
		chain in { type filter hook prerouting priority -300; ct zone set 7; }
	}`
	for placement, hosts := range map[string]func(testing.TB, ...string) hosts{"output": oneHost, "input": twoHosts} {
		t.Run(placement, func(t *testing.T) {
			sideBySide(t, scenario{
				guard: patient, arrive: 120, clashes: 60,
				play: func(r *run) outcome {
					h := hosts(r, "ipv4")
					childtest.NFT(r, h.Queue, zone)
					r.daemon(h.Queue, analysis+"rules: {placement: "+placement+", destination_ports: [5300]}")
					in := listen(r, h.Receiver, h.target(port))
					burst{to: h.target(port), flows: 20, packets: 6}.send(r, h.Sender)
					o := r.end(in, 120)
					if d := o.longest(); d > stuck {
						r.Errorf("a packet was on its way for %v", d)
					}
					return o
				},
			})
		})
	}
}

// G9: a program that wants a flow's second packet before it judges the first.
// Only letting it go helps, which clashes; that must take milliseconds once it is
// known of the program, and be said once.
func TestWantsSecondPacket(t *testing.T) {
	const many, learnt = 90, 10
	const givesUp = 10 * time.Second // of the program: far later than it is known on a busy machine
	var log *recorder
	var second uint64
	_, hold, both := bothModes(t, "", func(r *run) outcome {
		h := oneHost(r, "ipv4")
		queueTo(r, h.Queue, "OUTPUT", foreignQueue)
		startForeign(r, h.Queue, foreignConfig{Queue: foreignQueue, WantsSecond: givesUp})
		r.ns, r.clashes = h.Queue, clashes(r, h.Queue)
		if r.mode == "hold" {
			log = &recorder{TB: r}
			r.child = childtest.Guard(log, h.Queue, "guard: {mode: hold}", "--queue", fmt.Sprint(foreignQueue))
		}
		in := listen(r, h.Receiver, h.target(port))
		first := flowNumber.Load() + 1
		// The program is found out by flows that wait, and is known from then on.
		burst{to: h.target(port), flows: learnt, packets: 3, pause: 25 * time.Millisecond}.send(r, h.Sender)
		in.await(3*learnt, givesUp)
		burst{to: h.target(port), flows: many - learnt, packets: 3, pause: 25 * time.Millisecond}.send(r, h.Sender)
		in.await(3*many, 2*time.Second)
		o := r.endBefore(in, 3*many)
		var late []arrival
		for _, a := range o.arrivals {
			if a.flow >= first+learnt {
				late = append(late, a)
			}
		}
		// It is tried twice, when it has judged nothing for a second.
		if d := o.longest(); d > givesUp/2 || o.arrived != 3*many || o.reordered+o.duplicated != 0 {
			r.Errorf("%v; the longest way took %v", o, d)
		}
		// Of one that is not known each flow takes a second. A busy machine takes some time, too.
		if slow := slower(late, 100*time.Millisecond); slow > len(late)/4 || delay(late) > 900*time.Millisecond {
			r.Errorf("the program should be known by now, and %d packets took more than 100 ms, the longest %v", slow, delay(late))
		}
		if r.mode == "hold" {
			second = o.statistics.Gate.Total.ExpiredSecond
		}
		return o
	})
	if !both || log == nil {
		return
	}
	if hold.statistics.Gate.Total.Held > 0 && second == 0 {
		t.Error("no packet is counted as expired because the program wants a second one")
	}
	if n := log.said("has seen the second"); n != 1 {
		t.Errorf("it was said %d times that the program wants a second packet, want once", n)
	}
}

package attacks

import (
	"fmt"
	"net/netip"
	"os"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"verdictd/daemon/internal/childtest"
	"verdictd/internal/testkit"
)

// What nobody has reported, and a gate might get wrong: its bounds, its end, many flows at once, and who shares a
// host with it.

// cpuTime is the processor time that a child has used.
func cpuTime(c *childtest.Child) time.Duration {
	c.T.Helper()
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", c.Cmd.Process.Pid))
	if err != nil {
		c.T.Fatal(err)
	}
	_, rest, _ := strings.Cut(string(b), ") ")
	fields := strings.Fields(rest)
	const user, system = 11, 12 // behind the name
	ticks := 0
	for _, i := range []int{user, system} {
		n, err := strconv.Atoi(fields[i])
		if err != nil {
			c.T.Fatal(err)
		}
		ticks += n
	}
	return time.Duration(ticks) * time.Second / 100 // USER_HZ is 100 everywhere
}

// TestOneFlowBeyondItsBound: more packets of one flow than the gate holds, while
// the first waits. None is lost, and none overtakes one that is held.
func TestOneFlowBeyondItsBound(t *testing.T) {
	const packets = 2000
	_, hold, both := bothModes(t, "flow_packets: 64", func(r *run) outcome {
		h := oneHost(r, "ipv4")
		queueTo(r, h.Queue, "OUTPUT", foreignQueue)
		startForeign(r, h.Queue, foreignConfig{Queue: foreignQueue, Delay: 100 * time.Millisecond})
		r.before(h.Queue, fmt.Sprint(foreignQueue))
		in := listenLarge(r, h.Receiver, h.target(port))
		burst{to: h.target(port), flows: 3, packets: packets}.send(r, h.Sender)
		return r.endBefore(in, 3*packets)
	})
	if !both {
		return
	}
	if hold.arrived != 3*packets || hold.duplicated+hold.reordered != 0 {
		t.Errorf("%d of %d arrived, %d twice, %d out of order", hold.arrived, 3*packets, hold.duplicated, hold.reordered)
	}
	if g := hold.statistics.Gate.Total; g.Unguarded == 0 || g.MaxHeld > 3*64 {
		t.Errorf("%d were held at once, %d went on unguarded: want 192 at most, and some", g.MaxHeld, g.Unguarded)
	}
}

// TestManyFlowsHeld: 10,000 flows wait at once behind a program that stands
// still. What is asked about them is bounded, so that the gate costs next to
// nothing meanwhile, and then all go on.
func TestManyFlowsHeld(t *testing.T) {
	needsLargeBuffers(t)
	const many = 10000
	var intake, standing time.Duration
	var asked uint64
	sideBySide(t, scenario{
		arrive: 2 * many, clashes: many / 2,
		play: func(r *run) outcome {
			h := oneHost(r, "ipv4")
			queueTo(r, h.Queue, "OUTPUT", foreignQueue)
			f := startForeign(r, h.Queue, foreignConfig{Queue: foreignQueue})
			r.before(h.Queue, fmt.Sprint(foreignQueue))
			in := listenLarge(r, h.Receiver, h.target(port))
			f.Signal(syscall.SIGSTOP)
			var began time.Duration
			if r.child != nil {
				began = cpuTime(r.child)
			}
			burst{to: h.target(port), flows: many, packets: 2}.send(r, h.Sender)
			if r.child != nil {
				time.Sleep(200 * time.Millisecond) // for what is in the gate's socket still
				taken := cpuTime(r.child)
				time.Sleep(time.Second)
				intake, standing = taken-began, cpuTime(r.child)-taken
			}
			f.Signal(syscall.SIGCONT)
			o := r.endBefore(in, 2*many)
			o.longest()
			if r.child != nil {
				asked = o.statistics.Gate.Total.Asked
			}
			return o
		},
		more: func(t *testing.T, _, _ outcome) {
			t.Logf("CPU time of the gate: %v for %d packets, %v in a second in which nothing moved; %v questions", intake, 2*many, standing, asked)
			if standing > intake {
				t.Errorf("the gate used %v of a second in which nothing moved, and %v for all the packets before it", standing, intake)
			}
			// Twice for each flow, 5,000 a second from then on, and once when it goes on.
			if asked < many || asked > 6*many {
				t.Errorf("%v questions about %d flows", asked, many)
			}
		},
	})
}

// TestGuardEndsWhileHolding: an orderly end of `verdictd guard` loses nothing
// that it holds. What it lets go then may clash, as without it.
func TestGuardEndsWhileHolding(t *testing.T) {
	_, hold, both := bothModes(t, "", func(r *run) outcome {
		h := oneHost(r, "ipv4")
		queueTo(r, h.Queue, "OUTPUT", foreignQueue)
		startForeign(r, h.Queue, foreignConfig{Queue: foreignQueue, Delay: 400 * time.Millisecond})
		r.before(h.Queue, fmt.Sprint(foreignQueue))
		in := listen(r, h.Receiver, h.target(port))
		burst{to: h.target(port), flows: 50, packets: 4}.send(r, h.Sender)
		in.await(1, quiet) // most of it still waits
		if r.child == nil {
			return r.endBefore(in, 200)
		}
		return r.stop(in, 200)
	})
	if both && (hold.arrived != 200 || hold.duplicated+hold.reordered != 0) {
		t.Errorf("%v", hold)
	}
}

// TestUntrackedBehindTheGate: a rule between the gate and conntrack's lookup
// takes packets out of tracking. They never confirm, and must not wait for it.
func TestUntrackedBehindTheGate(t *testing.T) {
	_, hold, both := bothModes(t, patient, func(r *run) outcome {
		h := oneHost(r, "ipv4")
		childtest.NFT(r, h.Queue, "table inet exempt { chain out { type filter hook output priority -225; udp dport 5300 notrack; }; }")
		r.daemon(h.Queue, analysis+"rules: {placement: output, destination_ports: [5300]}")
		in := listen(r, h.Receiver, h.target(port))
		burst{to: h.target(port), flows: 20, packets: 4}.send(r, h.Sender)
		in.await(80, 2*time.Second)
		o := r.end(in, 80)
		o.longest()
		return o
	})
	if both && (hold.arrived != 80 || hold.duplicated+hold.reordered != 0 || hold.figures["longest_ms"] > float64(stuck.Milliseconds())) {
		t.Errorf("%v; want all 80, and none to wait for the hold", hold)
	}
}

// TestPolicyDropsAll: the daemon's own policy drops what it sees, which it tells
// the gate. The sender of such packets waits for none of them.
func TestPolicyDropsAll(t *testing.T) {
	var took [2]time.Duration
	_, hold, both := bothModes(t, patient, func(r *run) outcome {
		h := oneHost(r, "ipv4")
		r.daemon(h.Queue, `rules: {placement: output, destination_ports: [5300, 5301]}
policy: {default: accept, rules: [{name: no, action: drop, destination_ports: ["5301"]}]}`)
		in := listen(r, h.Receiver, h.target(port), h.target(port+1))
		began, conn := time.Now(), dial(r, h.Sender, netip.AddrPort{}, h.target(port+1), nil)
		burst{packets: 500, size: func(int) int { return 1400 }}.sendFlow(r, conn)
		_ = conn.Close()
		burst{to: h.target(port), flows: 10, packets: 4}.send(r, h.Sender)
		in.await(40, 5*time.Second)
		if r.mode == "off" {
			took[0] = time.Since(began)
		} else {
			took[1] = time.Since(began)
		}
		return r.end(in, 40)
	})
	if !both {
		return
	}
	if hold.arrived != 40 || hold.clashes != 0 || took[1] > took[0]+stuck {
		t.Errorf("%v; %v without the guard, %v with it", hold, took[0], took[1])
	}
}

// TestReusedPorts: flows that end, whose ports the next ones have, and whose
// entries are deleted at once, so that each tuple is new again and again.
func TestReusedPorts(t *testing.T) {
	sideBySide(t, scenario{
		arrive: 20 * 10 * 3, clashes: 100,
		play: func(r *run) outcome {
			near, far := twoEnds(r)
			to := netip.AddrPortFrom(farEnd, port)
			r.daemon(near, analysis+"rules: {placement: output, destination_ports: [5300]}")
			in := listen(r, far, to)
			for round := range 10 {
				burst{from: nearEnd, ports: 40000, to: to, flows: 20, packets: 3, control: option(unix.SOL_SOCKET, unix.SO_REUSEADDR, 1)}.send(r, near)
				in.await(60*(round+1), time.Second)
				time.Sleep(50 * time.Millisecond) // conntrack's answer counts for 10 ms (docs/guard.md)
				childtest.Shell(r, near, "conntrack -D -p udp --dport 5300 >/dev/null")
			}
			return r.end(in, 20*10*3)
		},
	})
}

// TestSeveralGateThreads: both directions of a flow meet in one thread of the gate.
func TestSeveralGateThreads(t *testing.T) {
	const pairs = 40
	sideBySide(t, scenario{
		guard: "queues: 4", arrive: 4 * pairs, clashes: pairs / 2,
		play: func(r *run) outcome {
			h := routed(r, "ipv4")
			r.daemon(h.Queue, slowly+"rules: {placement: forward, destination_ports: "+ports(pairs)+"}")
			in := &sink{}
			fromBothEnds(r, in, pairs, h.Sender, h.Sources, h.Receiver, h.Target)
			return r.end(in, 4*pairs)
		},
	})
}

// TestWithoutSettledSet: every packet goes through the gate, and order is strict.
func TestWithoutSettledSet(t *testing.T) {
	const many = 20
	sideBySide(t, scenario{
		guard: "settled: false, flow_packets: 1000", arrive: many * 400,
		play: func(r *run) outcome {
			near, far := twoEnds(r)
			to := netip.AddrPortFrom(farEnd, port)
			r.daemon(near, room+"\nrules: {placement: output, destination_ports: [5300]}")
			in := listenLarge(r, far, to)
			conns := flows(r, near, to, many)
			first, buf := flowNumber.Add(many)-many, make([]byte, headerBytes)
			for n := range 400 {
				for i, conn := range conns {
					packet(buf, first+uint32(i), uint32(n))
					if _, err := conn.Write(buf); err != nil {
						r.Fatal(err)
					}
				}
				if n == 200 {
					time.Sleep(50 * time.Millisecond)
					childtest.Shell(r, near, "conntrack -F")
				}
			}
			return r.end(in, many*400)
		},
		more: func(t *testing.T, _, hold outcome) {
			if g := hold.statistics.Gate.Total; g.Listed != 0 || g.Received != many*400 {
				t.Errorf("of %d packets the gate saw %d, and listed %d flows", many*400, g.Received, g.Listed)
			}
		},
	})
}

// TestRulesetFlushed: somebody flushes all rules, ours too, and loads others. The
// guard notices that its own are gone.
func TestRulesetFlushed(t *testing.T) {
	sideBySide(t, scenario{
		arrive: 100, clashes: 25,
		play: func(r *run) outcome {
			h := oneHost(r, "ipv4")
			queueTo(r, h.Queue, "OUTPUT", foreignQueue)
			startForeign(r, h.Queue, foreignConfig{Queue: foreignQueue, Think: 300 * time.Microsecond})
			r.before(h.Queue, fmt.Sprint(foreignQueue))
			childtest.Shell(r, h.Queue, "nft flush ruleset")
			if err := h.Queue.ActivateConntrack(); err != nil {
				r.Fatal(err)
			}
			queueTo(r, h.Queue, "OUTPUT", foreignQueue)
			if r.child != nil {
				r.child.AwaitLog("are put back")
				eventually(r, "the gate's rules", func() bool {
					return strings.Contains(childtest.Shell(r, h.Queue, "nft list table inet verdictd-guard"), "goto gate-select")
				})
			}
			in := listen(r, h.Receiver, h.target(port))
			burst{to: h.target(port), flows: 25, packets: 4}.send(r, h.Sender)
			return r.endBefore(in, 100)
		},
	})
}

// TestSecondGuard: two gates in one namespace would hold each other's packets.
// The second says so, and leaves the first at work.
func TestSecondGuard(t *testing.T) {
	testkit.Require(t)
	if !holds(t) {
		t.Log("this daemon cannot hold packets yet")
		return
	}
	r := &run{T: t, mode: "hold"}
	h := oneHost(r, "ipv4")
	queueTo(r, h.Queue, "OUTPUT", foreignQueue)
	startForeign(r, h.Queue, foreignConfig{Queue: foreignQueue, Think: 300 * time.Microsecond})
	r.before(h.Queue, fmt.Sprint(foreignQueue))
	var out []byte
	var ended error
	if err := h.Queue.Do(func() error {
		cmd := childtest.Program(t, "guard", "--queue", fmt.Sprint(foreignQueue))
		out, ended = cmd.CombinedOutput()
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	if ended == nil || !strings.Contains(string(out), "61440") && !strings.Contains(string(out), "verdictd-guard") {
		t.Errorf("the second guard ended with %v and said %s", ended, out)
	}
	in := listen(r, h.Receiver, h.target(port))
	burst{to: h.target(port), flows: 25, packets: 4}.send(r, h.Sender)
	if o := r.endBefore(in, 100); o.arrived != 100 || o.clashes != 0 || o.statistics.Gate.Total.Held == 0 {
		t.Errorf("%v", o)
	}
}

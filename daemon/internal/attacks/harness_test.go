package attacks

import (
	"fmt"
	"net/netip"
	"os"
	"slices"
	"testing"
	"time"

	"verdictd/daemon/internal/childtest"
	"verdictd/internal/ct"
	"verdictd/internal/netlab"
	"verdictd/internal/nfq"
	"verdictd/internal/testkit"
)

// analysis makes verdicts slow enough for a flow's packets to meet in the queue.
const analysis = "analysis: {distribution: fixed, delay: 300us, per: packet}\n"

// patient is for scenarios in which packets are dropped: on a busy machine it takes a while to know that one is gone.
const patient = "hold: 5s"

// stuck is on its way for too long on any machine, and far from what patient has a packet wait that nobody lets go.
const stuck = 3 * time.Second

// besideIt is the mode in which `verdictd guard` runs beside the daemon.
const besideIt = "beside"

// A scenario is one situation, played once with the guard off and once with it.
type scenario struct {
	// guard is further keys of the guard's section, in the form "hold: 1s, settled: false".
	guard string
	// mode is what stands for hold: the default, or auto or drop.
	mode string
	// beside plays it once more with `verdictd guard` beside a daemon whose guard is off, which is any program to it.
	beside bool
	// arrive is how many packets are right, in every mode.
	arrive int
	// clashes is how many there are at least with the guard off: without any, the scenario shows nothing. With the
	// guard there may be none.
	clashes int
	// unjudged: the number of packets that the daemon sees differs from run to run.
	unjudged bool
	// disorder: without the guard packets may come out of order.
	disorder bool
	// overtaken is how many packets may come out of order with the guard: a stream that goes on while its flow is
	// listed in the settled set may have some in the gate yet when the kernel lets the next ones pass.
	overtaken int
	// confirmed: every first packet is, so that none may be taken for gone.
	confirmed bool
	// late: packets may expire in the gate.
	late bool
	// play sets the network up, starts the daemon, sends, and tells what came of it.
	play func(r *run) outcome
	// more compares what is not compared always.
	more func(t *testing.T, off, hold outcome)
}

// An outcome is what came of one run.
type outcome struct {
	arrived, duplicated, reordered int
	clashes                        uint64
	statistics                     childtest.Counts
	arrivals                       []arrival
	// figures of the scenario's own, by name.
	figures map[string]float64
}

func (o outcome) String() string {
	return fmt.Sprintf("%d arrived, %d duplicated, %d reordered, %d clashes, figures %v, verdicts %+v, gate %+v",
		o.arrived, o.duplicated, o.reordered, o.clashes, o.figures, o.statistics.Total, o.statistics.Gate.Total)
}

// A run is a scenario under one mode of the guard.
type run struct {
	*testing.T
	mode  string
	guard string

	child   *childtest.Child
	gate    *childtest.Child // `verdictd guard`, or nil
	ns      *netlab.NetNS    // where the daemon is
	clashes uint64           // there, before
}

// sideBySide plays a scenario with the guard off and with packets held, and compares.
func sideBySide(t *testing.T, s scenario) {
	t.Helper()
	testkit.Require(t)
	counted := testkit.CountsClashes(t)
	results := map[string]outcome{}
	guarded := s.mode
	if guarded == "" {
		guarded = "hold"
	}
	modes := []string{"off", guarded}
	if s.beside {
		modes = append(modes, besideIt)
	}
	for _, mode := range modes {
		t.Run(mode, func(t *testing.T) {
			o := s.play(&run{T: t, mode: mode, guard: s.guard})
			t.Log(o)
			results[mode] = o
			if o.arrived != s.arrive || o.duplicated != 0 || o.reordered > s.maxReordered(mode) {
				t.Errorf("%d arrived, %d twice, %d out of order; want %d, 0, %d at most",
					o.arrived, o.duplicated, o.reordered, s.arrive, s.maxReordered(mode))
			}
			v := o.statistics.Total
			if v.VerdictErrors+v.QueueDropped+v.UserDropped > 0 {
				t.Errorf("verdicts: %+v", v)
			}
			if mode == "off" && counted && o.clashes < uint64(s.clashes) {
				t.Errorf("%d clashes without the guard, want at least %d: the scenario shows nothing", o.clashes, s.clashes)
			}
			if mode != "off" {
				checkGate(t, s, o)
			}
		})
	}
	off, played := results["off"]
	for _, mode := range modes[1:] {
		hold, also := results[mode]
		if !played || !also {
			continue // it has failed
		}
		if judged := off.statistics.Total.Received; !s.unjudged && hold.statistics.Total.Received != judged {
			t.Errorf("%s: %d packets were judged, %d without the guard", mode, hold.statistics.Total.Received, judged)
		}
		if s.more != nil {
			s.more(t, off, hold)
		}
	}
}

func (s scenario) maxReordered(mode string) int {
	switch {
	case mode != "off":
		return s.overtaken
	case s.disorder:
		return s.arrive
	}
	return 0
}

// checkGate is what holds of every gate.
func checkGate(t *testing.T, s scenario, o outcome) {
	t.Helper()
	g := o.statistics.Gate.Total
	switch {
	case o.clashes != 0:
		t.Errorf("%d clashes with the guard, want none", o.clashes)
	case o.statistics.Guard != "hold" && s.mode != "drop":
		t.Errorf("the guard is %q, want hold", o.statistics.Guard)
	case g.VerdictErrors+g.QueueDropped+g.UserDropped+g.Unguarded > 0, g.Expired > 0 && !s.late:
		t.Errorf("gate: %+v", g)
	case s.clashes > 0 && g.Held == 0:
		t.Errorf("the gate held no packet: %+v", g)
	case s.confirmed && g.Gone > 0:
		t.Errorf("%d first packets were taken for gone, and none was: %+v", g.Gone, g)
	}
}

// holds says whether the daemon knows guard.mode hold.
func holds(t *testing.T) bool {
	t.Helper()
	name := t.TempDir() + "/hold.yaml"
	if err := os.WriteFile(name, []byte("guard: {mode: hold}\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	return childtest.Program(t, "check", "--config", name).Run() == nil
}

// daemon starts `verdictd run` in a namespace under the run's mode. The configuration is in YAML, without guard and
// statistics.
func (r *run) daemon(ns *netlab.NetNS, config string) *childtest.Child {
	r.Helper()
	section := func(mode string) string {
		if r.guard != "" && mode != "off" {
			mode += ", " + r.guard
		}
		return "\nguard: {mode: " + mode + "}\n"
	}
	r.ns, r.clashes = ns, clashes(r, ns)
	if r.mode != besideIt {
		r.child = childtest.Daemon(r, ns, config+section(r.mode))
		return r.child
	}
	r.child = childtest.Daemon(r, ns, config+section("off"))
	r.gate = childtest.Guard(r, ns, section("hold"))
	return r.child
}

// quiet is how long nothing comes when all has come that will.
const quiet = 500 * time.Millisecond

// end waits until as many packets as are expected have arrived or nothing more comes, stops the daemon, and sums up.
// Waiting for none shows that none comes: what was held is let go at the stop at the latest.
func (r *run) end(in *sink, expected int) outcome {
	r.Helper()
	in.await(expected, quiet)
	awaitIdle(r, r.ns)
	return r.stop(in, expected)
}

// stop stops the daemon, whatever waits there, and sums up what came of it.
func (r *run) stop(in *sink, expected int) outcome {
	r.Helper()
	o := outcome{figures: map[string]float64{}}
	if r.gate != nil {
		gate := r.gate.Stop()
		o.statistics = r.child.Stop()
		o.statistics.Guard, o.statistics.Gate = gate.Guard, gate.Gate
	} else {
		o.statistics = r.child.Stop()
	}
	r.sumUp(&o, in, expected)
	return o
}

// sumUp looks at what has come, when nothing waits for a verdict any more.
func (r *run) sumUp(o *outcome, in *sink, expected int) {
	r.Helper()
	awaitIdle(r, r.ns)
	in.await(expected, quiet)
	time.Sleep(20 * time.Millisecond) // for what would be too much
	o.clashes = clashes(r, r.ns) - r.clashes
	o.arrivals = in.arrivals()
	o.arrived, o.duplicated, o.reordered = count(o.arrivals)
}

// waiting is how many packets wait in some of a namespace's queues, or in all.
func waiting(t testing.TB, ns *netlab.NetNS, of ...uint16) (n int) {
	t.Helper()
	err := ns.Do(func() error {
		queues, err := nfq.ReadKernelQueues()
		for _, q := range queues {
			if len(of) == 0 || slices.Contains(of, q.Queue) {
				n += int(q.Queued)
			}
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// eventually waits for something.
func eventually(t testing.TB, what string, is func() bool) {
	t.Helper()
	for until := time.Now().Add(childtest.ReadyWithin); !is(); time.Sleep(2 * time.Millisecond) {
		if time.Now().After(until) {
			t.Fatalf("waited in vain: %s", what)
		}
	}
}

// awaitQueued waits until so many packets wait in a namespace's queues.
func awaitQueued(t testing.TB, ns *netlab.NetNS, packets int) {
	t.Helper()
	for until := time.Now().Add(childtest.ReadyWithin); ; time.Sleep(2 * time.Millisecond) {
		n := waiting(t, ns)
		if n == packets {
			return
		}
		if time.Now().After(until) {
			t.Fatalf("%d packets wait in queues, want %d", n, packets)
		}
	}
}

// awaitIdle returns when no packet waits in a namespace's queues any more, and has not for a moment: each packet that
// the gate lets go comes to the next queue in between.
func awaitIdle(t testing.TB, ns *netlab.NetNS) {
	t.Helper()
	const (
		patience = 20 * time.Second
		looks    = 15 // and so many times in a row, as who waits for a CPU has not looked
	)
	for began, idle := time.Now(), 0; idle < looks; time.Sleep(2 * time.Millisecond) {
		idle++
		n := waiting(t, ns)
		if n > 0 {
			idle = 0
		}
		if time.Since(began) > patience {
			t.Errorf("%d packets still wait %v after they were sent", n, patience)
			return
		}
	}
}

// clashes is how many clashes a namespace's conntrack has had.
func clashes(t testing.TB, ns *netlab.NetNS) (n uint64) {
	t.Helper()
	err := ns.Do(func() error {
		c, err := ct.Dial()
		if err != nil {
			return err
		}
		defer func() { _ = c.Close() }()
		s, err := c.Snapshot()
		n = s.Total().Clashes().N
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// hosts is a topology of one family, or of two.
type hosts struct {
	*netlab.Topology
	netlab.Network // of the first family
}

func newHosts(t testing.TB, kind netlab.TopologyKind, families ...string) hosts {
	t.Helper()
	testkit.Require(t)
	top, err := netlab.NewTopology(kind, families...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := top.Close(); err != nil {
			t.Error(err)
		}
	})
	return hosts{top, netlab.Networks[families[0]]}
}

// oneHost sends to itself over lo.
func oneHost(t testing.TB, families ...string) hosts {
	return newHosts(t, netlab.Loopback, families...)
}

// twoHosts is a sender and, over veth, a receiver, which is where the queue belongs.
func twoHosts(t testing.TB, families ...string) hosts {
	return newHosts(t, netlab.TwoHosts, families...)
}

// routed is a sender, a router, where the queue belongs, and a receiver.
func routed(t testing.TB, families ...string) hosts { return newHosts(t, netlab.Routed, families...) }

// target is the receiver's address with a port.
func (h hosts) target(port uint16) netip.AddrPort { return netip.AddrPortFrom(h.Target, port) }

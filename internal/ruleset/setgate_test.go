package ruleset

import (
	"errors"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"verdictd/internal/netlab"
	"verdictd/internal/testkit"
	"verdictd/internal/vocabulary"
)

// A gate's table is known for ours from the start to the end, also while it is
// empty, and its base chains stay.
func TestGateLifecycle(t *testing.T) {
	for _, placement := range vocabulary.Placements() {
		t.Run(string(placement), func(t *testing.T) {
			testkit.Namespace(t)
			g := testGate()
			c := udpRules(placement, vocabulary.FanoutBalance, 1)
			c.Gate = &g
			i := install(t, c)
			base := baseChains(t, c.Table)
			if len(base) != len(hooks(placement))+len(gateBases) {
				t.Errorf("base chains %v", base)
			}
			full := shown(t, c.Table)
			g.Traffic = nil
			if err := i.SetGate(g); err != nil {
				t.Fatal(err)
			}
			if i.Settled() != nil {
				t.Error("a settled set of a gate that is not active")
			}
			empty := shown(t, c.Table)
			if strings.Contains(empty, "\tct ") || strings.Contains(empty, " ct ") {
				t.Errorf("rules that look at conntrack are left:\n%s", empty)
			}
			if err := i.SetGate(testGate()); err != nil {
				t.Fatal(err)
			}
			if again := shown(t, c.Table); again != full {
				t.Errorf("filled again it is\n%s, want\n%s", again, full)
			}
			if err := i.Detach(); err != nil {
				t.Fatal(err)
			}
			if after := baseChains(t, c.Table); !slices.Equal(after, base) {
				t.Errorf("base chains %v after Detach, want %v", after, base)
			}
			text := shown(t, c.Table)
			for _, name := range base {
				if !strings.Contains(text, "chain "+name+" {\n\t\ttype filter hook") {
					t.Fatalf("no chain %s:\n%s", name, text)
				}
				_, rules, _ := strings.Cut(text, "chain "+name+" {\n")
				if rules, _, _ = strings.Cut(rules, "\t}\n"); strings.Count(rules, "\n") != 1 {
					t.Errorf("chain %s has rules after Detach:\n%s", name, rules)
				}
			}
			if err := i.Remove(); err != nil {
				t.Fatal(err)
			}
			if names := tableNames(t); !slices.Equal(names, []string{netlab.AnchorTable}) {
				t.Errorf("tables %v are left", names)
			}
		})
	}
}

// A change of the gate's rules reaches no packet that waits, in the gate's queues or
// in others.
func TestSetGateKeepsWaitingPackets(t *testing.T) {
	ns := testkit.Namespace(t)
	c := udpRules(vocabulary.PlacementOutput, vocabulary.FanoutBalance, 1)
	g := testGate()
	c.Gate = &g
	hold := make(chan struct{})
	l := listen(t, c, hold)
	i := install(t, c)
	_, _, loopback := ends(false)
	first, second := open(t, ns, ns, at(loopback)), open(t, ns, ns, at(loopback))
	if err := i.Settled().Add([]Tuple{first.tuple()}); err != nil {
		t.Fatal(err)
	}
	first.send(1) // announced, and later in the verdict queue
	second.send(1)
	waitFor(t, l, 2)
	hold <- struct{}{} // one of them goes on to the queue
	waitFor(t, l, 1)
	for _, change := range []func(*Gate){
		func(g *Gate) { g.Traffic = nil },
		func(*Gate) {},
		func(g *Gate) { g.Settled = false },
		func(g *Gate) { g.Zones, g.ExemptPorts = []uint16{5}, []uint16{1} },
		func(g *Gate) { g.SettledTimeout = 5 * time.Second },
	} {
		changed := testGate()
		change(&changed)
		if err := i.SetGate(changed); err != nil {
			t.Fatal(err)
		}
	}
	close(hold)
	for _, f := range []*flow{first, second} {
		if !f.receive(surely) {
			t.Error("a packet that waited was lost")
		}
	}
}

// waitFor waits until so many more packets are in the queues.
func waitFor(t *testing.T, l *listener, packets int) {
	t.Helper()
	for end := time.Now().Add(surely); packets > 0; time.Sleep(time.Millisecond) {
		if packets -= len(l.take()); time.Now().After(end) {
			t.Fatalf("%d packets are missing", packets)
		}
	}
}

// What is listed stays as long as the settled set is the same; one with another timeout
// is another set.
func TestSetGateKeepsElements(t *testing.T) {
	testkit.Namespace(t)
	i := install(t, gateAlone(testGate()))
	if err := i.Settled().Add(many(false, 3)); err != nil {
		t.Fatal(err)
	}
	changed := testGate()
	changed.ExemptPorts = []uint16{9}
	if err := i.SetGate(changed); err != nil {
		t.Fatal(err)
	}
	if n := elements(t, i, false); n != 6 {
		t.Errorf("%d elements, want 6", n)
	}
	changed.SettledTimeout, changed.SettledSize = 7*time.Second, 1000
	if err := i.SetGate(changed); err != nil {
		t.Fatal(err)
	}
	if err := i.Settled().Add(many(true, 1)); err != nil {
		t.Fatal(err)
	}
	if text := shown(t, i.table); !strings.Contains(text, "timeout 7s }") || !regexp.MustCompile(`expires [0-7](\.\d+)?s`).MatchString(text) {
		t.Errorf("the new timeout is not in force:\n%s", text)
	}
	changed.Settled = false
	if err := i.SetGate(changed); err != nil {
		t.Fatal(err)
	}
	if i.Settled() != nil {
		t.Error("a settled set that is not wanted")
	}
	if text := shown(t, i.table); strings.Contains(text, "expires") || strings.Contains(text, "@settled") {
		t.Errorf("the set is still in use:\n%s", text)
	}
	if err := i.Sweep(); err != nil {
		t.Fatal(err)
	}
	same(t, i)
}

// A gate that begins without a settled set can get one.
func TestSetGateAddsSettled(t *testing.T) {
	ns := testkit.Namespace(t)
	g := testGate()
	g.Settled, g.Traffic = false, nil
	i, l := guarded(t, g)
	for range 2 {
		if err := i.SetGate(testGate()); err != nil {
			t.Fatal(err)
		}
	}
	_, _, loopback := ends(false)
	f := open(t, ns, ns, at(loopback))
	f.deliver()
	expectQueues(t, "before", l, arrivals)
	if err := i.Settled().Add([]Tuple{f.tuple()}); err != nil {
		t.Fatal(err)
	}
	f.deliver()
	expectQueues(t, "listed", l)
}

func TestSetGateRefuses(t *testing.T) {
	testkit.Namespace(t)
	i := install(t, gateAlone(testGate()))
	if err := i.SetGate(Gate{}); err == nil {
		t.Error("no queues, and no error")
	}
	if err := i.Remove(); err != nil {
		t.Fatal(err)
	}
	if err := i.SetGate(testGate()); !errors.Is(err, ErrNotFound) {
		t.Errorf("removed: error %v", err)
	}
}

// Connection tracking is as it was while the gate is not active.
func TestGateLeavesTrackingAlone(t *testing.T) {
	testkit.Require(t)
	ns := namespace(t)
	leave, err := ns.Enter()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = leave() })
	g := testGate()
	g.Traffic = nil
	i, l := guarded(t, g)
	_, _, loopback := ends(false)
	for _, active := range []bool{false, true, false} {
		g.Traffic = nil
		if active {
			g = testGate()
		}
		if err := i.SetGate(g); err != nil {
			t.Fatal(err)
		}
		f := open(t, ns, ns, at(loopback))
		f.deliver()
		if got := isTracked(t, f); got != active {
			t.Errorf("active is %v: tracked is %v", active, got)
		}
		if got := len(l.take()); (got == 1) != active {
			t.Errorf("active is %v: %d packets entered", active, got)
		}
	}
}

func TestGateProblems(t *testing.T) {
	six := uint16(6)
	for name, test := range map[string]struct {
		change func(*Config)
		want   string
	}{
		"fine":               {func(*Config) {}, ""},
		"alone":              {func(c *Config) { c.Placement, c.Queues, c.Fanout = vocabulary.PlacementNone, 0, "" }, ""},
		"up to the last":     {func(c *Config) { c.Gate.FirstQueue = 65534 }, ""},
		"right behind":       {func(c *Config) { c.Gate.FirstQueue = 11 }, ""},
		"right before":       {func(c *Config) { c.Gate.FirstQueue = 8 }, ""},
		"no queues":          {func(c *Config) { c.Gate.Queues = 0 }, "no queues"},
		"past the last":      {func(c *Config) { c.Gate.FirstQueue = 65535 }, "65536"},
		"past it with zones": {func(c *Config) { c.Gate.FirstQueue, c.Gate.Zones = 65533, []uint16{1} }, "65536"},
		"overlap":            {func(c *Config) { c.Gate.FirstQueue = 9 }, "overlap"},
		"zone 0":             {func(c *Config) { c.Gate.Zones = []uint16{0} }, "zones"},
		"zone twice":         {func(c *Config) { c.Gate.Zones = []uint16{5, 5} }, "once"},
		"zone not served":    {func(c *Config) { c.Gate.Zones, c.Gate.TemplateZone = []uint16{5}, &six }, "zone 6"},
		"no room":            {func(c *Config) { c.Gate.SettledSize = 1 }, "takes 2"},
		"no time":            {func(c *Config) { c.Gate.SettledTimeout = 0 }, "1ms"},
		"exempt 0":           {func(c *Config) { c.Gate.ExemptPorts = []uint16{0} }, "exempt port 0"},
		"no family":          {func(c *Config) { c.Gate.Traffic[0].IPv4, c.Gate.Traffic[0].IPv6 = false, false }, "family"},
		"no protocol":        {func(c *Config) { c.Gate.Traffic[0].Protocols = nil }, "no protocol"},
		"TCP":                {func(c *Config) { c.Gate.Traffic[0].Protocols = []uint8{unix.IPPROTO_TCP} }, "protocol 6"},
		"ports in disorder":  {func(c *Config) { c.Gate.Traffic[0].Ports = []vocabulary.PortRange{vocabulary.Ports(2, 1)} }, "2 to 1"},
	} {
		t.Run(name, func(t *testing.T) {
			g := testGate()
			c := udpRules(vocabulary.PlacementOutput, vocabulary.FanoutBalance, 1)
			c.Gate = &g
			test.change(&c)
			err := c.validate()
			if (err == nil) != (test.want == "") || err != nil && !strings.Contains(err.Error(), test.want) {
				t.Errorf("error %v, want %q", err, test.want)
			}
		})
	}
}

// The queues' numbers, by worker and zone.
func TestGateNumbers(t *testing.T) {
	g := Gate{FirstQueue: 61440, Queues: 3, Zones: []uint16{7, 9}}
	for zone, want := range []string{"61440-61442", "61443-61445", "61446-61448"} {
		if got := g.arrivals(zone).String(); got != "queue flags bypass to "+want {
			t.Errorf("zone %d: %s, want %s", zone, got, want)
		}
	}
	if got := g.announcements(0).String(); got != "queue flags bypass to 61449-61451" {
		t.Errorf("announcements: %s", got)
	}
	if got := g.last(); got != 61440+2*3*3-1 {
		t.Errorf("the last is %d", got)
	}
}

// So does one about a packet whose entry has no place in conntrack's table yet, which
// the queue would swallow.
func TestErrorsOfUnconfirmedPass(t *testing.T) {
	for _, placement := range []vocabulary.Placement{vocabulary.PlacementPreConntrack, vocabulary.PlacementOutput, vocabulary.PlacementPostrouting, vocabulary.PlacementVerdict3} {
		t.Run(string(placement), func(t *testing.T) {
			bothFamilies(t, func(t *testing.T, ipv6 bool) {
				client, server, address := routed(t, ipv6)
				c := udpRules(placement, vocabulary.FanoutBalance, 1)
				c.Protocols = []uint8{unix.IPPROTO_ICMP, unix.IPPROTO_ICMPV6}
				listen(t, c, nil)
				install(t, c)
				f := open(t, client, server, at(address))
				expireOnTheWay(t, f, ipv6)
				f.send(1)
				if err := f.client.SetReadDeadline(time.Now().Add(surely)); err != nil {
					t.Fatal(err)
				}
				if _, err := f.client.Read(make([]byte, 1)); !errors.Is(err, unix.EHOSTUNREACH) {
					t.Errorf("a packet that expires at the router: %v, want %v", err, unix.EHOSTUNREACH)
				}
			})
		})
	}
}

// expireOnTheWay has a flow's packets live for one hop, and its client hear of it.
func expireOnTheWay(t *testing.T, f *flow, ipv6 bool) {
	t.Helper()
	raw, err := f.client.SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	var set error
	err = raw.Control(func(fd uintptr) {
		if ipv6 {
			set = errors.Join(unix.SetsockoptInt(int(fd), unix.IPPROTO_IPV6, unix.IPV6_UNICAST_HOPS, 1),
				unix.SetsockoptInt(int(fd), unix.IPPROTO_IPV6, unix.IPV6_RECVERR, 1))
			return
		}
		set = errors.Join(unix.SetsockoptInt(int(fd), unix.IPPROTO_IP, unix.IP_TTL, 1),
			unix.SetsockoptInt(int(fd), unix.IPPROTO_IP, unix.IP_RECVERR, 1))
	})
	if err := errors.Join(err, set); err != nil {
		t.Fatal(err)
	}
}

// An error that this host sends passes before a queue on its way out, which would
// swallow it, and is counted.
func TestErrorsPass(t *testing.T) {
	for _, placement := range vocabulary.Placements()[1:] {
		t.Run(string(placement), func(t *testing.T) {
			bothFamilies(t, func(t *testing.T, ipv6 bool) {
				if placement == vocabulary.PlacementForward {
					return // no errors of this host pass there
				}
				local, remote := testkit.VethPair(t)
				c := udpRules(placement, vocabulary.FanoutBalance, 1)
				c.Protocols = []uint8{unix.IPPROTO_ICMP, unix.IPPROTO_ICMPV6}
				listen(t, c, nil)
				install(t, c)
				address, _, _ := ends(ipv6)
				expectRefused(t, local, remote, address)
				counted := strings.Contains(shown(t, c.Table), ` counter packets 1 `)
				if out := placement != vocabulary.PlacementInput; counted != out && !ipv6 {
					t.Errorf("counted is %v, want %v:\n%s", counted, out, shown(t, c.Table))
				}
			})
		})
	}
}

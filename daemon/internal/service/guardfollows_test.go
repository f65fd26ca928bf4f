package service

import (
	"fmt"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/google/nftables"
	"github.com/google/nftables/expr"

	"verdictd/internal/config"
	"verdictd/internal/liverules"
	"verdictd/internal/netlab"
	"verdictd/internal/nfq"
	"verdictd/internal/testkit"
)

// TestGuardFollowsRules: a guard that is there first finds the rules of a program
// that comes later, whatever makes them.
func TestGuardFollowsRules(t *testing.T) {
	queue := "-t mangle -A OUTPUT -p udp --dport 5300 -j NFQUEUE --queue-bypass --queue-num 5"
	for name, test := range map[string]struct{ add, remove func(t *testing.T) }{
		"nftables": {
			func(t *testing.T) {
				queueChain(t, "foreign", nftables.ChainHookOutput, -150, foreign)
			},
			func(t *testing.T) {
				conn := &nftables.Conn{}
				conn.FlushTable(&nftables.Table{Family: nftables.TableFamilyINet, Name: "foreign"})
				if err := conn.Flush(); err != nil {
					t.Fatal(err)
				}
			},
		},
		"iptables-nft": {
			func(t *testing.T) { command(t, "iptables-nft "+queue) },
			func(t *testing.T) { command(t, "iptables-nft -t mangle -F OUTPUT") },
		},
		"iptables-legacy": {
			func(t *testing.T) { command(t, "iptables-legacy "+queue) },
			nil, // looked at every two seconds: once is enough
		},
	} {
		t.Run(name, func(t *testing.T) {
			ns := testkit.Namespace(t)
			judge(t, ns, foreign, slow)
			g := startGuard(t, ns, config.Default())
			if text := gateText(t, ns); asksConntrack(text) {
				t.Errorf("without anything to guard there are rules:\n%s", text)
			}
			test.add(t)
			g.said.await(t, "msg=guard ", "mode=hold")
			guarded(t, 20)
			if test.remove != nil {
				g.said.forget()
				test.remove(t)
				g.said.await(t, "msg=guard ", "mode=off")
				if text := gateText(t, ns); asksConntrack(text) || !strings.Contains(text, "chain gate-output") {
					t.Errorf("rules with nothing to guard, which should have base chains alone:\n%s", text)
				}
			}
			s := g.stop()
			checkGuard(t, &s)
			if text := gateText(t, ns); text != "" {
				t.Errorf("the guard has left:\n%s", text)
			}
		})
	}
}

// TestConntrackComesAndGoes: the guard does not activate it, and is at work as long
// as somebody else does.
func TestConntrackComesAndGoes(t *testing.T) {
	ns := namespaceWithoutConntrack(t)
	judge(t, ns, foreign, slow)
	queueChain(t, "foreign", nftables.ChainHookOutput, -150, foreign)
	g := startGuard(t, ns, config.Default())
	inactive := func(when string) {
		t.Helper()
		rules, err := liverules.Read()
		if err != nil || rules.Conntrack.IPv4 == liverules.Yes { // entries that are left make it unknown
			t.Errorf("%s: conntrack %+v, %v; want it inactive", when, rules.Conntrack, err)
		}
		if text := gateText(t, ns); asksConntrack(text) {
			t.Errorf("%s: rules that activate conntrack:\n%s", when, text)
		}
	}
	inactive("at the start")
	masquerade := &nftables.Table{Family: nftables.TableFamilyIPv4, Name: "test-nat-4"}
	for range 2 {
		g.said.forget()
		activateConntrack(t)
		g.said.await(t, "msg=guard ", "mode=hold")
		guarded(t, 10)
		g.said.forget()
		conn := &nftables.Conn{}
		conn.FlushTable(masquerade) // the rest stays, or what waits in queues is dropped
		if err := conn.Flush(); err != nil {
			t.Fatal(err)
		}
		g.said.await(t, "msg=guard ", "mode=off")
		inactive("without the NAT")
	}
	s := g.stop()
	checkGuard(t, &s)
}

// activateConntrack adds a rule that needs it, as masquerading does, and matches nothing.
func activateConntrack(t *testing.T) {
	t.Helper()
	nat(t, nftables.ChainHookPostrouting, nftables.ChainPriorityNATSource,
		&expr.Meta{Key: expr.MetaKeyL4PROTO, Register: 1},
		&expr.Cmp{Op: expr.CmpOpEq, Register: 1, Data: []byte{253}},
		&expr.Masq{})
}

// TestFlushedRuleset: a firewall's reload begins with `flush ruleset`.
func TestFlushedRuleset(t *testing.T) {
	ns := testkit.Namespace(t)
	judge(t, ns, foreign, slow)
	queueChain(t, "foreign", nftables.ChainHookOutput, -150, foreign)
	g := startGuard(t, ns, config.Default())
	guarded(t, 10)
	conn := &nftables.Conn{}
	conn.FlushRuleset()
	if err := conn.Flush(); err != nil {
		t.Fatal(err)
	}
	activateConntrack(t)
	queueChain(t, "foreign", nftables.ChainHookOutput, -150, foreign)
	g.said.await(t, "are put back")
	for until := time.Now().Add(20 * time.Second); !asksConntrack(gateText(t, ns)) && time.Now().Before(until); {
		time.Sleep(10 * time.Millisecond)
	}
	guarded(t, 10)
	s := g.stop()
	checkGuard(t, &s)
}

// TestZonesComeLater: rules that put packets into zones reopen the gate, which has a
// queue for each. Meanwhile packets pass as without a guard.
func TestZonesComeLater(t *testing.T) {
	ns := testkit.Namespace(t)
	judge(t, ns, foreign, 100*time.Microsecond)
	queueChain(t, "foreign", nftables.ChainHookOutput, -150, foreign)
	g := startGuard(t, ns, config.Default())
	st := newStream(t, ns)
	before := st.reached(200)
	clashed := clashes(t)
	addZone(t, ns)
	g.said.await(t, "msg=guard ", "zones=[7]")
	st.moves++ // the gate's rules have gone for a moment
	meanwhile := st.sent.Load()
	st.reached(200)
	st.stop()
	if clashed != 0 {
		t.Errorf("%d clashes before there were zones", clashed)
	}
	s := g.stop()
	if want := before + st.sent.Load() - meanwhile; s.Gate.Total.Received < uint64(want) || s.Gate.Total.Unguarded+s.Gate.Total.VerdictErrors != 0 {
		t.Errorf("gate: %+v, want %d packets, those before the zones and those since", s.Gate.Total, want)
	}
}

func addZone(t *testing.T, ns *netlab.NetNS) {
	t.Helper()
	if err := ns.Do(func() error {
		addRule(t, &nftables.Chain{
			Table: &nftables.Table{Family: nftables.TableFamilyINet, Name: "zones"},
			Type:  nftables.ChainTypeFilter, Hooknum: nftables.ChainHookPrerouting, Priority: nftables.ChainPriorityRaw,
		}, zoneOf(7)...)
		return nil
	}); err != nil {
		t.Fatal(err)
	}
}

// TestQueuesFilledByCPU: what one thread of the gate lets go is on one CPU, and would
// be in one queue. So there is a thread for each queue where the rules fill them by
// CPU, and one again when they do no more.
func TestQueuesFilledByCPU(t *testing.T) {
	cpus := runtime.NumCPU()
	if cpus < 2 {
		t.Skip("the process has one CPU")
	}
	ns := testkit.Namespace(t)
	judge(t, ns, foreign, slow)
	judge(t, ns, foreign+1, slow)
	g := startGuard(t, ns, config.Default())
	rule := "iptables-nft -t mangle %s OUTPUT -p udp --dport 5300 -j NFQUEUE --queue-bypass"
	command(t, fmt.Sprintf(rule, "-A")+fmt.Sprintf(" --queue-balance %d:%d --queue-cpu-fanout", foreign, foreign+1))
	g.said.await(t, "msg=guard ", "mode=hold")
	guarded(t, 20)
	if n := boundQueues(t, ns); n != 2+2*2 {
		t.Errorf("%d queues are bound, want the program's two and two for each of two threads of the gate", n)
	}
	g.said.forget()
	command(t, "iptables-nft -t mangle -F OUTPUT")
	g.said.await(t, "msg=guard ", "mode=off")
	g.said.forget()
	command(t, fmt.Sprintf(rule, "-A")+fmt.Sprintf(" --queue-num %d", foreign))
	g.said.await(t, "msg=guard ", "mode=hold")
	guarded(t, 20)
	if n := boundQueues(t, ns); n != 2+2 {
		t.Errorf("%d queues are bound, want the program's two and two for the gate's one thread", n)
	}
	if s := g.stop(); s.Gate.Total.Unguarded != 0 || s.Gate.Total.Received < 2*20*4 {
		t.Errorf("gate: %+v; want both loads guarded", s.Gate.Total)
	}
}

// boundQueues counts the queues of a namespace.
func boundQueues(t *testing.T, ns *netlab.NetNS) (n int) {
	t.Helper()
	if err := ns.Do(func() error {
		queues, err := nfq.ReadKernelQueues()
		n = len(queues)
		return err
	}); err != nil {
		t.Fatal(err)
	}
	return n
}

package exposure

import (
	"context"
	"os/exec"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/nftables"
	"github.com/google/nftables/expr"
	"github.com/google/nftables/xt"
	"golang.org/x/sys/unix"

	"verdictd/daemon/internal/holders"
	"verdictd/internal/liverules"
	"verdictd/internal/nfq"
	"verdictd/internal/ruleset"
	"verdictd/internal/testkit"
	"verdictd/internal/vocabulary"
)

func TestMain(m *testing.M) { testkit.Main(m) }

// run runs one command a line in the calling thread's namespace.
func run(t *testing.T, lines string) {
	t.Helper()
	for line := range strings.Lines(lines) {
		words := strings.Fields(line)
		if len(words) == 0 {
			continue
		}
		path, err := exec.LookPath(words[0])
		if err != nil {
			t.Skipf("no %s on this machine: %v", words[0], err)
		}
		cmd := exec.Command(path, words[1:]...)
		// Without root's lock file, which an ordinary user cannot open.
		cmd.Env = append(cmd.Environ(), "XTABLES_LOCKFILE="+t.TempDir()+"/lock")
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("%s: %v\n%s", line, err, out)
		}
	}
}

// nft loads rules, without queue statements: the machine's nft, or its kernel, may lack
// them.
func nft(t *testing.T, rules string) {
	t.Helper()
	path, err := exec.LookPath("nft")
	if err != nil {
		t.Skipf("no nft on this machine: %v", err)
	}
	cmd := exec.Command(path, "-f", "-")
	cmd.Stdin = strings.NewReader(rules)
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s\n%s", err, rules, out)
	}
}

// addQueue puts a queue statement into a chain of table inet t.
func addQueue(t *testing.T, chain string, number byte) {
	t.Helper()
	conn, err := nftables.New()
	if err != nil {
		t.Fatal(err)
	}
	parent := &nftables.Table{Name: "t", Family: nftables.TableFamilyINet}
	info := xt.Unknown{number, 0, 1, 0, 1, 0, 0, 0} // struct xt_NFQ_info_v3: number, total, flags (bypass)
	conn.AddRule(&nftables.Rule{
		Table: parent, Chain: &nftables.Chain{Name: chain, Table: parent},
		Exprs: []expr.Any{&expr.Target{Name: "NFQUEUE", Rev: 3, Info: &info}},
	})
	if err := conn.Flush(); err != nil {
		t.Fatal(err)
	}
}

func made4real(t *testing.T, o Options) *Plan {
	t.Helper()
	rules, err := liverules.Read(o.Table)
	if err != nil {
		t.Fatal(err)
	}
	return Make(rules, o)
}

// Rules as people and programs write them.
func TestPlanOfRealRules(t *testing.T) {
	const masquerade = "iptables-nft -t nat -A POSTROUTING -o none -j MASQUERADE\n"
	tests := []struct {
		name, rules string
		want        string
		uncovered   string // in a sentence; empty: there is none
	}{
		{"suricata's layer 3 mode, iptables", masquerade + `
			iptables-nft -I FORWARD -j NFQUEUE
			iptables-nft -I INPUT -j NFQUEUE
			iptables-nft -I OUTPUT -j NFQUEUE`, "IPv4 icmp, udp, gre, udplite", "protocols besides"},
		{"one port, legacy", masquerade + `
			iptables-legacy -t mangle -A OUTPUT -p udp --dport 53 -j NFQUEUE --queue-balance 0:3`, "IPv4 udp port 53", ""},
		{"new connections of both families", `
			iptables-legacy -A FORWARD -m conntrack --ctstate NEW -p udp -m multiport --dports 53,5060:5070 -j NFQUEUE
			ip6tables-legacy -A FORWARD -m conntrack --ctstate NEW -p udp -j NFQUEUE`, "IPv4 udp port 53, 5060-5070; IPv6 udp", ""},
		{"a queue in raw", masquerade + "iptables-nft -t raw -A OUTPUT -p udp -j NFQUEUE", "", ""},
		{"TCP", masquerade + "iptables-nft -A OUTPUT -p tcp -j NFQUEUE", "", ""},
		{"no conntrack", "iptables-nft -A OUTPUT -p udp -j NFQUEUE", "", ""},
		{"published port", `
			iptables-nft -t nat -A PREROUTING -p udp --dport 5300 -j DNAT --to-destination 192.0.2.9:53
			iptables-nft -A FORWARD -p udp --dport 53 -j NFQUEUE`, "IPv4 udp port 53, 5300", "behind DNAT"},
		{"a published TCP port", `
			iptables-nft -t nat -A PREROUTING -p tcp --dport 8080 -j DNAT --to-destination 192.0.2.9:80
			iptables-nft -A FORWARD -p udp --dport 53 -j NFQUEUE`, "IPv4 udp port 53", "behind DNAT"},
		// Asking conntrack for IPv4 in a table of family inet has it for IPv6, too.
		{"the other family becomes exposed", masquerade + `
			iptables-nft -A OUTPUT -p udp --dport 53 -j NFQUEUE
			ip6tables-legacy -A OUTPUT -p udp --dport 99 -j NFQUEUE`, "IPv4 udp port 53; IPv6 udp port 99", ""},
		{"SCTP", masquerade + "iptables-nft -A OUTPUT -p sctp -j NFQUEUE", "", "queues sctp"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			testkit.Namespace(t)
			nft(t, "flush ruleset")
			run(t, test.rules)
			p := made4real(t, Options{Table: "verdictd-guard"})
			if got := text(p.Traffic); got != test.want {
				t.Errorf("%q, want %q; exposing %v, %+v", got, test.want, p.Exposing, p.Conntrack)
			}
			said := slices.ContainsFunc(p.Uncovered, func(s string) bool { return strings.Contains(s, test.uncovered) })
			if said == (test.uncovered == "") && len(p.Uncovered) > 0 || !said && test.uncovered != "" {
				t.Errorf("uncovered %q, want %q", p.Uncovered, test.uncovered)
			}
		})
	}
}

func TestPlanOfNFTRules(t *testing.T) {
	testkit.Namespace(t)
	nft(t, `table inet t {
		set ports { type inet_service; flags interval; elements = { 53, 5060-5070 }; }
		chain q { }
		chain input { type filter hook input priority 0; ct state established,related accept; udp dport @ports goto q; }
		chain prerouting { type filter hook prerouting priority raw; iifname "a" ct zone set 5; }
	}`)
	addQueue(t, "q", 7)
	q, err := nfq.Open(vocabulary.BackendMmsg, nfq.Config{Queue: 7})
	if err != nil {
		t.Fatal(err)
	}
	defer q.Close()
	p := made4real(t, Options{Queues: []QueueRange{{0, 9}}})
	if got := text(p.Traffic); got != "udp port 53, 5060-5070" || !slices.Equal(p.Zones, []uint16{5}) {
		t.Errorf("%q in zones %v", got, p.Zones)
	}
	by, err := holders.Queues(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	p.Name(by)
	if s := p.Exposing[0].String(); !strings.Contains(s, "held by process") {
		t.Errorf("%q does not say who holds the queue", s)
	}
	if p := made4real(t, Options{Queues: []QueueRange{{8, 9}}}); len(p.Traffic)+len(p.Exposing) > 0 {
		t.Errorf("other queues: %+v", p)
	}
	nft(t, "add element inet t ports { 99 }")
	if got := text(made4real(t, Options{}).Traffic); got != "udp port 53, 99, 5060-5070" {
		t.Errorf("with one more element: %q", got)
	}
}

// The gate's own rules keep conntrack active; that is no reason for them to stay.
func TestGateIsNotItsOwnReason(t *testing.T) {
	testkit.Namespace(t)
	run(t, `
		iptables-nft -t nat -A POSTROUTING -o none -j MASQUERADE
		iptables-nft -A OUTPUT -p udp --dport 53 -j NFQUEUE`)
	nft(t, "delete table inet anchor")
	o := Options{Table: "verdictd-guard", Gate: []QueueRange{{100, 101}}}
	gate := func(p *Plan) ruleset.Gate {
		g := ruleset.Gate{FirstQueue: 100, Queues: 1, Settled: true, SettledSize: 1000, SettledTimeout: time.Second}
		g.Traffic = append(g.Traffic, p.Traffic...)
		return g
	}
	before := made4real(t, o)
	if got := text(before.Traffic); got != "IPv4 udp port 53" || !slices.Equal(before.Activates, []liverules.Family{liverules.IPv6}) {
		t.Fatalf("%q, activates %v", got, before.Activates)
	}
	g := gate(before)
	installed, err := ruleset.Install(ruleset.Config{
		Table: o.Table, Placement: vocabulary.PlacementNone, Fanout: vocabulary.FanoutBalance, Queues: 1, IPv4: true, IPv6: true, Gate: &g,
	})
	if err != nil {
		t.Fatal(err)
	}
	if with := made4real(t, o); !with.Same(before) || len(with.Exposing) != 1 {
		t.Errorf("with the gate %q, %v; want no change", text(with.Traffic), with.Exposing)
	}
	// Another program's look finds the gate, and its rules are none that expose.
	if other := made4real(t, Options{}); len(other.Exposing) != 1 {
		t.Errorf("%v", other.Exposing)
	}
	run(t, "iptables-nft -t nat -F")
	gone := made4real(t, o)
	if len(gone.Traffic) > 0 {
		t.Errorf("the gate keeps itself alive: %q, %+v", text(gone.Traffic), gone.Conntrack)
	}
	if err := installed.SetGate(gate(gone)); err != nil {
		t.Fatal(err)
	}
	if rules, err := liverules.Read(); err != nil || rules.Conntrack.IPv4 == liverules.Yes {
		t.Errorf("%+v, %v: conntrack is active for nobody", rules.Conntrack, err)
	}
	if err := installed.Remove(); err != nil {
		t.Error(err)
	}
}

// What an operator has installed by iptables covers what the plan asks for.
func TestInstalledGate(t *testing.T) {
	testkit.Namespace(t)
	run(t, `
		iptables-legacy -t raw -A OUTPUT -p udp --dport 53 -j NFQUEUE --queue-balance 100:101 --queue-bypass
		iptables-legacy -t raw -A PREROUTING -p udp -m multiport --ports 53 -j NFQUEUE --queue-balance 100:101 --queue-bypass
		iptables-legacy -A OUTPUT -p udp -m multiport --dports 53,99 -j NFQUEUE --queue-num 1
		iptables-legacy -A OUTPUT -m conntrack --ctstate INVALID -j DROP`)
	p := made4real(t, Options{Gate: []QueueRange{{100, 103}}})
	if got := text(p.Missing); !p.Installed || got != "IPv4 udp port 99" || len(p.Exposing) != 1 {
		t.Errorf("installed %v, missing %q, exposing %v", p.Installed, got, p.Exposing)
	}
}

func TestRealRulesThatSwallowErrors(t *testing.T) {
	testkit.Namespace(t)
	run(t, `
		iptables-nft -A OUTPUT -p icmp -j NFQUEUE --queue-num 1
		iptables-nft -A OUTPUT -p udp -j NFQUEUE --queue-num 2
		iptables-legacy -t mangle -A POSTROUTING -m conntrack --ctstate NEW -j NFQUEUE --queue-num 3
		ip6tables-legacy -t mangle -A POSTROUTING -j NFQUEUE --queue-num 4`)
	rules, err := liverules.Read()
	if err != nil {
		t.Fatal(err)
	}
	var got []uint16
	for _, s := range SwallowsICMPErrors(rules) {
		got = append(got, s.Rule.First)
	}
	slices.Sort(got)
	if want := []uint16{1, 4}; !slices.Equal(got, want) {
		t.Errorf("queues %v, want %v", got, want)
	}
}

// The project's own verdict rules let ICMP errors pass.
func TestOwnRulesSwallowNoErrors(t *testing.T) {
	for _, placement := range []vocabulary.Placement{vocabulary.PlacementOutput, vocabulary.PlacementPostrouting, vocabulary.PlacementVerdict3} {
		t.Run(string(placement), func(t *testing.T) {
			testkit.Namespace(t)
			installed, err := ruleset.Install(ruleset.Config{
				Table: "verdictd", Placement: placement, Fanout: vocabulary.FanoutBalance, Queues: 1, IPv4: true, IPv6: true,
				Protocols: []uint8{unix.IPPROTO_ICMP, unix.IPPROTO_ICMPV6},
			})
			if err != nil {
				t.Fatal(err)
			}
			defer func() {
				if err := installed.Remove(); err != nil {
					t.Error(err)
				}
			}()
			rules, err := liverules.Read("verdictd")
			if err != nil {
				t.Fatal(err)
			}
			if got := SwallowsICMPErrors(rules); len(got) > 0 {
				t.Errorf("%v: %v", got[0].Rule, got[0].Reach.Packets)
			}
			p := Make(rules, Options{Table: "verdictd"})
			if got := text(p.Traffic); got != "IPv4 icmp; IPv6 ipv6-icmp" || !p.Exposing[0].Own {
				t.Errorf("%q; %v", got, p.Exposing)
			}
		})
	}
}

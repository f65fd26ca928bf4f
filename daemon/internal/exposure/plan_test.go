package exposure

import (
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"verdictd/daemon/internal/holders"
	"verdictd/internal/liverules"
	"verdictd/internal/ruleset"
	"verdictd/internal/vocabulary"
)

// change is one thing about rules.
type change func(*liverules.Rules)

func made(changes ...change) *liverules.Rules {
	r := &liverules.Rules{
		Conntrack: liverules.Conntrack{IPv4: liverules.Yes, IPv6: liverules.Yes, Bridge: liverules.No, Reason: "made up"},
		IPVS:      liverules.No,
	}
	for _, c := range changes {
		c(r)
	}
	return r
}

// packets is a selection: families, protocols by number, ports.
func packets(families []liverules.Family, protocols []liverules.Protocol, ports ...vocabulary.PortRange) liverules.Selection {
	return liverules.Selection{Families: families, Protocols: protocols, Ports: ports}
}

var (
	both = []liverules.Family{liverules.IPv4, liverules.IPv6}
	four = []liverules.Family{liverules.IPv4}
	six  = []liverules.Family{liverules.IPv6}
)

func udp() []liverules.Protocol { return []liverules.Protocol{unix.IPPROTO_UDP} }

func ports(first, last uint16) vocabulary.PortRange {
	return vocabulary.Ports(first, last)
}

// rule adds one that queues to the next number, from 0, with a reach.
func rule(hook vocabulary.Hook, priority int, selections ...liverules.Selection) change {
	return func(r *liverules.Rules) {
		n := uint16(len(r.Queues))
		reach := liverules.Reach{
			Way:       liverules.Way{Hook: hook, Priority: priority, Chains: []string{"c"}, Packets: selections},
			Position:  liverules.BetweenLookupAndConfirm,
			Untracked: liverules.No, Exposure: liverules.Exposed, Reason: "made up",
		}
		for _, s := range selections {
			reach.Families = append(reach.Families, s.Families...)
		}
		if priority < liverules.LookupPriority {
			reach.Position, reach.Exposure = liverules.BeforeLookup, liverules.NotExposed
		}
		r.Queues = append(r.Queues, liverules.QueueRule{
			Place:          liverules.Place{Source: liverules.NFTables, Family: liverules.Inet, Table: "made", Chain: "c", Handle: uint64(n) + 1},
			QueueStatement: liverules.QueueStatement{Statement: "queue", First: n, Last: n, Fanout: liverules.FanoutNone},
			Reaches:        []liverules.Reach{reach}, Exposure: reach.Exposure,
		})
	}
}

// rewrite adds DNAT in PREROUTING.
func rewrite(kind string, selections ...liverules.Selection) change {
	return func(r *liverules.Rules) {
		r.Rewrites = append(r.Rewrites, liverules.Rewrite{Kind: kind, Place: liverules.Place{Source: liverules.NFTables, Family: liverules.IPv4, Table: "nat", Chain: "d"},
			Ways: []liverules.Way{{Hook: vocabulary.HookPrerouting, Priority: -100, Families: both, Packets: selections}}})
	}
}

func masquerade(r *liverules.Rules) {
	r.SourceNAT = append(r.SourceNAT, liverules.Rewrite{Kind: "masquerade", Ways: []liverules.Way{{Hook: vocabulary.HookPostrouting, Priority: 100, Families: four}}})
}

func conntrack(four, six liverules.Answer) change {
	return func(r *liverules.Rules) { r.Conntrack.IPv4, r.Conntrack.IPv6 = four, six }
}

// table moves the last rule to another one; queue gives it a number; comment and
// chain make it the gate's.
func table(name string) change {
	return func(r *liverules.Rules) { r.Queues[len(r.Queues)-1].Table = name }
}

func queue(n uint16) change {
	return func(r *liverules.Rules) {
		q := &r.Queues[len(r.Queues)-1]
		q.First, q.Last = n, n
	}
}

func gateRule(chain string) change {
	return func(r *liverules.Rules) {
		q := &r.Queues[len(r.Queues)-1]
		q.Chain, q.Comment = chain, "verdictd: hold until confirmed"
	}
}

func computed(r *liverules.Rules) { r.Queues[len(r.Queues)-1].Computed = true }

func text(list []ruleset.Traffic) string {
	var words []string
	for _, t := range list {
		words = append(words, t.String())
	}
	return strings.Join(words, "; ")
}

func TestTraffic(t *testing.T) {
	dns := packets(both, udp(), ports(53, 53))
	all := packets(both, nil)
	tests := []struct {
		name    string
		changes []change
		options Options
		want    string
	}{
		{"nothing", nil, Options{}, ""},
		{"dns", []change{rule(vocabulary.HookOutput, 0, dns)}, Options{}, "udp port 53"},
		{"everything", []change{rule(vocabulary.HookOutput, 0, all)}, Options{}, "icmp, udp, gre, ipv6-icmp, udplite"},
		{"everything of IPv4", []change{rule(vocabulary.HookOutput, 0, packets(four, nil))}, Options{}, "IPv4 icmp, udp, gre, udplite"},
		{"everything but UDP", []change{rule(vocabulary.HookOutput, 0, liverules.Selection{Families: both, Except: udp()})}, Options{}, "icmp, gre, ipv6-icmp, udplite"},
		{"nothing to hold", []change{rule(vocabulary.HookOutput, 0, packets(both, []liverules.Protocol{unix.IPPROTO_SCTP, unix.IPPROTO_TCP}))}, Options{}, ""},
		{"two rules", []change{rule(vocabulary.HookOutput, 0, dns), rule(vocabulary.HookInput, 0, packets(both, udp(), ports(54, 60), ports(100, 100)))}, Options{}, "udp port 53-60, 100"},
		{"one rule in another", []change{rule(vocabulary.HookOutput, 0, dns), rule(vocabulary.HookInput, 0, packets(both, udp()))}, Options{}, "udp"},
		{"families apart", []change{rule(vocabulary.HookOutput, 0, packets(four, udp(), ports(53, 53))), rule(vocabulary.HookOutput, 0, packets(six, udp()))}, Options{}, "IPv4 udp port 53; IPv6 udp"},
		{"families together", []change{rule(vocabulary.HookOutput, 0, packets(four, udp())), rule(vocabulary.HookOutput, 0, packets(six, udp()))}, Options{}, "udp"},
		{"udp some, icmp all", []change{rule(vocabulary.HookOutput, 0, dns, packets(four, []liverules.Protocol{unix.IPPROTO_ICMP}))}, Options{}, "IPv4 icmp; udp port 53"},
		{"not exposed", []change{rule(vocabulary.HookOutput, -300, dns)}, Options{}, ""},
		{"some queues", []change{rule(vocabulary.HookOutput, 0, dns), rule(vocabulary.HookOutput, 0, packets(four, udp(), ports(9, 9)))}, Options{Queues: []QueueRange{{1, 3}}}, "IPv4 udp port 9"},
		{"a computed queue may be one of them", []change{rule(vocabulary.HookOutput, 0, dns), computed}, Options{Queues: []QueueRange{{5, 5}}}, "udp port 53"},
		{"the gate's own", []change{rule(vocabulary.HookOutput, -199, dns), gateRule("announce-ipv4")}, Options{}, ""},
		{"the gate's numbers", []change{rule(vocabulary.HookOutput, -199, dns), queue(61440)}, Options{Gate: []QueueRange{{61440, 61450}}}, ""},
		{"numbers that may become the gate's", []change{rule(vocabulary.HookOutput, -199, dns), queue(61445)},
			Options{Gate: []QueueRange{{61440, 61450}}, Queues: []QueueRange{{61445, 61445}}}, "udp port 53"},
		{"bridge", []change{rule(vocabulary.HookForward, 0, packets([]liverules.Family{liverules.Bridge}, nil))}, Options{}, ""},

		{"conntrack for neither", []change{rule(vocabulary.HookOutput, 0, dns), conntrack(liverules.No, liverules.No)}, Options{}, ""},
		{"conntrack for one", []change{rule(vocabulary.HookOutput, 0, dns), conntrack(liverules.Yes, liverules.No)}, Options{}, "IPv4 udp port 53"}, // nothing to assume here
		{"conntrack unknown", []change{rule(vocabulary.HookOutput, 0, dns), conntrack(liverules.Unknown, liverules.Unknown)}, Options{}, ""},
		{"conntrack unknown, insisted", []change{rule(vocabulary.HookOutput, 0, dns), conntrack(liverules.Unknown, liverules.Unknown)}, Options{Insist: true}, "udp port 53"},

		{"DNAT of other ports", []change{rewrite("dnat", packets(four, udp(), ports(5300, 5300))), rule(vocabulary.HookForward, 0, dns)}, Options{}, "IPv4 udp port 53, 5300; IPv6 udp port 53"},
		{"DNAT of any", []change{rewrite("dnat", packets(both, nil)), rule(vocabulary.HookForward, 0, dns)}, Options{}, "udp"},
		{"DNAT of TCP", []change{rewrite("dnat", packets(both, []liverules.Protocol{unix.IPPROTO_TCP}, ports(80, 80))), rule(vocabulary.HookForward, 0, dns)}, Options{}, "udp port 53"},
		{"DNAT elsewhere", []change{rewrite("dnat", packets(both, nil)), rule(vocabulary.HookOutput, 0, dns)}, Options{}, "udp port 53"},
		{"tproxy", []change{rewrite("tproxy", packets(both, nil)), rule(vocabulary.HookInput, 0, dns)}, Options{}, "udp port 53"},
		{"behind source NAT", []change{masquerade, rule(vocabulary.HookPostrouting, 200, dns)}, Options{}, "udp"},
		{"before source NAT", []change{masquerade, rule(vocabulary.HookPostrouting, 0, dns)}, Options{}, "udp port 53"},
		{"ports written", []change{rule(vocabulary.HookOutput, 0, dns), func(r *liverules.Rules) { r.Mangling = []liverules.Place{{}} }}, Options{}, "udp"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			p := Make(made(test.changes...), test.options)
			if got := text(p.Traffic); got != test.want {
				t.Errorf("%q, want %q", got, test.want)
			}
			if again := Make(made(test.changes...), test.options); !p.Same(again) {
				t.Error("the same rules make another plan")
			}
			for _, traffic := range p.Traffic {
				if !traffic.IPv4 && !traffic.IPv6 || !slices.IsSorted(traffic.Protocols) {
					t.Errorf("%+v", traffic)
				}
			}
		})
	}
}

func TestOrderOfRulesDoesNotCount(t *testing.T) {
	a, b := rule(vocabulary.HookOutput, 0, packets(four, udp(), ports(53, 53))), rule(vocabulary.HookInput, 0, packets(six, nil))
	if p, q := Make(made(a, b), Options{}), Make(made(b, a), Options{}); !p.Same(q) {
		t.Errorf("%q and %q", text(p.Traffic), text(q.Traffic))
	}
	if p, q := Make(made(a), Options{}), Make(made(b), Options{}); p.Same(q) {
		t.Error("other rules make the same plan")
	}
}

func TestUncovered(t *testing.T) {
	dns := rule(vocabulary.HookOutput, 0, packets(both, udp(), ports(53, 53)))
	notrack := func(priority int) change {
		return func(r *liverules.Rules) {
			r.Notracks = []liverules.Notrack{{Ways: []liverules.Way{{Hook: vocabulary.HookOutput, Priority: priority}}}}
		}
	}
	tests := []struct {
		name    string
		changes []change
		want    string // in one of the sentences; empty: there is none
	}{
		{"nothing", nil, ""},
		{"dns", []change{dns}, ""},
		{"unread", []change{func(r *liverules.Rules) { r.Unread = []liverules.Unread{{What: "nftables", Why: "no right"}} }}, "not readable: nftables"},
		{"unknown", []change{dns, conntrack(liverules.Unknown, liverules.No)}, "IPv4 has no gate"},
		{"every protocol", []change{rule(vocabulary.HookOutput, 0, packets(both, nil))}, "protocols besides TCP"},
		{"SCTP", []change{rule(vocabulary.HookOutput, 0, packets(both, []liverules.Protocol{unix.IPPROTO_SCTP, unix.IPPROTO_TCP}))}, "queues sctp, which"},
		{"bridge", []change{rule(vocabulary.HookForward, 0, packets([]liverules.Family{liverules.Bridge}, udp()))}, "bridge's own hooks"},
		{"source NAT", []change{masquerade, rule(vocabulary.HookPostrouting, 200, packets(both, udp()))}, "behind source NAT"},
		{"DNAT", []change{rewrite("dnat", packets(both, nil)), rule(vocabulary.HookForward, 0, packets(both, udp()))}, "both ends of a flow begin"},
		{"tproxy", []change{rewrite("tproxy", packets(both, nil)), rule(vocabulary.HookInput, 0, packets(both, udp()))}, ""},
		{"late notrack", []change{dns, notrack(-220)}, "waits in vain"},
		{"early notrack", []change{dns, notrack(-300)}, ""},
		{"notrack behind the lookup", []change{dns, notrack(-150)}, ""},
		{"computed zone", []change{dns, func(r *liverules.Rules) { r.Zones = []liverules.Zone{{Computed: true}} }}, "computes the conntrack zone"},
		{"zone", []change{dns, func(r *liverules.Rules) { r.Zones = []liverules.Zone{{ID: 5}} }}, ""},
		{"IPVS", []change{dns, func(r *liverules.Rules) { r.IPVS = liverules.Yes }}, "IPVS has services"},
		{"IPVS, nothing exposed", []change{func(r *liverules.Rules) { r.IPVS = liverules.Yes }}, ""},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			got := Make(made(test.changes...), Options{}).Uncovered
			switch {
			case test.want == "" && len(got) > 0:
				t.Errorf("%q, want none", got)
			case !slices.ContainsFunc(got, func(s string) bool { return strings.Contains(s, test.want) }) && test.want != "":
				t.Errorf("%q, want one with %q", got, test.want)
			}
		})
	}
}

func TestZones(t *testing.T) {
	p := Make(made(func(r *liverules.Rules) {
		r.Zones = []liverules.Zone{{ID: 7}, {ID: 5, Direction: "reply"}, {ID: 7}, {Computed: true}}
	}), Options{})
	if want := []uint16{5, 7}; !slices.Equal(p.Zones, want) {
		t.Errorf("%v, want %v", p.Zones, want)
	}
}

// The operator has installed gate rules of configs/.
func TestInstalled(t *testing.T) {
	gate := Options{Table: "verdictd", Gate: []QueueRange{{100, 103}}}
	dns := packets(both, udp(), ports(53, 53))
	exposed := rule(vocabulary.HookOutput, 0, packets(both, udp(), ports(53, 60)))
	in := func(hook vocabulary.Hook, priority int, s liverules.Selection) []change {
		return []change{rule(hook, priority, s), queue(100)}
	}
	tests := []struct {
		name      string
		changes   []change
		installed bool
		missing   string
	}{
		{"none", nil, false, ""},
		{"our own", append(in(vocabulary.HookOutput, -250, dns), table("verdictd")), false, ""},
		{"other numbers", []change{rule(vocabulary.HookOutput, -250, dns), queue(99)}, false, ""},
		{"behind the lookup", in(vocabulary.HookOutput, -150, dns), false, ""},
		{"one hook", in(vocabulary.HookOutput, -250, packets(both, nil)), true, "udp port 53-60"},
		{"both hooks, one port", append(in(vocabulary.HookOutput, -300, dns), in(vocabulary.HookPrerouting, -300, dns)...), true, "udp port 54-60"},
		{"both hooks, one family", append(in(vocabulary.HookOutput, -300, packets(four, udp())), in(vocabulary.HookPrerouting, -300, packets(four, udp()))...), true, "IPv6 udp port 53-60"},
		{"both hooks", append(in(vocabulary.HookOutput, -300, packets(both, nil)), in(vocabulary.HookPrerouting, -300, packets(both, nil))...), true, ""},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			p := Make(made(append(test.changes, exposed)...), gate)
			if p.Installed != test.installed || text(p.Missing) != test.missing {
				t.Errorf("installed %v, missing %q; want %v, %q", p.Installed, text(p.Missing), test.installed, test.missing)
			}
		})
	}
}

func TestNames(t *testing.T) {
	p := Make(made(rule(vocabulary.HookOutput, 0, packets(both, udp())), table("verdictd")), Options{Table: "verdictd"})
	if !p.Exposing[0].Own {
		t.Error("a rule of the own table is taken for another's")
	}
	p.Name(map[uint16]*holders.Process{0: {PID: 123, Name: "Suricata"}, 1: {PID: 5, Name: "other"}})
	want := "nftables rule inet verdictd c handle 1: queue to 0 (held by process 123 (Suricata)), in output at priority 0: exposed: made up"
	if got := p.Exposing[0].String(); got != want {
		t.Errorf("%q, want %q", got, want)
	}
}

func TestSwallowsICMPErrors(t *testing.T) {
	errors := liverules.Selection{Families: four, ICMPErrors: true}
	for _, test := range []struct {
		name    string
		changes []change
		want    int
	}{
		{"output", []change{rule(vocabulary.HookOutput, 0, errors)}, 1},
		{"postrouting", []change{rule(vocabulary.HookPostrouting, 0, errors)}, 1},
		{"forward", []change{rule(vocabulary.HookForward, 0, errors)}, 0},
		{"before conntrack", []change{rule(vocabulary.HookOutput, -300, errors)}, 0},
		{"udp", []change{rule(vocabulary.HookOutput, 0, packets(both, udp()))}, 0},
		{"the gate's", []change{rule(vocabulary.HookOutput, -199, errors), gateRule("gate-queue")}, 0},
	} {
		if got := SwallowsICMPErrors(made(test.changes...)); len(got) != test.want {
			t.Errorf("%s: %v, want %d", test.name, got, test.want)
		}
	}
}

package audit

import (
	"strings"
	"testing"

	"verdictd/internal/kernelfacts"
	"verdictd/internal/vocabulary"
)

func TestAdvice(t *testing.T) {
	out := exposed(vocabulary.HookOutput)
	listens := func(m *Machine) {
		m.Rules.Queues[0].Bypass = true
		m.Queues.Value = []BoundQueue{{Queue: 0, PortID: 1}}
	}
	for _, test := range []struct {
		name    string
		release string
		changes []change
		want    []string // a part of each, in this order
	}{
		{"nothing to do", fine, nil, nil},
		{"not exposed", fine, []change{early, listens}, nil},
		{"unread", fine, []change{unreadRules}, []string{"as root", "Upgrade the kernel to 7.1.5"}},
		{"resolved", fine, []change{out, listens}, []string{"guard.mode auto or hold, or run verdictd guard", "pre-conntrack", "notrack"}},
		{"ICMP errors", fine, []change{out, listens, takesICMPErrors}, []string{"guard.mode", "pre-conntrack", "notrack", "ICMP errors pass", "Upgrade the kernel to 7.0"}},
		{"behind a gate", crashing, []change{out, listens, gated}, []string{"Upgrade the kernel to 5.10.219"}},
		{"crash", crashing, []change{out, listens, openUserNamespaces},
			[]string{"guard.mode", "events off", "pre-conntrack", "notrack", "Upgrade the kernel to 6.1.191", "forbid user namespaces"}},
		{"crash, events off", crashing, []change{out, listens, eventsOffNow},
			[]string{"guard.mode", "pre-conntrack", "notrack", "Upgrade the kernel to 5.10.219"}},
		{"not exposed on a kernel that crashes", crashing, []change{openUserNamespaces}, []string{"Upgrade the kernel to 6.1.191", "forbid user namespaces"}},
		// 6.18.14 has the fix, and another fault up to 6.18.23.
		{"the trap", losing, []change{out, listens}, []string{"guard.mode", "pre-conntrack", "notrack", "Upgrade the kernel to 6.18.24"}},
		{"a distributor's kernel", patched, []change{out, listens},
			[]string{"guard.mode", "pre-conntrack", "notrack", "of which the distributor says"}},
		{"no bypass, DNAT, two queues", fine, []change{dnat, exposed(vocabulary.HookForward), exposed(vocabulary.HookPostrouting)},
			[]string{"guard.mode", "Add bypass to nftables rule ip made forward handle 1, nftables rule ip made postrouting handle 2", "pre-conntrack", "notrack", "DNAT"}},
		{"settings", fine, []change{func(m *Machine) {
			m.Queues.Value = []BoundQueue{{Queue: 1, UserDropped: 1}}
			m.Host.Conntrack.Count = number64(95)
			m.Host.Kmod.Value.Version = 19
		}}, []string{"Make room", "nf_conntrack_max", "modules at boot"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			got := Judge(made(t, test.release).with(test.changes...)).Advice
			if len(got) != len(test.want) {
				t.Errorf("%d pieces of advice, want %d", len(got), len(test.want))
			}
			for i, a := range got {
				if i < len(test.want) && !strings.Contains(a.Do, test.want[i]) {
					t.Errorf("%d: %q, want %q", i, a.Do, test.want[i])
				}
				if a.Because == "" {
					t.Errorf("%q has no reason", a.Do)
				}
			}
		})
	}
}

func TestUpgradeTo(t *testing.T) {
	for _, test := range []struct {
		from  kernelfacts.Version
		end   []string
		avoid []string
		want  string
	}{
		{kernelfacts.V(5, 10, 100), []string{kernelfacts.FactClashCrash}, nil, "5.10.120"},
		{kernelfacts.V(5, 10, 100), []string{kernelfacts.FactClashCrash}, []string{kernelfacts.FactGRODropped}, "5.10.120"}, // of which the other is not known either
		{kernelfacts.V(4, 9, 300), []string{kernelfacts.FactClashCrash}, nil, "4.14.282"},                                   // none in 4.9
		{kernelfacts.V(6, 1, 100), []string{kernelfacts.FactConfirmedEarly}, nil, "6.1.147"},
		{kernelfacts.V(6, 1, 100), []string{kernelfacts.FactConfirmedEarly}, []string{kernelfacts.FactGRODropped}, "6.1.191"}, // 6.1.107 brings the other
		{kernelfacts.V(6, 1, 120), []string{kernelfacts.FactConfirmedEarly, kernelfacts.FactGRODropped}, nil, "6.1.191"},
		{kernelfacts.V(6, 12, 30), []string{kernelfacts.FactConfirmedEarly}, nil, "6.12.40"},
		{kernelfacts.V(6, 12, 30), []string{kernelfacts.FactGRODropped}, []string{kernelfacts.FactVerdictUAF}, "6.12.83"},
		{kernelfacts.V(6, 19, 2), []string{kernelfacts.FactGRODropped}, []string{kernelfacts.FactVerdictUAF}, "6.19.14"},
		{kernelfacts.V(6, 19, 14), []string{kernelfacts.FactClonedDropped}, nil, ""},
	} {
		got, ok := upgradeTo(test.from, test.end, test.avoid)
		if ok != (test.want != "") || ok && got.String() != test.want {
			t.Errorf("from %s without %v: %s, %v; want %q", test.from, test.end, got, ok, test.want)
		}
	}
}

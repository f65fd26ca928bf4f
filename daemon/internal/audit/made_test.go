package audit

import (
	"errors"
	"io/fs"
	"testing"

	"verdictd/internal/kernelfacts"
	"verdictd/internal/liverules"
	"verdictd/internal/vocabulary"
)

// made builds a machine that runs a kernel of that release, without rules.
func made(t *testing.T, release string) *Machine {
	t.Helper()
	b, err := kernelfacts.Identify(kernelfacts.Names{Release: release})
	if err != nil {
		t.Fatal(err)
	}
	return &Machine{
		Architecture: "amd64",
		Host: &kernelfacts.Host{
			Kernel:         kernelfacts.Reading[kernelfacts.Build]{Value: b},
			Changelog:      kernelfacts.Reading[kernelfacts.Changelog]{Err: kernelfacts.ErrNoPackages},
			Kmod:           kernelfacts.Reading[kernelfacts.Kmod]{Value: kernelfacts.Kmod{Version: 30, Text: "kmod version 30"}},
			Modules:        []kernelfacts.Module{{Name: "nfnetlink_queue", State: kernelfacts.ModuleLoaded}},
			UserNamespaces: kernelfacts.UserNamespaces{Access: kernelfacts.UserNamespacesClosed, Reason: "made up"},
			Conntrack:      kernelfacts.ConntrackSettings{Events: number64(1), Max: number64(100), Count: number64(1)},
		},
		Rules: &liverules.Rules{Conntrack: liverules.Conntrack{IPv4: liverules.Yes, IPv6: liverules.Yes, Bridge: liverules.No, Reason: "made up"}},
	}
}

func number64(n uint64) kernelfacts.Reading[uint64] { return kernelfacts.Reading[uint64]{Value: n} }

// change is one thing about a machine.
type change func(*Machine)

func (m *Machine) with(changes ...change) *Machine {
	for _, c := range changes {
		c(m)
	}
	m.conclude()
	return m
}

// rule adds one that queues to the queue with its number, from 0.
func rule(hook vocabulary.Hook, priority int, e liverules.Exposure, family liverules.Family) change {
	return func(m *Machine) {
		position := liverules.BetweenLookupAndConfirm
		if e == liverules.NotExposed {
			position = liverules.BeforeLookup
		}
		n := uint16(len(m.Rules.Queues))
		m.Rules.Queues = append(m.Rules.Queues, liverules.QueueRule{
			Place:          liverules.Place{Source: liverules.NFTables, Family: family, Table: "made", Chain: string(hook), Handle: uint64(n) + 1, Number: 1},
			QueueStatement: liverules.QueueStatement{Statement: "queue", First: n, Last: n, Fanout: liverules.FanoutNone},
			Reaches: []liverules.Reach{{
				Way:      liverules.Way{Hook: hook, Priority: priority, Chains: []string{string(hook)}, Families: []liverules.Family{family}},
				Position: position, Untracked: liverules.No, Exposure: e, Reason: "made up",
			}},
			Exposure: e, Reason: "made up",
		})
	}
}

func exposed(hook vocabulary.Hook) change { return rule(hook, -150, liverules.Exposed, liverules.IPv4) }

func early(m *Machine) { rule(vocabulary.HookOutput, -300, liverules.NotExposed, liverules.IPv4)(m) }

func dnat(m *Machine) {
	m.Rules.Rewrites = append(m.Rules.Rewrites, liverules.Rewrite{
		Kind: "dnat",
		Ways: []liverules.Way{{Hook: vocabulary.HookPrerouting, Priority: -100, Chains: []string{"dnat"}, Families: []liverules.Family{liverules.IPv4}}},
	})
}

func unreadRules(m *Machine) {
	m.Rules.Unread = []liverules.Unread{{What: "nftables", Why: "needs CAP_NET_ADMIN"}}
}

func noConntrack(m *Machine) {
	m.Rules.Conntrack = liverules.Conntrack{IPv4: liverules.No, IPv6: liverules.No, Bridge: liverules.No, Reason: "made up"}
}

func noQueueModule(m *Machine) { m.Host.Modules[0].State = kernelfacts.ModuleAbsent }

func noKernel(m *Machine) { m.Host.Kernel.Err = errors.New("made up") }

func eventsOffNow(m *Machine) { m.Host.Conntrack.Events.Value = eventsOff }

func bridgeThere(m *Machine) { m.Bridging.Value = Bridging{Bridges: []string{"br0"}, CallsIP: true} }

func onARM(m *Machine) { m.Architecture = "arm64" }

func takesICMPErrors(m *Machine) {
	m.Rules.Queues[0].Reaches[0].Packets = []liverules.Selection{{Families: []liverules.Family{liverules.IPv4}, ICMPErrors: true}}
}

// gated gives the rules before it UDP's packets, and puts a gate for these before
// them.
func gated(m *Machine) {
	packets := []liverules.Selection{{Families: []liverules.Family{liverules.IPv4}, Protocols: []liverules.Protocol{17}}}
	for _, q := range m.Rules.Queues {
		for i := range q.Reaches {
			q.Reaches[i].Packets = packets
		}
	}
	q := liverules.QueueRule{
		Place:          liverules.Place{Source: liverules.NFTables, Family: liverules.Inet, Table: "verdictd-guard", Chain: "gate-queue", Handle: 99},
		QueueStatement: liverules.QueueStatement{Statement: "queue", First: 61440, Last: 61440, Bypass: true, Fanout: liverules.FanoutNone},
		Comment:        "verdictd: hold until confirmed", Exposure: liverules.NotExposed,
	}
	for _, hook := range []vocabulary.Hook{vocabulary.HookOutput, vocabulary.HookPrerouting} {
		q.Reaches = append(q.Reaches, liverules.Reach{
			Way:      liverules.Way{Hook: hook, Priority: -250, Chains: []string{"gate"}, Families: []liverules.Family{liverules.IPv4}, Packets: packets},
			Position: liverules.BeforeLookup, Exposure: liverules.NotExposed,
		})
	}
	m.Rules.Queues = append(m.Rules.Queues, q)
	m.Queues.Value = append(m.Queues.Value, BoundQueue{Queue: 61440, PortID: 9, Holder: &Process{PID: 77, Name: "verdictd"}})
}

func computedZone(m *Machine) { m.Rules.Zones = []liverules.Zone{{Computed: true}} }

func gateUnbound(m *Machine) { m.Queues.Value = nil }

func guardsQueue0(m *Machine) { m.guarded = []uint16{0} }

func openUserNamespaces(m *Machine) {
	m.Host.UserNamespaces = kernelfacts.UserNamespaces{Access: kernelfacts.UserNamespacesOpen, Reason: "made up"}
}

func unreadableQueues(m *Machine) { m.Queues.Err = fs.ErrPermission }

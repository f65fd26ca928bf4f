package audit

import (
	"errors"
	"slices"
	"strings"
	"testing"

	"verdictd/internal/kernelfacts"
	"verdictd/internal/liverules"
	"verdictd/internal/vocabulary"
)

// The releases: what each is known to have is package kernel's to test.
const (
	old         = "4.6.7"    // no resolution
	crashing    = "5.10.100" // CVE-2022-49561, re-injection
	reinjecting = "6.1.191"  // re-injection alone
	earlyMark   = "6.1.100"  // CVE-2025-38472
	losing      = "6.18.10"  // CVE-2026-45859
	trapped     = "6.18.20"  // CVE-2026-43084
	fine        = "6.18.44"
	patched     = "4.18.0-999.el8.x86_64" // RHEL 8.7 or later: much is not known
)

func TestVerdict(t *testing.T) {
	out := exposed(vocabulary.HookOutput)
	maybe := rule(vocabulary.HookOutput, -200, liverules.ExposureUnknown, liverules.IPv4)
	for _, test := range []struct {
		name    string
		release string
		changes []change
		want    Verdict
		says    string // in the sentence
	}{
		{"nothing", fine, nil, NotExposed, "no rule queues packets"},
		{"nothing, on a kernel that crashes", crashing, nil, NotExposed, "no rule queues packets"},
		{"before conntrack", fine, []change{early}, NotExposed, "none of the 1 queue rules"},
		{"before conntrack, on a kernel that crashes by clashes", earlyMark, []change{early}, NotExposed, ""},
		{"before conntrack, on a kernel that crashes by verdicts", trapped, []change{early}, ExposedCrash, "packets are queued"},
		{"no conntrack", crashing, []change{noConntrack}, NotExposed, "not tracked"},
		{"no conntrack, rules unread", fine, []change{noConntrack, unreadRules}, NotExposed, "not tracked"},
		{"no queues in the kernel, rules unread", crashing, []change{noQueueModule, unreadRules}, NotExposed, "nfnetlink_queue"},

		{"exposed", fine, []change{out}, ExposedResolved, "6.18.44"},
		{"exposed in two places", fine, []change{out, exposed(vocabulary.HookInput), early}, ExposedResolved, "at 1 more"},
		{"re-injection", reinjecting, []change{out}, ExposedResolved, ""},
		{"exposed, some rules unread", fine, []change{out, unreadRules}, Unknown, "exposed in output"},
		{"rules unread", fine, []change{unreadRules}, Unknown, "not all rules could be read"},
		{"perhaps exposed", fine, []change{maybe}, Unknown, "not known whether"},
		{"perhaps exposed, on a kernel that crashes", earlyMark, []change{maybe}, Unknown, ""},

		{"no resolution, and a socket that is freed", old, []change{out}, ExposedCrash, "CVE-2022-48911"},
		{"the last of a branch", "5.10.262", []change{out}, ExposedResolved, ""},
		{"ICMP queries", fine, []change{out, takesICMPErrors}, ExposedLoss, "clash of ICMP queries"},
		{"UDP alone", fine, []change{out, gated, gateUnbound}, ExposedResolved, ""},
		{"SCTP before conntrack", "6.1.150", []change{early, takesICMPErrors}, ExposedLoss, "SCTP packets leave the queue with wrong checksums"},
		{"a bridge's port that leaves", "6.1.180", []change{rule(vocabulary.HookForward, 0, liverules.NotExposed, liverules.Bridge)}, ExposedCrash, "CVE-2026-53220"},
		{"no bridge", "6.1.180", []change{early}, NotExposed, ""},
		{"a conntrack zone", "6.1.160", []change{early, computedZone}, ExposedCrash, "CVE-2026-23391"},
		{"ARM", "5.18.12", []change{out, onARM}, ExposedCrash, ""},
		{"GRO", losing, []change{out}, ExposedLoss, "CVE-2026-45859"},
		{"DNAT, queue in forward", reinjecting, []change{dnat, exposed(vocabulary.HookForward)}, ExposedLoss, "wrong path"},
		{"DNAT, queue in postrouting", reinjecting, []change{dnat, exposed(vocabulary.HookPostrouting)}, ExposedLoss, "wrong path"},
		{"DNAT, queue in input", reinjecting, []change{dnat, exposed(vocabulary.HookInput)}, ExposedResolved, ""},
		{"DNAT, queue in output", reinjecting, []change{dnat, out}, ExposedResolved, ""},
		{"DNAT, queue in forward, no re-injection", fine, []change{dnat, exposed(vocabulary.HookForward)}, ExposedResolved, ""},
		{"DNAT before 5.0", "4.14.90", []change{dnat, exposed(vocabulary.HookInput)}, ExposedCrash, "CVE-2022-49561"},
		{"bridge's own hook", fine, []change{rule(vocabulary.HookForward, 0, liverules.Exposed, liverules.Bridge)}, ExposedLoss, "clone"},
		{"bridge through IP's hooks", fine, []change{bridgeThere, exposed(vocabulary.HookForward)}, ExposedLoss, "clone"},
		{"bridge, queue in output", fine, []change{bridgeThere, out}, ExposedResolved, ""},

		{"crash of a clash", crashing, []change{out}, ExposedCrash, "events, which are on"},
		{"crash of a clash, events off", crashing, []change{out, eventsOffNow}, ExposedCrash, "events, which are not on now"},
		{"crash of a clash, some rules unread", crashing, []change{out, unreadRules}, ExposedCrash, ""},
		{"crash by the early mark", earlyMark, []change{out}, ExposedCrash, "CVE-2025-38472"},
		{"crash by a verdict", trapped, []change{out}, ExposedCrash, "CVE-2026-43084"},

		{"a distributor's kernel", patched, []change{out}, Unknown, "exposed in output"},
		{"a distributor's kernel, before conntrack", "5.14.0-362.el9.x86_64", []change{early}, Unknown, "may have this: nfqnl_recv_verdict"},
		{"a kernel without a name", fine, []change{out, noKernel}, Unknown, "not readable"},
		{"a kernel without a name, no rules", fine, []change{noKernel}, NotExposed, ""},

		{"guarded", earlyMark, []change{out, guardsQueue0}, NotExposed, "guard"},
		{"behind a gate", earlyMark, []change{out, gated}, NotExposed, "verdictd-guard gate-queue handle 99, held by process 77 (verdictd)"},
		{"behind a gate, and another rule", fine, []change{out, gated, exposed(vocabulary.HookInput)}, ExposedResolved, "in input"},
		{"behind a gate that nobody serves", fine, []change{out, gated, gateUnbound}, ExposedResolved, "in output"},
		{"guarded, and another rule", crashing, []change{out, exposed(vocabulary.HookPostrouting), guardsQueue0}, ExposedCrash, "postrouting"},
		{"guarded, on a kernel that crashes by verdicts", trapped, []change{out, guardsQueue0}, ExposedCrash, "packets are queued"},
	} {
		t.Run(test.name, func(t *testing.T) {
			m := made(t, test.release).with(test.changes...)
			got := Judge(m)
			if got.Verdict != test.want || !strings.Contains(got.Sentence, test.says) {
				t.Errorf("%s: %s; want %s with %q", got.Verdict, got.Sentence, test.want, test.says)
			}
		})
	}
}

func TestTableNamesFacts(t *testing.T) {
	for _, r := range table {
		if _, ok := kernelfacts.FactByID(r.fact); !ok && r.fact != "" {
			t.Errorf("no fact is called %q", r.fact)
		}
	}
}

func TestWhy(t *testing.T) {
	for _, test := range []struct {
		name    string
		release string
		changes []change
		says    []string
		not     []string
	}{
		{"users", crashing, []change{openUserNamespaces}, []string{"Any local user can make this kernel crash"}, nil},
		{"users, perhaps", patched, []change{openUserNamespaces}, []string{"If this kernel has one of the faults"}, nil},
		{"users, no fault", fine, []change{openUserNamespaces}, nil, []string{"local user"}},
		{"no users", crashing, nil, nil, []string{"local user"}},
		{"unread", fine, []change{unreadRules, unreadableQueues}, []string{"rules: nftables: needs CAP_NET_ADMIN. So rules may be missing", "Not readable: queues"}, []string{"Nobody listens"}},
		{"ICMP errors", fine, []change{exposed(vocabulary.HookOutput), takesICMPErrors}, []string{"ICMP errors: nftables rule ip made output"}, nil},
		{"behind a gate", fine, []change{exposed(vocabulary.HookOutput), gated}, []string{"Guarded: nftables rule ip made output"}, []string{"Exposed:"}},
		{"beyond a gate", fine, []change{exposed(vocabulary.HookOutput), gated, computedZone}, []string{"What a gate cannot do: ", "computes the conntrack zone"}, nil},
		{"sequence", fine, []change{exposed(vocabulary.HookOutput), exposed(vocabulary.HookPostrouting)}, []string{"Two queues on one way", "Nobody listens on queue 1"}, []string{"DNAT"}},
		{"spread", fine, []change{exposed(vocabulary.HookOutput), spread}, []string{"spreads by cpu: one flow may reach several queues, which can reorder it."}, nil},
		{"spread before conntrack", fine, []change{early, spread}, []string{"which can reorder it, and lets its packets go to conntrack at once, where they may clash."}, nil},
		{"DNAT", fine, []change{dnat, exposed(vocabulary.HookForward)}, []string{"DNAT before the queue"}, []string{"Two queues"}},
		{"clones", fine, []change{exposed(vocabulary.HookOutput)}, []string{"Besides, where there is a packet that was cloned"}, nil},
		{"uncounted", reinjecting, []change{exposed(vocabulary.HookOutput)}, []string{"Counters: clashes of queued packets"}, nil},
		{"lost", fine, []change{func(m *Machine) { m.Queues.Value = []BoundQueue{{Queue: 7, QueueDropped: 3}} }}, []string{"Queue 7 (process not readable) has lost packets: 3"}, nil},
		{"full table", fine, []change{func(m *Machine) { m.Host.Conntrack.Count = number64(90) }}, []string{"nearly full: 90 of 100"}, nil},
		{"old kmod", fine, []change{func(m *Machine) { m.Host.Kmod.Value.Version = 19 }}, []string{"Loading modules:"}, nil},
	} {
		t.Run(test.name, func(t *testing.T) {
			text := strings.Join(Judge(made(t, test.release).with(test.changes...)).Why, "\n")
			for _, want := range test.says {
				if !strings.Contains(text, want) {
					t.Errorf("does not say %q: %s", want, text)
				}
			}
			for _, unwanted := range test.not {
				if strings.Contains(text, unwanted) {
					t.Errorf("says %q: %s", unwanted, text)
				}
			}
		})
	}
}

// spread has the first queue rule fill queues by CPU.
func spread(m *Machine) { m.Rules.Queues[0].Fanout = liverules.FanoutCPU }

// holding binds queues 0 and 1 by sockets of these processes.
func holding(processes ...int) change {
	return func(m *Machine) {
		for i, pid := range processes {
			q := BoundQueue{Queue: uint16(i), PortID: uint32(100 + i)}
			if pid != 0 {
				q.Holder = &Process{PID: pid}
			}
			m.Queues.Value = append(m.Queues.Value, q)
		}
	}
}

func TestSequences(t *testing.T) {
	for _, test := range []struct {
		holders []int
		want    liverules.Answer
	}{
		{[]int{7, 7}, liverules.Yes},
		{[]int{7, 8}, liverules.No},
		{[]int{7, 0}, liverules.No}, // by the port id
		{[]int{7}, liverules.Unknown},
	} {
		m := made(t, fine).with(exposed(vocabulary.HookOutput), exposed(vocabulary.HookPostrouting), early, holding(test.holders...))
		if len(m.Sequences) != 1 || m.Sequences[0].SameHolder != test.want || m.Sequences[0].Hooks != [2]vocabulary.Hook{vocabulary.HookOutput, vocabulary.HookPostrouting} {
			t.Errorf("holders %v: %+v, want one sequence, same holder %s", test.holders, m.Sequences, test.want)
		}
	}
}

func TestMayProbe(t *testing.T) {
	for release, faults := range map[string][]string{
		fine:        nil,
		reinjecting: nil,
		crashing:    {"clash-event-crash is affected"},
		earlyMark:   {"confirmed-before-insertion is affected"},
		trapped:     {"verdict-use-after-free is affected"},
		patched:     {"unknown"},
	} {
		m := made(t, release).with()
		err := MayProbe(m, false)
		if (err != nil) != (faults != nil) || err != nil && !errors.Is(err, ErrMayCrash) {
			t.Errorf("%s: %v, want %v", release, err, faults)
		}
		if slices.ContainsFunc(faults, func(f string) bool { return !strings.Contains(err.Error(), f) }) {
			t.Errorf("%s: %v, without %v", release, err, faults)
		}
		if err := MayProbe(m, true); err != nil {
			t.Errorf("%s, accepted: %v", release, err)
		}
	}
}

package liverules

import (
	"errors"
	"fmt"
	"os"
	"runtime"
	"slices"
	"strings"
	"testing"

	"github.com/google/nftables"
	"github.com/google/nftables/expr"
	"github.com/google/nftables/xt"
	"golang.org/x/sys/unix"

	"verdictd/internal/ruleset"
	"verdictd/internal/testkit"
	"verdictd/internal/vocabulary"
)

// told is what is said of a queue's rule: its place up to the handle, the queue
// statement, hooks and priorities, the match on the worst way, and the exposure.
type told struct {
	place, queue, hooks, match string
	exposure                   Exposure
}

func tell(q QueueRule) told {
	place, _, _ := strings.Cut(q.Place.String(), " handle ")
	said := told{place: place, queue: q.QueueStatement.String(), exposure: q.Exposure}
	var hooks []string
	for _, r := range q.Reaches {
		hooks = append(hooks, fmt.Sprintf("%s %d", r.Hook, r.Priority))
	}
	slices.Sort(hooks)
	said.hooks = strings.Join(hooks, ", ")
	if len(q.Reaches) > 0 {
		said.match = q.Reaches[0].Match
	}
	return said
}

// expect compares all queue rules, in any order.
func expect(t *testing.T, r *Rules, want ...told) {
	t.Helper()
	var got []told
	for _, q := range r.Queues {
		got = append(got, tell(q))
		if q.Number < 1 || q.Source == NFTables && q.Handle == 0 {
			t.Errorf("%+v has no number or handle", q.Place)
		}
	}
	for _, w := range want {
		if !slices.Contains(got, w) {
			t.Errorf("no rule %+v", w)
		}
	}
	for _, g := range got {
		if !slices.Contains(want, g) {
			t.Errorf("not expected: %+v", g)
		}
	}
}

// addQueue adds a rule with the NFQUEUE target to a chain of nftables, which
// nft's language cannot express.
func addQueue(t *testing.T, f nftables.TableFamily, table, chain string, revision uint32, info []byte) {
	t.Helper()
	conn, err := nftables.New()
	if err != nil {
		t.Fatal(err)
	}
	unknown := xt.Unknown(append(info, make([]byte, (8-len(info)%8)%8)...))
	parent := &nftables.Table{Name: table, Family: f}
	conn.AddRule(&nftables.Rule{
		Table: parent, Chain: &nftables.Chain{Name: chain, Table: parent},
		Exprs: []expr.Any{&expr.Target{Name: "NFQUEUE", Rev: revision, Info: &unknown}},
	})
	if err := conn.Flush(); err != nil {
		t.Fatalf("add NFQUEUE to %s %s: %v", table, chain, err)
	}
}

func TestLegacyTables(t *testing.T) {
	testkit.Namespace(t)
	commands(t, `
		iptables-legacy -t raw -A PREROUTING -i lo -j NFQUEUE --queue-num 1
		iptables-legacy -t mangle -N sub
		iptables-legacy -t mangle -A OUTPUT -m mark --mark 0x40000000/0x40000000 -j ACCEPT
		iptables-legacy -t mangle -A OUTPUT -p udp -d 192.0.2.0/24 -m multiport --dports 53,1000:2000 -j sub
		iptables-legacy -t mangle -A POSTROUTING -p udp
		iptables-legacy -t mangle -A POSTROUTING -g sub
		iptables-legacy -t mangle -A sub ! -o eth+ -j NFQUEUE --queue-balance 2:4 --queue-bypass
		iptables-legacy -t mangle -N lonely
		iptables-legacy -t mangle -A lonely -j NFQUEUE --queue-num 5
		iptables-legacy -t nat -A INPUT -j NFQUEUE --queue-num 6
		iptables-legacy -t filter -A INPUT -p tcp -j NFQUEUE --queue-num 7
		ip6tables-legacy -t filter -A FORWARD -p udp -s 2001:db8::/32 -j NFQUEUE --queue-balance 8:9 --queue-cpu-fanout
		ip6tables-legacy -t security -A INPUT -m conntrack --ctstate ESTABLISHED -j NFQUEUE --queue-num 10
		ip6tables-legacy -t mangle -A FORWARD -j QUEUE`)
	r := read(t)
	expect(t, r,
		told{"iptables rule -t raw PREROUTING 1", "NFQUEUE to 1", "prerouting -300", `iifname "lo"`, NotExposed},
		told{"iptables rule -t mangle sub 1", "NFQUEUE to 2-4 bypass fanout balance", "output -150, postrouting -150",
			`ip daddr 192.0.2.0/24 meta l4proto udp th dport { 53, 1000-2000 } oifname != "eth*"`, Exposed},
		told{"iptables rule -t mangle lonely 1", "NFQUEUE to 5", "", "", NotExposed},
		told{"iptables rule -t nat INPUT 1", "NFQUEUE to 6", "input 100", "", Exposed},
		told{"iptables rule -t filter INPUT 1", "NFQUEUE to 7", "input 0", "meta l4proto tcp", NotExposed},
		told{"ip6tables rule -t filter FORWARD 1", "NFQUEUE to 8-9 fanout cpu", "forward 0", "ip6 saddr 2001:db8::/32 meta l4proto udp", Exposed},
		told{"ip6tables rule -t security INPUT 1", "NFQUEUE to 10", "input 50", "ct state established", NotExposed},
		told{"ip6tables rule -t mangle FORWARD 1", "QUEUE to 0", "forward -150", "", Exposed},
	)
}

// What iptables-nft writes, in part with nftables' own expressions.
func TestIPTablesOverNFTables(t *testing.T) {
	testkit.Namespace(t)
	commands(t, `
		iptables-nft -t raw -A OUTPUT -p udp --dport 53 -j CT --notrack
		iptables-nft -t mangle -A OUTPUT -p udp --dport 53 -j NFQUEUE --queue-num 1 --queue-bypass
		iptables-nft -t mangle -A OUTPUT -m mark --mark 0x40/0x40 -j RETURN
		iptables-nft -t mangle -A OUTPUT -d 192.0.2.1 -j NFQUEUE --queue-balance 2:3
		ip6tables-nft -t filter -A INPUT -p tcp -j NFQUEUE --queue-num 4
		ip6tables-nft -t filter -A FORWARD -m state --state ESTABLISHED -j NFQUEUE --queue-balance 5:6 --queue-cpu-fanout
		iptables-nft -t nat -A PREROUTING -p udp --dport 99 -j DNAT --to-destination 192.0.2.9
		iptables-nft -t nat -A OUTPUT -p udp --dport 98 -j REDIRECT`)
	r := read(t)
	expect(t, r,
		told{"nftables rule ip mangle OUTPUT", "NFQUEUE to 1 bypass", "output -150", "meta l4proto udp th dport 53", NotExposed},
		told{"nftables rule ip mangle OUTPUT", "NFQUEUE to 2-3 fanout balance", "output -150", "ip daddr 192.0.2.1", Exposed},
		told{"nftables rule ip6 filter INPUT", "NFQUEUE to 4", "input 0", "meta l4proto tcp", NotExposed},
		told{"nftables rule ip6 filter FORWARD", "NFQUEUE to 5-6 fanout cpu", "forward 0", "ct state established", NotExposed},
	)
	if reach := queueOf(t, r, 1).Reaches[0]; reach.Untracked != Yes {
		t.Errorf("%+v, want untracked", reach)
	}
	if reach := queueOf(t, r, 2).Reaches[0]; reach.Untracked != Unknown {
		t.Errorf("%+v, want perhaps untracked", reach)
	}
	var kinds []string
	before := func(h vocabulary.Hook) []Rewrite {
		return r.RewritesBefore(Site{Reach: Reach{Way: Way{Hook: h, Priority: -150, Families: []Family{IPv4}}}})
	}
	for _, w := range before(vocabulary.HookPostrouting) {
		kinds = append(kinds, w.Kind+" "+string(w.Ways[0].Hook))
	}
	slices.Sort(kinds)
	if want := []string{"dnat prerouting", "redirect output"}; !slices.Equal(kinds, want) {
		t.Errorf("before postrouting: %v, want %v", kinds, want)
	}
	if got := before(vocabulary.HookOutput); len(got) > 0 {
		t.Errorf("before mangle OUTPUT: %v, want none", got)
	}
}

const mixedTables = `
table inet mixed {
	chain q { }
	chain early {
		type filter hook prerouting priority raw; policy accept
		meta mark & 0x40 == 0x40 accept
		udp dport { 53, 853 } jump q
	}
	chain late {
		type filter hook postrouting priority srcnat + 1
		numgen inc mod 2 vmap { 0 : goto q, 1 : jump q }
	}
	chain deeper { }
	chain deep {
		ip saddr 192.0.2.0/24 jump deeper
		ip6 saddr 2001:db8::/32 jump deeper
	}
	chain input {
		type filter hook input priority -2147483648
		goto deep
	}
	chain hidden { }
	chain shadowed {
		type filter hook forward priority 5
		drop
		jump hidden
	}
}
table ip6 redirecting {
	chain dstnat {
		type nat hook prerouting priority dstnat
		udp dport 53 dnat to 2001:db8::9
		tcp dport 1 redirect
	}
	chain divert {
		type filter hook prerouting priority mangle
		udp dport 54 tproxy to [::1]:1
	}
}
table ip sleeping {
	flags dormant
	chain output { type filter hook output priority 0; }
}
`

func TestMixedNFTables(t *testing.T) {
	testkit.Namespace(t)
	run(t, mixedTables, "nft", "-f", "-")
	addQueue(t, nftables.TableFamilyINet, "mixed", "q", 0, words(1))
	addQueue(t, nftables.TableFamilyINet, "mixed", "deeper", 1, words(2, 3))
	addQueue(t, nftables.TableFamilyINet, "mixed", "hidden", 2, words(6, 1, 1))
	addQueue(t, nftables.TableFamilyIPv4, "sleeping", "output", 3, words(9, 1, 0))
	r := read(t)
	expect(t, r,
		told{"nftables rule inet mixed q", "NFQUEUE to 1 fanout map", "postrouting 101, prerouting -300", "numgen mod 2 vmap { 0 : goto q, 1 : jump q }", Exposed},
		told{"nftables rule inet mixed deeper", "NFQUEUE to 2-4 fanout balance", "input -2147483648", "", Exposed},
		told{"nftables rule inet mixed hidden", "NFQUEUE to 6 bypass", "", "", NotExposed},
		told{"nftables rule ip sleeping output", "NFQUEUE to 9", "", "", NotExposed},
	)
	q := queueOf(t, r, 1)
	if q.Reaches[1].Match != "meta l4proto udp th dport { 53, 853 }" {
		t.Errorf("%+v, want ports 53 and 853 in prerouting", q.Reaches)
	}
	if want := []string{"input", "deep", "deeper"}; !slices.Equal(queueOf(t, r, 2).Reaches[0].Chains, want) {
		t.Errorf("%+v, want by %v", queueOf(t, r, 2).Reaches, want)
	}
	var kinds []string
	for _, w := range r.Rewrites {
		kinds = append(kinds, w.Kind)
	}
	slices.Sort(kinds)
	if want := []string{"dnat", "redirect", "tproxy"}; !slices.Equal(kinds, want) {
		t.Errorf("rewrites %v, want %v", kinds, want)
	}
}

// The project's own rules, in each placement.
func TestOwnRules(t *testing.T) {
	want := map[vocabulary.Placement]struct {
		hooks    string
		exposure Exposure
		last     []string
	}{
		vocabulary.PlacementPreConntrack: {"output -300, prerouting -300", NotExposed, nil},
		vocabulary.PlacementNotrack:      {"input -150, output -150", NotExposed, []string{"10@input", "10@output"}},
		vocabulary.PlacementOutput:       {"output -150", Exposed, []string{"10@output"}},
		vocabulary.PlacementPostrouting:  {"postrouting -150", Exposed, []string{"10@postrouting"}},
		vocabulary.PlacementInput:        {"input -150", Exposed, []string{"10@input"}},
		vocabulary.PlacementForward:      {"forward -150", Exposed, []string{"10@forward"}},
		vocabulary.PlacementVerdict3:     {"input -2147483648, postrouting -2147483648", Exposed, []string{"10@input", "10@postrouting"}},
	}
	for placement, want := range want {
		for fanout, said := range map[vocabulary.Fanout]Fanout{vocabulary.FanoutBalance: FanoutBalance, vocabulary.FanoutCPU: FanoutCPU, vocabulary.FanoutNumgen: FanoutMap} {
			t.Run(fmt.Sprintf("%s/%s", placement, fanout), func(t *testing.T) {
				testkit.Namespace(t)
				installed, err := ruleset.Install(ruleset.Config{
					Table: "verdictd", Placement: placement, Fanout: fanout, FirstQueue: 10, Queues: 2, Bypass: true,
					IPv4: true, IPv6: true, Protocols: []uint8{unix.IPPROTO_UDP}, DestinationPorts: []uint16{53}, SourcePorts: []uint16{99},
				})
				if err != nil {
					t.Fatal(err)
				}
				t.Cleanup(func() {
					if err := installed.Remove(); err != nil {
						t.Error(err)
					}
				})
				r := read(t)
				q := queueOf(t, r, 10)
				if got := tell(q); got.hooks != want.hooks || q.Exposure != want.exposure || q.Fanout != said || !q.Bypass {
					t.Errorf("%+v (%s), want %s, %s, fan-out %s", got, q.Reason, want.hooks, want.exposure, said)
				}
				order := r.BehindOurs([]uint16{10, 11})
				last, _ := orderText(order)
				last = slices.DeleteFunc(last, func(s string) bool { return !strings.HasPrefix(s, "10@") })
				if !slices.Equal(last, want.last) || len(order.Followed) > 0 {
					t.Errorf("last %v, want %v; followed %+v", last, want.last, order.Followed)
				}
			})
		}
	}
}

func TestForeignQueueBehindOurs(t *testing.T) {
	testkit.Namespace(t)
	commands(t, `
		iptables-legacy -t mangle -A OUTPUT -p udp -j NFQUEUE --queue-num 1
		iptables-nft -t filter -A OUTPUT -p udp -j NFQUEUE --queue-num 2
		ip6tables-legacy -t mangle -A POSTROUTING -j NFQUEUE --queue-num 3`)
	foreign := func(ours ...uint16) (list []uint16) {
		for _, b := range read(t).BehindOurs(ours).Followed {
			for _, n := range b.Next {
				if n.Foreign != No {
					list = append(list, n.Rule.First)
				}
			}
		}
		slices.Sort(list)
		return slices.Compact(list)
	}
	if got := foreign(1); !slices.Equal(got, []uint16{2}) {
		t.Errorf("behind queue 1: %v, want queue 2 alone", got)
	}
	if got := foreign(1, 2); len(got) > 0 {
		t.Errorf("behind queues 1 and 2: %v, want none", got)
	}
}

// Without CAP_NET_ADMIN, what could not be read is listed, with the cause.
func TestWithoutPermission(t *testing.T) {
	testkit.Namespace(t)
	commands(t, `
		iptables-legacy -t raw -A OUTPUT -j ACCEPT
		ip6tables-legacy -t raw -A OUTPUT -j ACCEPT`)
	type result struct {
		rules *Rules
		err   error
	}
	home, err := os.Open("/proc/thread-self/ns/net")
	if err != nil {
		t.Fatal(err)
	}
	defer home.Close()
	done := make(chan result)
	go func() {
		runtime.LockOSThread() // never unlocked: the thread ends without its capabilities
		if err := errors.Join(unix.Setns(int(home.Fd()), unix.CLONE_NEWNET), dropCapabilities()); err != nil {
			done <- result{nil, err}
			return
		}
		rules, err := Read()
		done <- result{rules, err}
	}()
	r := <-done
	if r.rules == nil {
		t.Fatal(r.err)
	}
	if !errors.Is(r.err, os.ErrPermission) {
		t.Errorf("error %v, want %v", r.err, os.ErrPermission)
	}
	if len(r.rules.Unread) != 3 || len(r.rules.Queues) != 0 {
		t.Errorf("unread %v, want nftables, iptables and ip6tables", r.rules.Unread)
	}
	for _, u := range r.rules.Unread {
		if !errors.Is(u, os.ErrPermission) || !strings.Contains(u.Why, "CAP_NET_ADMIN") {
			t.Errorf("%v does not say what it takes", u)
		}
	}
	if c := r.rules.Conntrack; c.IPv4 != Unknown {
		t.Errorf("%+v, want unknown: a rule that needs conntrack was not read", c)
	}
}

// dropCapabilities takes the calling thread's.
func dropCapabilities() error {
	header := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	var none [2]unix.CapUserData
	return unix.Capset(&header, &none[0])
}

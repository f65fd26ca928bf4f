package service

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"github.com/google/nftables"
	"github.com/google/nftables/expr"

	"verdictd/internal/netlab"
	"verdictd/internal/nfq"
	"verdictd/internal/ruleset"
	"verdictd/internal/testkit"
	"verdictd/internal/vocabulary"
)

// hostile changes the daemon's table at random, hundreds of times a second, until it is
// told to stop. It returns how many changes the kernel took.
func hostile(ns *netlab.NetNS, seed uint64, stop <-chan struct{}) (changes int) {
	random := rand.New(rand.NewPCG(seed, 0))
	table := &nftables.Table{Name: "verdictd", Family: nftables.TableFamilyINet}
	_ = ns.Do(func() error {
		for {
			select {
			case <-stop:
				return nil
			default:
			}
			conn := &nftables.Conn{}
			chains, _ := conn.ListChainsOfTableFamily(nftables.TableFamilyINet)
			var chain *nftables.Chain
			if len(chains) > 0 {
				chain = chains[random.IntN(len(chains))]
			}
			switch n := random.IntN(20); {
			case n == 0:
				conn.FlushRuleset()
			case n == 1:
				conn.DelTable(table)
			case n == 2:
				conn.AddTable(table)
				hook, priority := nftables.ChainHookInput, new(nftables.ChainPriority(random.IntN(100)))
				conn.AddChain(&nftables.Chain{Name: fmt.Sprintf("mine-%d", random.IntN(3)), Table: table, Type: nftables.ChainTypeFilter, Hooknum: hook, Priority: priority})
			case n == 3:
				conn.FlushTable(table)
			case chain == nil:
			case n < 8:
				conn.FlushChain(chain)
			case n < 12:
				conn.InsertRule(&nftables.Rule{Table: chain.Table, Chain: chain, Exprs: []expr.Any{&expr.Counter{}}})
			case n < 16:
				if rules, _ := conn.GetRules(chain.Table, chain); len(rules) > 0 {
					_ = conn.DelRule(rules[random.IntN(len(rules))])
				}
			default:
				conn.FlushChain(chain)
				conn.DelChain(chain)
			}
			if conn.Flush() == nil {
				changes++
			}
			time.Sleep(time.Millisecond)
		}
	})
	return changes
}

// loadStrangers loads 3,000 rules of somebody else.
func loadStrangers(t *testing.T) {
	t.Helper()
	// A part at a time: an ordinary user's socket takes no more.
	const parts, rules = 30, 100
	for part := range parts {
		var others strings.Builder
		others.WriteString("table inet others { chain c {\n")
		for i := range rules {
			fmt.Fprintf(&others, "ip saddr 198.51.100.%d udp dport %d counter accept\n", i, part*rules+i+1)
		}
		others.WriteString("}; }\n")
		if part == 0 {
			others.WriteString("table inet others { chain output { type filter hook output priority 0; jump c; }; }\n")
		}
		if err := tool(t, others.String(), "nft", "-f", "-"); err != nil {
			t.Fatal(err)
		}
	}
}

// TestHostileNeighbour: somebody changes and removes the rules all the time, among
// thousands of others. The daemon lives, does not spend itself on it, has its rules back
// when it ends, and stops in order.
func TestHostileNeighbour(t *testing.T) {
	for _, mode := range []vocabulary.GuardMode{vocabulary.GuardHold, vocabulary.GuardOff} {
		t.Run(string(mode), func(t *testing.T) {
			ns := testkit.Namespace(t)
			cfg := testConfig()
			cfg.Guard.Mode = mode
			d := start(t, ns, cfg)
			loadStrangers(t)
			st := newStream(t, ns)
			defer st.finish()
			stop, done := make(chan struct{}), make(chan int, 1)
			seed := uint64(time.Now().UnixNano())
			t.Logf("seed %d", seed)
			go func() { done <- hostile(ns, seed, stop) }()
			time.Sleep(3 * time.Second)
			close(stop)
			changes := <-done
			restored := strings.Count(d.said.String(), "the daemon's rules are put back")
			t.Logf("%d changes, put back %d times", changes, restored)
			if restored < 1 || restored > 8 {
				t.Errorf("put back %d times in 3 s", restored)
			}
			for until := time.Now().Add(20 * time.Second); ; time.Sleep(20 * time.Millisecond) {
				text, _ := ruleset.Show("verdictd")
				if strings.Contains(text, "jump select") && strings.Count(text, "verdictd: queue") > 0 && (mode == vocabulary.GuardOff || strings.Contains(text, "goto gate-select")) {
					break
				}
				if time.Now().After(until) {
					t.Fatalf("the rules are not back:\n%s", text)
				}
			}
			before := judged(t)
			for until := time.Now().Add(20 * time.Second); judged(t) == before; time.Sleep(time.Millisecond) {
				if time.Now().After(until) {
					t.Fatal("no packet is judged afterwards")
				}
			}
			st.finish()
			d.stop()
			if _, err := ruleset.Show("verdictd"); err == nil {
				t.Error("rules are left")
			}
			if queues, err := nfq.ReadKernelQueues(); err != nil || len(queues) > 0 {
				t.Errorf("queues %v are left, %v", queues, err)
			}
		})
	}
}

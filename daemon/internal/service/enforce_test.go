package service

import (
	"errors"
	"log/slog"
	"net/netip"
	"strings"
	"testing"
	"time"

	"verdictd/daemon/internal/guard"
	"verdictd/internal/netlab"
	"verdictd/internal/ruleset"
	"verdictd/internal/testkit"
	"verdictd/internal/vocabulary"
)

// firewall is what a firewall's reload loads.
const firewall = `flush ruleset
table inet firewall {
	set allowed { type inet_service; elements = { 22, 53, 443, 5300 } }
	chain input { type filter hook input priority filter; policy accept
		iif lo accept
		ct state established,related accept
		tcp dport @allowed accept
	}
	chain output { type filter hook output priority filter; policy accept
		udp dport @allowed accept
	}
}
`

// interference is what other programs do to a table, and what it costs.
var interference = map[string]struct {
	program []string
	input   string
	said    string // of the differences; empty: the table is as it should be
	drops   bool   // base chains go, and with them what waits in queues
}{
	"a firewall's reload": {[]string{"nft", "-f", "-"}, firewall, "the table is missing", true},
	"flush ruleset":       {[]string{"nft", "flush", "ruleset"}, "", "the table is missing", true},
	"delete table":        {[]string{"nft", "delete", "table", "inet", "verdictd"}, "", "the table is missing", true},
	"flush table":         {[]string{"nft", "flush", "table", "inet", "verdictd"}, "", "chain verdicts has no rules", false},
	"flush chain":         {[]string{"nft", "flush", "chain", "inet", "verdictd", "output"}, "", "chain output has no rules", false},
	"flush the gate":      {[]string{"nft", "flush", "chain", "inet", "verdictd", "gate-output"}, "", "chain gate-output has no rules", false},
	"delete chain": {[]string{"nft", "-f", "-"}, "flush chain inet verdictd output\ndelete chain inet verdictd output\n",
		"chain output is missing", true},
	"add rule":               {[]string{"nft", "insert", "rule", "inet", "verdictd", "output", "accept"}, "", "chain output has 2 rules in place of 1", false},
	"iptables-restore":       {[]string{"iptables-nft-restore"}, "*mangle\n-A OUTPUT -p udp -j ACCEPT\nCOMMIT\n*filter\n-A INPUT -j ACCEPT\nCOMMIT\n", "", false},
	"iptables-restore again": {[]string{"sh", "-c", "echo '*mangle\n-A OUTPUT -p udp -j ACCEPT\nCOMMIT' >$0; iptables-nft-restore $0; iptables-nft-restore $0; rm $0", "/tmp/rules.restore"}, "", "", true},
	"legacy iptables":        {[]string{"iptables-legacy-restore"}, "*filter\n-A INPUT -j ACCEPT\nCOMMIT\n", "", false},
	"another's own rule":     {[]string{"nft", "-f", "-"}, "table inet mine { chain output { type filter hook output priority 5; accept; }; }\n", "", false},
}

// TestPutBack has other programs change the rules under traffic: what they change is
// noticed, said with who did it, and put back, and costs no packet unless base chains go.
func TestPutBack(t *testing.T) {
	said, named := 0, 0
	for name, test := range interference {
		for _, mode := range []vocabulary.GuardMode{vocabulary.GuardOff, vocabulary.GuardHold} {
			if mode == vocabulary.GuardOff && strings.Contains(name, "gate") {
				continue
			}
			t.Run(name+"/"+string(mode), func(t *testing.T) {
				ns := testkit.Namespace(t)
				cfg := testConfig()
				cfg.Guard.Mode = mode
				d := start(t, ns, cfg)
				st := newStream(t, ns)
				defer st.finish()
				time.Sleep(20 * time.Millisecond)
				if err := tool(t, test.input, test.program...); err != nil {
					t.Fatal(err)
				}
				at := time.Now()
				if test.said != "" {
					d.said.await(t, "somebody has changed the daemon's rules", test.said, "by=")
					said++
					if d.said.has("by=" + test.program[0]) {
						named++
					}
					d.said.await(t, "the daemon's rules are put back")
					if took := time.Since(at); took > 20*time.Second {
						t.Errorf("put back after %v", took)
					}
				} else {
					time.Sleep(200 * time.Millisecond)
				}
				if test.drops {
					d.said.await(t, "somebody has deleted base chains")
				}
				awaitSame(t, ns, "queue", "verdictd")
				before := judged(t)
				for until := time.Now().Add(20 * time.Second); judged(t) == before; time.Sleep(time.Millisecond) {
					if time.Now().After(until) {
						t.Fatal("no packet is judged afterwards")
					}
				}
				st.finish()
				d.stop()
				if lost := st.sent.Load() - st.arrived.Load(); lost > 0 && !test.drops {
					t.Errorf("%d packets are lost", lost)
				}
				if test.said == "" && d.said.has("somebody has changed the daemon's rules") {
					t.Error("a change of others' rules is taken for one of the daemon's")
				}
			})
		}
	}
	// A change that the daemon finds by itself, before the kernel has told it of that, is
	// nobody's: it looks once more where it has just begun.
	if named < said*3/4 {
		t.Errorf("%d of %d changes are said with who did them", named, said)
	}
}

// awaitSame waits until the table has its rules.
func awaitSame(t *testing.T, ns *netlab.NetNS, statement, table string) {
	t.Helper()
	var text string
	for until := time.Now().Add(20 * time.Second); time.Now().Before(until); time.Sleep(5 * time.Millisecond) {
		_ = ns.Do(func() (err error) { text, err = ruleset.Show(table); return err })
		if strings.Contains(text, "jump select") && strings.Contains(text, statement) {
			return
		}
	}
	t.Errorf("the rules are not back:\n%s", text)
}

// TestObserve: with rules.manage observe it is said, and nothing is done.
func TestObserve(t *testing.T) {
	ns := testkit.Namespace(t)
	cfg := testConfig()
	cfg.Rules.Manage = vocabulary.ManageObserve
	d := start(t, ns, cfg)
	if err := tool(t, "", "nft", "flush", "chain", "inet", "verdictd", "output"); err != nil {
		t.Fatal(err)
	}
	d.said.await(t, "somebody has changed the daemon's rules", "chain output has no rules")
	time.Sleep(300 * time.Millisecond)
	text, err := ruleset.Show("verdictd")
	if err != nil || strings.Contains(text, "jump select") || d.said.has("are put back") {
		t.Errorf("%v; the table is\n%s", err, text)
	}
	if err := tool(t, "", "nft", "add", "rule", "inet", "verdictd", "output", "jump", "select", "comment", `"verdictd: select and queue"`); err != nil {
		t.Fatal(err)
	}
	d.said.await(t, "are again what they should be")
	d.stop()
}

// TestFightIsBounded: a program that removes the rules all the time is answered ever
// more rarely, and told of.
func TestFightIsBounded(t *testing.T) {
	ns := testkit.Namespace(t)
	d := start(t, ns, testConfig())
	for until := time.Now().Add(4 * time.Second); time.Now().Before(until); time.Sleep(5 * time.Millisecond) {
		_ = tool(t, "", "nft", "flush", "chain", "inet", "verdictd", "output")
	}
	restored := strings.Count(d.said.String(), "the daemon's rules are put back")
	if restored < 2 || restored > 6 {
		t.Errorf("put back %d times in 4 s", restored)
	}
	d.said.await(t, "again and again", "rules.manage")
	d.stop()
}

// TestOperatorsRulesGo: where the rules are the operator's own, it is said when they go
// and when they come.
func TestOperatorsRulesGo(t *testing.T) {
	for _, mode := range []vocabulary.GuardMode{vocabulary.GuardOff, vocabulary.GuardHold} {
		t.Run(string(mode), func(t *testing.T) {
			ns := testkit.Namespace(t)
			load := func() {
				t.Helper()
				if err := tool(t, "*mangle\n-A OUTPUT -p udp --dport 5300 -j NFQUEUE --queue-num 0\nCOMMIT\n", "iptables-nft-restore"); err != nil {
					t.Fatal(err)
				}
			}
			load()
			d := start(t, ns, operatorsConfig(mode))
			d.said.await(t, "rules queue packets to this daemon", "ip mangle OUTPUT")
			if err := tool(t, "", "iptables-nft", "-t", "mangle", "-F"); err != nil {
				t.Fatal(err)
			}
			d.said.await(t, "no rule queues packets to this daemon any more")
			d.said.forget()
			load()
			d.said.await(t, "rules queue packets to this daemon", "ip mangle OUTPUT")
			if n := burst(t, netip.MustParseAddr("127.0.0.1"), 1); n != 4 {
				t.Errorf("%d of 4 packets arrived", n)
			}
			if s := d.stop(); s.Total.Received != 4 {
				t.Errorf("%d packets were judged", s.Total.Received)
			}
		})
	}
}

// TestChange goes through placements, fan-outs and guards under traffic: no packet is
// lost, none overtakes another unless its flow moves to another queue, and the table is
// what each asks for.
func TestChange(t *testing.T) {
	ns := testkit.Namespace(t)
	judge(t, ns, 0, 0)
	judge(t, ns, 1, 0)
	cfg := testConfig()
	said := &log{to: t.Output()}
	k := guard.New(guardOptions(cfg, slog.New(slog.NewTextHandler(said, nil))))
	if err := k.Begin(t.Context()); err != nil {
		t.Fatal(err)
	}
	st := newStream(t, ns)
	defer st.finish()
	before := cfg.Queues.Count
	for _, placement := range vocabulary.Placements() {
		for _, mode := range []vocabulary.GuardMode{vocabulary.GuardHold, vocabulary.GuardOff, vocabulary.GuardAuto} {
			for count := 1; count <= 2; count++ {
				next := testConfig()
				next.Rules.Placement, next.Guard.Mode, next.Queues.Count = placement, mode, count
				next.Rules.Protocols = append(next.Rules.Protocols, 6)
				o := guardOptions(next, nil)
				err := k.Change(t.Context(), func(to *guard.Options) {
					to.Guard, to.Rules, to.Own, to.Spread, to.Queues = o.Guard, o.Rules, o.Own, o.Spread, o.Queues
				})
				if err != nil {
					t.Fatalf("%s, %s: %v", placement, mode, err)
				}
				if count != before {
					st.moves++ // flows have moved to another queue
				}
				before = count
				text, err := ruleset.Show(cfg.Rules.Table)
				if gate := strings.Contains(text, "goto gate-select"); err != nil || gate != (k.Mode() == vocabulary.GuardHold) {
					t.Errorf("%s, %s: rules of a gate: %v, error %v", placement, mode, gate, err)
				}
				time.Sleep(5 * time.Millisecond)
			}
		}
	}
	st.stop()
	k.End()
	if err := errors.Join(k.Reopen(), k.Detach(), k.Stop(), k.Free(), k.Remove()); err != nil {
		t.Error(err)
	}
}

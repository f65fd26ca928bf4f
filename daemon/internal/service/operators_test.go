package service

import (
	"errors"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/nftables"
	"github.com/google/nftables/expr"
	"github.com/google/nftables/xt"

	"verdictd/internal/config"
	"verdictd/internal/ruleset"
	"verdictd/internal/statistics"
	"verdictd/internal/testkit"
	"verdictd/internal/vocabulary"
)

// tool runs a program with input in the thread's namespace.
func tool(t *testing.T, input string, args ...string) error {
	t.Helper()
	path, err := exec.LookPath(args[0])
	if err != nil {
		t.Skipf("no %s on this machine: %v", args[0], err)
	}
	cmd := exec.Command(path, args[1:]...)
	cmd.Stdin = strings.NewReader(input)
	cmd.Env = append(cmd.Environ(), "XTABLES_LOCKFILE="+filepath.Join(t.TempDir(), "lock"))
	if out, err := cmd.CombinedOutput(); err != nil {
		return errors.New(err.Error() + "\n" + string(out))
	}
	return nil
}

// ruleFile is one of configs/.
func ruleFile(t *testing.T, path ...string) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(append([]string{"..", "..", "..", "configs"}, path...)...))
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

var queueStatement = regexp.MustCompile(`queue num (\d+) bypass`)

// loadNFT loads a file of configs/nftables. Where the kernel has no queue statement for
// nftables, that of iptables stands in for it, in chains of its own.
func loadNFT(t *testing.T, text string) {
	t.Helper()
	if tool(t, text, "nft", "-f", "-") == nil {
		return
	}
	const table = "verdictd"
	queues := map[string]bool{}
	text = queueStatement.ReplaceAllStringFunc(text, func(s string) string {
		number := queueStatement.FindStringSubmatch(s)[1]
		queues[number] = true
		return "goto queue-" + number
	})
	chains := "table inet " + table + " {\n"
	for number := range queues {
		chains += "chain queue-" + number + " { }\n"
	}
	if err := tool(t, chains+"}\n"+text, "nft", "-f", "-"); err != nil {
		t.Fatal(err)
	}
	conn := &nftables.Conn{}
	parent := &nftables.Table{Name: table, Family: nftables.TableFamilyINet}
	for number := range queues {
		n, err := strconv.ParseUint(number, 10, 16)
		if err != nil {
			t.Fatal(err)
		}
		info := xt.Unknown{byte(n), byte(n >> 8), 1, 0, 1, 0, 0, 0} // struct xt_NFQ_info_v3
		conn.AddRule(&nftables.Rule{
			Table: parent, Chain: &nftables.Chain{Name: "queue-" + number, Table: parent},
			Exprs: []expr.Any{&expr.Target{Name: "NFQUEUE", Rev: 3, Info: &info}},
		})
	}
	if err := conn.Flush(); err != nil {
		t.Fatal(err)
	}
}

// operatorsConfig is of a daemon that leaves the rules to its operator.
func operatorsConfig(mode vocabulary.GuardMode) *config.Config {
	cfg := config.Default()
	cfg.Rules.Install, cfg.Guard.Mode = false, mode
	cfg.Analysis = config.Analysis{Distribution: vocabulary.DistributionFixed, Delay: time.Millisecond, Per: vocabulary.PerFlow}
	return cfg
}

// TestOperatorsRules: with rules.install: false the daemon finds the operator's rules
// for verdicts, and his gate rules where there are some: it adds what these leave out.
func TestOperatorsRules(t *testing.T) {
	const flows = 20
	for name, test := range map[string]struct {
		load func(t *testing.T)
		// own: the daemon's table has what the gate needs; listed: flows are.
		own, listed bool
	}{
		"nftables": {func(t *testing.T) { loadNFT(t, ruleFile(t, "nftables", "output.nft")) }, false, true},
		"nftables, without the gate's part": {func(t *testing.T) {
			text, _, found := strings.Cut(ruleFile(t, "nftables", "output.nft"), "# The guard's gate, before")
			if !found {
				t.Fatal("output.nft has no part for the gate")
			}
			loadNFT(t, text)
		}, true, true},
		"nftables, a gate for another port": {func(t *testing.T) {
			text := ruleFile(t, "nftables", "output.nft")
			loadNFT(t, strings.Replace(text, "meta l4proto udp goto gate-queue", "udp dport 53 goto gate-queue", 1))
		}, true, true},
		"iptables": {func(t *testing.T) {
			if err := tool(t, ruleFile(t, "iptables", "output.rules"), "iptables-restore", "--noflush"); err != nil {
				t.Fatal(err)
			}
		}, false, false},
	} {
		t.Run(name, func(t *testing.T) {
			ns := testkit.Namespace(t)
			test.load(t)
			cfg := operatorsConfig(vocabulary.GuardHold)
			d := start(t, ns, cfg)
			own, err := ruleset.Show(cfg.Rules.Table + gateSuffix)
			if err != nil || asksConntrack(own) != test.own {
				t.Errorf("the gate's own table, %v; %v: want rules: %v", own, err, test.own)
			}
			arrived := burst(t, loopback, flows)
			const long = 20 // packets of a flow that is worth to be listed, when it pauses
			to := netip.AddrPortFrom(loopback, port)
			in, out := listen(t, ns, to), dial(t, ns, to)
			for range long {
				write(t, out, "hey")
				want(t, in, "hey")
			}
			_ = in.Close()
			if test.listed {
				awaitListed(t, ns, cfg.Rules.Table, cfg.Rules.Table+gateSuffix)
			} else {
				time.Sleep(100 * time.Millisecond)
			}
			s := d.stop()
			if arrived != 4*flows || s.Total.Received != 4*flows+long || clashes(t) != 0 {
				t.Errorf("%d of %d arrived, %d judged, %d clashes", arrived, 4*flows, s.Total.Received, clashes(t))
			}
			if g := s.Gate.Total; g.Held == 0 || g.Expired+g.Unguarded != 0 || (g.Listed > 0) != test.listed {
				t.Errorf("gate: %+v; listed: %v", g, test.listed)
			}
			if _, err := ruleset.Show(cfg.Rules.Table + gateSuffix); !errors.Is(err, ruleset.ErrNotFound) {
				t.Errorf("the gate's table after the stop: %v, want none", err)
			}
			if n := burst(t, loopback, 1); n != 4 {
				t.Errorf("%d of 4 packets arrived when nobody served the operator's rules", n)
			}
		})
	}
}

// TestFirewallComesLater: the daemon starts before the firewall. With auto its guard
// begins when there is something to guard.
func TestFirewallComesLater(t *testing.T) {
	ns := namespaceWithoutConntrack(t)
	d := start(t, ns, operatorsConfig(vocabulary.GuardAuto))
	if !d.said.has("guard=off") {
		t.Errorf("the daemon does not say that there is nothing to guard:\n%s", d.said)
	}
	queueChain(t, "operator", nftables.ChainHookOutput, -150, 0)
	if n := burst(t, loopback, 5); n != 20 {
		t.Errorf("%d of 20 arrived before conntrack was active", n)
	}
	activateConntrack(t)
	d.said.await(t, "msg=guard ", "mode=hold")
	arrived := burst(t, loopback, 20)
	s := d.stop()
	if n := clashes(t); arrived != 80 || n != 0 || s.Total.Received != 100 || s.Gate.Total.Held == 0 {
		t.Errorf("%d of 80 arrived, %d clashes, %d judged, gate %+v", arrived, n, s.Total.Received, s.Gate.Total)
	}
}

// TestDaemonAndGuard: a daemon guards its own queue, and a guard beside it another
// program's, through which the same packets pass.
func TestDaemonAndGuard(t *testing.T) {
	ns := testkit.Namespace(t)
	judge(t, ns, foreign, slow)
	queueChain(t, "foreign", nftables.ChainHookPostrouting, 0, foreign)
	cfg := testConfig()
	cfg.Guard.FirstQueue = 50000
	d := start(t, ns, cfg)
	g := startGuard(t, ns, config.Default())
	guarded(t, 20)
	s := g.stop()
	if n := burst(t, loopback, 10); n != 40 {
		t.Errorf("%d of 40 arrived when the guard had ended", n)
	}
	daemon := d.stop()
	if s.Gate == nil || daemon.Gate == nil || s.Gate.Total.Held+daemon.Gate.Total.Held == 0 {
		t.Fatalf("gates: %+v and %+v", s.Gate, daemon.Gate)
	}
	for _, g := range []statistics.GateTotals{s.Gate.Total, daemon.Gate.Total} {
		if g.Expired+g.Unguarded+g.VerdictErrors != 0 {
			t.Errorf("gate: %+v", g)
		}
	}
}

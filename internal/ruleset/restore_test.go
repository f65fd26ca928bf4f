package ruleset

import (
	"errors"
	"os/exec"
	"slices"
	"strings"
	"testing"

	"verdictd/internal/netlab"
	"verdictd/internal/testkit"
	"verdictd/internal/vocabulary"
)

// nft has the nft program carry out commands in the calling thread's namespace.
func nft(t *testing.T, commands string) {
	t.Helper()
	if _, err := exec.LookPath("nft"); err != nil {
		t.Skip("there is no nft program")
	}
	program := exec.Command("nft", "-f", "-")
	program.Stdin = strings.NewReader(commands)
	if out, err := program.CombinedOutput(); err != nil {
		t.Fatalf("nft: %v\n%s", err, out)
	}
}

// What somebody else does to the table is seen, said and put back.
func TestPutBack(t *testing.T) {
	for name, test := range map[string]struct {
		commands, want string
		leftover       bool
	}{
		"table deleted":        {"delete table inet verdictd", "the table is missing", false},
		"ruleset flushed":      {"flush ruleset", "the table is missing", false},
		"table flushed":        {"flush table inet verdictd", "chain verdicts has no rules", false},
		"chain flushed":        {"flush chain inet verdictd output", "chain output has no rules", false},
		"base chain deleted":   {"flush chain inet verdictd output; delete chain inet verdictd output", "chain output is missing", false},
		"rule inserted":        {"insert rule inet verdictd verdicts udp dport 53 accept", "chain verdicts has 4 rules in place of 3", false},
		"rule replaced":        {"flush chain inet verdictd verdicts; add rule inet verdictd verdicts counter accept comment \"verdictd: queue\"", "chain verdicts has 1 rules in place of 3", false},
		"element added":        {"add element inet verdictd protocols { 6 }", "set protocols has other contents", false},
		"elements flushed":     {"flush set inet verdictd protocols", "set protocols has other contents", false},
		"dormant":              {"add table inet verdictd { flags dormant; }", "the table is dormant", false},
		"policy":               {"add chain inet verdictd output { policy drop; }", "chain output has another policy", false},
		"base chain added":     {"add chain inet verdictd mine { type filter hook input priority 0; }; add rule inet verdictd mine drop", "chain mine is not wanted", true},
		"chain added":          {"add chain inet verdictd mine; add rule inet verdictd mine drop", "", true},
		"gate's chain flushed": {"flush chain inet verdictd gate-select", "chain gate-select has no rules", false},
		"gate's set deleted":   {"flush table inet verdictd; delete set inet verdictd settled-ipv4", "set settled-ipv4 is missing", false},
		"another hook": {"flush chain inet verdictd output; delete chain inet verdictd output; add chain inet verdictd output { type filter hook input priority 7; }",
			"chain output is not filter hook 3 priority -150 but filter hook 1 priority 7", true},
		"no hook": {"flush chain inet verdictd output; delete chain inet verdictd output; add chain inet verdictd output; add rule inet verdictd verdicts jump output",
			"chain output is not filter hook 3 priority -150 but without a hook", true},
		"another's table": {"add table ip verdictd; add table inet other", "", false},
	} {
		t.Run(name, func(t *testing.T) {
			testkit.Namespace(t)
			c := udpRules(vocabulary.PlacementOutput, vocabulary.FanoutPorts, 2)
			g := testGate()
			c.Gate = &g
			i := install(t, c)
			nft(t, test.commands)
			seen, err := i.Check()
			if err != nil {
				t.Fatal(err)
			}
			if seen.Any() != (test.want != "") || test.want != "" && !slices.Contains(seen.Differences, test.want) {
				t.Errorf("differences %q, want %q", seen.Differences, test.want)
			}
			done, err := i.Apply(c)
			if err != nil || !slices.Equal(done.Differences, seen.Differences) {
				t.Errorf("Apply: %q, error %v, want %q", done.Differences, err, seen.Differences)
			}
			if test.leftover != (len(done.Leftovers) > 0) {
				t.Errorf("left over: %q", done.Leftovers)
			}
			if again, err := i.Check(); err != nil || again.Any() {
				t.Errorf("afterwards: %q, error %v", again.Differences, err)
			}
			if err := i.Sweep(); err != nil {
				t.Fatal(err)
			}
			same(t, i)
		})
	}
}

// A table that has another program's rules in place of all of ours is brought back, and
// taken away: it is still ours. To a process that never had it, it is that program's.
func TestOthersRulesInPlaceOfOurs(t *testing.T) {
	testkit.Namespace(t)
	c := udpRules(vocabulary.PlacementOutput, vocabulary.FanoutBalance, 1)
	i := install(t, c)
	others := "flush table inet verdictd; add rule inet verdictd verdicts accept"
	nft(t, others)
	if _, err := Install(c); !errors.Is(err, ErrForeign) {
		t.Errorf("to a stranger: error %v", err)
	}
	if _, err := i.Apply(c); err != nil {
		t.Fatal(err)
	}
	same(t, i)
	nft(t, others)
	if err := i.Detach(); err != nil {
		t.Error(err)
	}
	if err := i.Remove(); err != nil {
		t.Error(err)
	}
	if exists, err := Exists(c.Table); exists || err != nil {
		t.Errorf("the table is there: %v, error %v", exists, err)
	}
}

// What waits in a queue survives each change of the table, to any placement and
// fan-out, and is delivered. What is left over goes with Sweep.
func TestApplyKeepsWaitingPackets(t *testing.T) {
	ns := testkit.Namespace(t)
	c := udpRules(vocabulary.PlacementOutput, vocabulary.FanoutBalance, 3)
	g := testGate()
	c.Gate = &g
	hold := make(chan struct{})
	l := listen(t, c, hold)
	i := install(t, c)
	_, _, loopback := ends(false)
	f := open(t, ns, ns, at(loopback))
	f.send(1)
	waitFor(t, l, 1) // in the gate's queue
	for _, placement := range vocabulary.Placements()[1:] {
		for _, fanout := range vocabulary.Fanouts() {
			c.Placement, c.Fanout = placement, fanout
			if _, err := i.Apply(c); err != nil {
				t.Fatal(err)
			}
			if change, err := i.Check(); err != nil || change.Any() {
				t.Errorf("%s, %s: %q, error %v", placement, fanout, change.Differences, err)
			}
		}
	}
	c.Placement, c.Fanout = vocabulary.PlacementOutput, vocabulary.FanoutBalance
	c.Gate = nil
	if _, err := i.Apply(c); err != nil {
		t.Fatal(err)
	}
	close(hold)
	if !f.receive(surely) {
		t.Error("a packet that waited was lost")
	}
	if err := i.Sweep(); err != nil {
		t.Fatal(err)
	}
	same(t, i)
	if got, want := baseChains(t, c.Table), []string{"output"}; !slices.Equal(got, want) {
		t.Errorf("base chains %v, want %v", got, want)
	}
	c.Placement = vocabulary.PlacementNone
	if _, err := i.Apply(c); err != nil {
		t.Fatal(err)
	}
	f.deliver()
	if err := i.Sweep(); err != nil {
		t.Fatal(err)
	}
	if names := tableNames(t); !slices.Equal(names, []string{netlab.AnchorTable}) {
		t.Errorf("tables %v are left", names)
	}
}

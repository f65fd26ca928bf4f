package ruleset

import (
	"regexp"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/nftables"

	"verdictd/internal/testkit"
	"verdictd/internal/vocabulary"
)

// The gate of the files is that of Install, rule for rule.
func TestNftablesFilesGate(t *testing.T) {
	for _, placement := range vocabulary.Placements() {
		if !exposed(placement) {
			continue
		}
		t.Run(string(placement), func(t *testing.T) {
			testkit.Namespace(t)
			c := udpRules(placement, vocabulary.FanoutBalance, 1)
			c.Gate = fileGate()
			i, err := Install(c)
			if err != nil {
				t.Fatal(err)
			}
			want := gateRules(t, c.Table)
			if err := i.Remove(); err != nil {
				t.Fatal(err)
			}
			text := read(t, "nftables", string(placement)+".nft")
			for _, q := range []string{"queue num 61440 bypass", "queue num 61441 bypass"} {
				if n := strings.Count(text, q); n == 0 {
					t.Errorf("no %s", q)
				}
			}
			run(t, nativeQueue.ReplaceAllString(text, "accept"), "nft", "-f", "-")
			if diff := cmp.Diff(want, gateRules(t, c.Table)); diff != "" {
				t.Errorf("rules of the gate (-Install +file):\n%s", diff)
			}
			if _, err := OpenSettled(c.Table); err != nil {
				t.Error(err)
			}
		})
	}
}

// gateRules are the rules of the gate's chains, as text without what may differ:
// comments, counters, queues, which accept stands in for, and tests of family and
// protocol that nft adds.
func gateRules(t *testing.T, table string) map[string][]string {
	t.Helper()
	differs := regexp.MustCompile(` ?comment ".*"|counter packets \d+ bytes \d+ |meta nfproto \w+ |meta l4proto 17 (ip|th)|timeout 15s `)
	queue := regexp.MustCompile(`queue .*\d|accept`)
	conn := &nftables.Conn{}
	chains, err := conn.ListChainsOfTableFamily(family)
	if err != nil {
		t.Fatal(err)
	}
	rules := map[string][]string{}
	for _, c := range chains {
		if c.Table.Name != table || !strings.ContainsAny(c.Name, "-") {
			continue
		}
		list, err := conn.GetRules(c.Table, c)
		if err != nil {
			t.Fatal(err)
		}
		for _, r := range list {
			text := differs.ReplaceAllString(strings.ReplaceAll(ruleText(r), " (xt NFQUEUE)", ""), "$1")
			rules[c.Name] = append(rules[c.Name], queue.ReplaceAllString(text, "accept"))
		}
	}
	return rules
}

// Flows that are listed in the sets of a file pass its gate, and are struck off
// where they have lost their entries. Drop stands in for the gate's queue.
func TestNftablesFilesSettled(t *testing.T) {
	bothFamilies(t, func(t *testing.T, ipv6 bool) {
		ns := testkit.Namespace(t)
		text := verdictQueue.ReplaceAllString(read(t, "nftables", "output.nft"), "accept")
		run(t, nativeQueue.ReplaceAllString(strings.ReplaceAll(text, "queue num 61440 bypass", "drop"), "accept"), "nft", "-f", "-")
		s, err := OpenSettled("verdictd")
		if err != nil {
			t.Fatal(err)
		}
		_, _, loopback := ends(ipv6)
		f := open(t, ns, ns, at(loopback))
		f.send(1)
		if f.receive(hardly) {
			t.Error("a packet that is not listed did not enter the gate")
		}
		if err := s.Add([]Tuple{f.tuple()}); err != nil {
			t.Fatal(err)
		}
		f.deliver() // begins the flow, and is struck off
		f.send(1)
		if f.receive(hardly) {
			t.Error("the flow is still listed")
		}
		if err := s.Add([]Tuple{f.tuple()}); err != nil {
			t.Fatal(err)
		}
		for range 3 {
			f.deliver()
			f.answer()
		}
	})
}
